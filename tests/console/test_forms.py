"""What forms share."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from console.components import forms


class SecondClickError(BaseException):
    """Streamlit ends a run like this, wherever it is touched next."""


class Page:
    """As much of Streamlit as a form needs, until a second click waits."""

    def __init__(self) -> None:
        self.clicked = False
        self.state: dict[str, Any] = {}

    @property
    def session_state(self) -> dict[str, Any]:
        self.touched()
        return self.state

    @contextmanager
    def spinner(self, _: str) -> Iterator[None]:
        self.touched()
        yield
        self.touched()

    def rerun(self) -> None:
        self.touched()

    def touched(self) -> None:
        if self.clicked:
            raise SecondClickError


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Page:
    page = Page()
    monkeypatch.setattr(forms, "st", page)
    return page


@pytest.mark.parametrize("meanwhile", [None, "Crediting…"])
def test_what_was_done_is_said_although_a_second_click_ends_the_run(
    page: Page, meanwhile: str | None
) -> None:
    keys = []

    def act(key: str) -> SimpleNamespace:
        keys.append(key)
        page.clicked = True
        return SimpleNamespace(number="Seven")

    with pytest.raises(SecondClickError):
        forms.attempt("approve", act, lambda made: f"{made.number} issued", meanwhile=meanwhile)
    page.clicked = False
    assert page.state["messages"] == [("success", "Seven issued")]

    with pytest.raises(SecondClickError):
        forms.attempt("approve", act, lambda made: f"{made.number} issued", meanwhile=meanwhile)
    assert keys[0] == keys[1]
    assert page.state["messages"] == [("success", "Seven issued")]
