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
    series: tuple[str, ...]
    """For things without a meaning of their own, told apart in this order."""


LIGHT: Final = Palette(
    text="#333333", muted="#666666", grid="#E3E7ED", action="#1976D2", success="#4CAF50",
    warning="#FFC107", alert="#F44336",
    series=("#1976D2", "#4CAF50", "#FFC107", "#7E57C2", "#00897B", "#8D6E63"),
)  # fmt: skip
DARK: Final = Palette(
    text="#FFFFFF", muted="#AAAAAA", grid="#34373C", action="#90CAF9", success="#66BB6A",
    warning="#FFCA28", alert="#EF5350",
    series=("#90CAF9", "#66BB6A", "#FFCA28", "#B39DDB", "#4DB6AC", "#BCAAA4"),
)  # fmt: skip


def palette() -> Palette:
    """The colours of the theme that the browser shows now."""
    return DARK if st.context.theme.type == "dark" else LIGHT


def apply_style() -> None:
    """Put the style sheet on the page."""
    st.html(ASSETS / "console.css")
