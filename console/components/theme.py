"""Colours with a meaning, and the style sheet; the themes are in `.streamlit/config.toml`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import streamlit as st

ASSETS: Final = Path(__file__).parents[1] / "assets"


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of requirements 6.6 for one theme."""

    text: str
    muted: str
    grid: str
    action: str
    success: str
    warning: str
    alert: str


LIGHT: Final = Palette("#333333", "#666666", "#E3E7ED", "#1976D2", "#4CAF50", "#FFC107", "#F44336")
DARK: Final = Palette("#FFFFFF", "#AAAAAA", "#34373C", "#90CAF9", "#66BB6A", "#FFCA28", "#EF5350")


def palette() -> Palette:
    """The colours of the theme that the browser shows now."""
    return DARK if st.context.theme.type == "dark" else LIGHT


def apply_style() -> None:
    """Put the style sheet on the page."""
    st.html(ASSETS / "console.css")
