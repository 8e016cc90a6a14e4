"""Finding what a test presses, by the part of its key that does not change."""

from typing import Any

from streamlit.testing.v1 import AppTest


def named(app: AppTest, kind: str, key: str) -> Any:
    """The one element of a kind whose key begins so."""
    (found,) = [one for one in app.get(kind) if str(one.key).startswith(key)]
    return found


def press(app: AppTest, key: str) -> AppTest:
    """Press the one button whose key begins so."""
    pressed: AppTest = named(app, "button", key).click().run()
    return pressed


def labelled(app: AppTest, label: str) -> Any:
    """The one button with that label."""
    (found,) = [one for one in app.button if one.label == label]
    return found
