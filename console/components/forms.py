"""What forms share: a key per form that is made once, and a message that survives the rerun."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Final, Literal, TypeVar

import streamlit as st

from billing.errors import BillingError
from billing.ids import new_id
from console.components.boundary import say
from console.components.text import plain

_MESSAGES = "messages"

Result = TypeVar("Result")
Kind = Literal["success", "info", "warning"]
_DONE: Final[Kind] = "success"


def form_key(name: str) -> str:
    """The idempotency key of a form: the same at every rerun until `renew`.

    It is also part of the widget key of the form's button. A second click on the same button names
    the same widget: it reaches either the same key, whose command answers with its first result,
    or no widget at all.
    """
    slot = f"form:{name}"
    if slot not in st.session_state:
        st.session_state[slot] = str(new_id())
    return str(st.session_state[slot])


def renew(name: str) -> None:
    """After success: the next use of the form is a new request."""
    st.session_state.pop(f"form:{name}", None)


class Messages:
    """What is to be said after the coming rerun.

    Take it before something is done, and add to it before anything else of Streamlit is touched: a
    second click ends the run at the next element or look into the session, and what was done
    would never be said.
    """

    def __init__(self, waiting: list[tuple[str, str | BillingError]]) -> None:
        self._waiting = waiting

    def add(self, kind: Kind | Literal["refused"], message: str | BillingError) -> None:
        """Say it, once; the second click may come to the same end."""
        if (kind, message) not in self._waiting:
            self._waiting.append((kind, message))


def messages() -> Messages:
    """The messages that wait in this session."""
    return Messages(st.session_state.setdefault(_MESSAGES, []))


def attempt(
    name: str,
    act: Callable[[str], Result],
    done: Callable[[Result], str | tuple[Kind, str]] | str,
    *,
    meanwhile: str | None = None,
    refused: Callable[[BillingError], None] = say,
    closes: str | None = None,
) -> None:
    """Do what a form asks for, under its key; the page is run again with what came of it.

    Args:
        name: of the form, as `form_key` knows it.
        act: takes the key; a refusal is shown where the form stands, and the form stays.
        done: the sentence for afterwards, or its kind and the sentence.
        meanwhile: what is shown while it takes.
        refused: what to do with a refusal instead.
        closes: what of the session's state the form was opened by.
    """
    said, key = messages(), form_key(name)
    try:
        with st.spinner(meanwhile) if meanwhile else nullcontext():
            result = act(key)
            sentence = done if isinstance(done, str) else done(result)
            kind, text = sentence if isinstance(sentence, tuple) else (_DONE, sentence)
            said.add(kind, plain(text))
    except BillingError as error:
        refused(error)
        return
    renew(name)
    if closes is not None:
        st.session_state.pop(closes, None)
    st.rerun()


def confirm(
    kind: str,
    about: object,
    sentence: str,
    button: str,
    act: Callable[[str], Result],
    done: Callable[[Result], str] | str,
    *,
    primary: bool = False,
    closes: str | None = None,
) -> None:
    """A form of one box and one button: what is done is said first, and done once it is ticked.

    Args:
        kind: of the form, at the front of its keys.
        about: what it is done to; each has a form of its own.
        act: takes the key of the form.
        done: as of `attempt`.
        closes: as of `attempt`.
    """
    name = f"{kind}:{about}"
    key = form_key(name)
    with st.form(f"{kind}_{key}", border=False):
        sure = st.checkbox(plain(sentence), key=f"{kind}_sure_{key}")
        asked = st.form_submit_button(
            button, type="primary" if primary else "secondary", key=f"{kind}_submit_{key}"
        )
    if asked and not sure:
        st.error("Tick the box to confirm.", icon=":material/check_box:")
    elif asked:
        attempt(name, act, done, closes=closes)


def refuse_later(error: BillingError) -> None:
    """Run the page again, and say there what the domain refused."""
    messages().add("refused", error)
    st.rerun()


def say_now() -> int:
    """Show the messages that wait; how many they are is for `forget`."""
    waiting = st.session_state.get(_MESSAGES, [])
    for kind, message in waiting:
        if kind == "refused":
            say(message)
        elif kind == "success":
            st.success(message, icon=":material/check_circle:")
        elif kind == "info":
            st.info(message, icon=":material/info:")
        else:
            st.warning(message, icon=":material/warning:")
    return len(waiting)


def forget(count: int) -> None:
    """Messages that were shown, of a page drawn to its end; a second click would cut it short."""
    del st.session_state.get(_MESSAGES, [])[:count]
