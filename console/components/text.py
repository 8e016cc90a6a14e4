"""Texts that are data, shown as they are: Streamlit would read names and amounts as Markdown."""

import re
from typing import Final, Literal

import streamlit as st

_MARKS: Final = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~$:^=])")


def plain(text: str) -> str:
    """Text for a Markdown element that must appear exactly as it is.

    Two dollar amounts in one sentence would become a formula, and a customer's name a link.
    """
    return _MARKS.sub(r"\\\1", text)


def note(text: str) -> None:
    """A line of secondary text, shown as it is."""
    st.caption(plain(text))


def heading(text: str, *, width: Literal["stretch", "content"] = "stretch") -> None:
    """A heading of a section, shown as it is."""
    st.subheader(plain(text), anchor=False, width=width)
