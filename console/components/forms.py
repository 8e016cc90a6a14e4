"""What forms share: a key per form that is made once, and a message that survives the rerun."""

from collections.abc import Callable
from typing import Literal, TypeVar

import streamlit as st

from billing.errors import BillingError
from billing.ids import new_id
from console.components.boundary import say
from console.components.text import plain

_MESSAGES = "messages"

Result = TypeVar("Result")


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


def say_later(kind: Literal["success", "info", "warning"], message: str) -> None:
    """A message for after the coming rerun."""
    st.session_state.setdefault(_MESSAGES, []).append((kind, message))


def attempt(name: str, act: Callable[[str], Result], done: Callable[[Result], str] | str) -> None:
    """Do what a form asks for, under its key; the page is run again with what came of it.

    Args:
        name: of the form, as `form_key` knows it.
        act: takes the key; a refusal is shown where the form stands, and the form stays.
        done: the sentence for afterwards.
    """
    try:
        result = act(form_key(name))
    except BillingError as error:
        say(error)
        return
    renew(name)
    say_later("success", plain(done if isinstance(done, str) else done(result)))
    st.rerun()


def refuse_later(error: BillingError) -> None:
    """What the domain refused, for after the coming rerun."""
    st.session_state.setdefault(_MESSAGES, []).append(("refused", error))


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
