"""Tables as HTML: real cells for screen readers, numbers to the right, scrolled within themselves.

Everything that is not one of our own tags is escaped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final, Literal

import streamlit as st

from console.components.status import Status

Cell = str | Status | None
_FITS_A_PHONE: Final = 4
"""More columns than this become cards on a narrow screen."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    title: str
    align: Literal["left", "right"] = "left"
    strong: bool = False
    nowrap: bool = True


def badge_html(status: Status) -> str:
    """A status as a coloured badge."""
    return (
        f'<span class="ob-badge ob-{status.tone}">'
        f'<span aria-hidden="true">{escape(status.icon)}</span> {escape(status.label)}</span>'
    )


def _cell_html(cell: Cell) -> str:
    if cell is None:
        return '<span class="ob-none" title="none">–</span>'
    return badge_html(cell) if isinstance(cell, Status) else escape(cell)


def _classes(column: Column) -> str:
    names = [f"ob-{column.align}"]
    names += ["ob-strong"] if column.strong else []
    names += ["ob-nowrap"] if column.nowrap else ["ob-wrap"]
    return " ".join(names)


def table_html(
    caption: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[Cell]],
    *,
    totals: Sequence[Sequence[Cell]] = (),
) -> str:
    """The table as HTML; on a narrow screen each row becomes a card of labelled values."""
    head = "".join(
        f'<th scope="col" role="columnheader" class="{_classes(column)}">'
        f"{escape(column.title)}</th>"
        for column in columns
    )
    body = "".join(_row_html(columns, row) for row in rows)
    foot = "".join(_row_html(columns, row) for row in totals)
    style = "ob-table ob-cards" if len(columns) > _FITS_A_PHONE else "ob-table"
    return (
        f'<div class="ob-scroll"><table role="table" class="{style}">'
        f"<caption>{escape(caption)}</caption>"
        f'<thead><tr role="row">{head}</tr></thead><tbody>{body}</tbody>'
        f"{f'<tfoot>{foot}</tfoot>' if foot else ''}</table></div>"
    )


def _row_html(columns: Sequence[Column], row: Sequence[Cell]) -> str:
    cells = "".join(
        f'<td role="cell" class="{_classes(column)}{" ob-blank" if cell == "" else ""}" '
        f'data-label="{escape(column.title)}">'
        f"{_cell_html(cell)}</td>"
        for column, cell in zip(columns, row, strict=True)
    )
    return f'<tr role="row">{cells}</tr>'


def table(
    caption: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[Cell]],
    *,
    totals: Sequence[Sequence[Cell]] = (),
) -> None:
    """Show a table; the caption is read out, and seen only by screen readers."""
    st.html(table_html(caption, columns, rows, totals=totals))


def fact_list(facts: Sequence[tuple[str, Cell]]) -> None:
    """Show labelled facts in as many columns as there is room for."""
    items = "".join(
        f"<div><dt>{escape(label)}</dt><dd>{_cell_html(value)}</dd></div>" for label, value in facts
    )
    st.html(f'<dl class="ob-facts">{items}</dl>')


def empty(what: str, what_to_do: str) -> None:
    """Say that there is nothing, and what to do about it."""
    st.html(
        f'<div class="ob-empty" role="status"><strong>{escape(what)}</strong>'
        f"<span>{escape(what_to_do)}</span></div>"
    )
