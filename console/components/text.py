"""Texts that are data, shown as they are: Streamlit would read names and amounts as Markdown."""

import re
from datetime import date, timedelta
from typing import Final, Literal

import streamlit as st

from billing.formatting import format_date, format_period

_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MARKS: Final = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~$:^=])")


def plain(text: str) -> str:
    """Text for a Markdown element that must appear exactly as it is.

    Two dollar amounts in one sentence would become a formula, and a customer's name a link.
    """
    return _MARKS.sub(r"\\\1", text)


def readable_reference(kind: str, reference: str) -> str:
    """What a posting refers to, without our ids and without repeating its kind.

    `usage:0:2243:<id>` is entry 2243 of shard 0; what finance typed stays as it is.
    """
    parts = [part for part in reference.split(":") if not _ID.fullmatch(part)]
    rest = parts[1:] if parts[:1] == [kind] else parts
    if kind == "usage" and len(rest) == 2:
        return f"Shard {rest[0]}, entry {rest[1]}"
    if len(rest) == 2 and all(_DAY.fullmatch(part) for part in rest):
        return format_period(*(date.fromisoformat(part) for part in rest))
    return ":".join(rest) or "–"


def actor_name(name: str) -> str:
    """Who did something, as people call it: a key goes by its name."""
    return name.removeprefix("key:")


def last_day(end: date | None) -> str | None:
    """The last of some days, by the first one after them; None if they do not end."""
    return None if end is None else format_date(end - timedelta(days=1))


def note(text: str) -> None:
    """A line of secondary text, shown as it is."""
    st.caption(plain(text))


def heading(text: str, *, width: Literal["stretch", "content"] = "stretch") -> None:
    """A heading of a section, shown as it is."""
    st.subheader(plain(text), anchor=False, width=width)
