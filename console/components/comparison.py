"""What prices would have billed for past usage, side by side with what was billed."""

from collections.abc import Callable, Sequence
from typing import Final

import streamlit as st

from billing.simulations.compare import Comparison, SideBySide
from console.components.countries import country_name
from console.components.money import change_text, count, money, signed
from console.components.status import words
from console.components.tables import Column, empty, table
from console.components.text import heading, plain

_MOST: Final = 50


def show_comparison(found: Comparison) -> None:
    """The proof first, then totals, customers, channels, countries and charges."""
    first = found.simulations[0]
    if not first.periods:
        empty("Nothing was billed then", "Choose months in which the plan had subscribers.")
        return
    wrong = [one for one in found.simulations if not one.is_exact]
    if wrong:
        st.error(plain(f"This cannot be relied on: {wrong[0].verdict}."), icon=":material/block:")
    else:
        st.success(plain(f"Checked: {first.verdict}."), icon=":material/verified:")
    for name, one in zip(found.names, found.simulations, strict=True):
        more = one.unrated_after - one.unrated_before
        if more > 0:
            st.warning(
                plain(f"{name}: no rate would match {count(more)} more events."),
                icon=":material/warning:",
            )
    _table("In all", found.names, found.totals, str)
    for title, rows, named in (
        ("By customer", found.customers, str),
        ("By channel", found.channels, words),
        ("By country", found.countries, country_name),
        ("By charge", found.charges, words),
    ):
        shown = [row for row in rows if row.before_minor or any(row.after_minor)][:_MOST]
        if shown:
            heading(title)
            _table(title, found.names, shown, named)


def _table(
    title: str,
    names: Sequence[str],
    rows: Sequence[SideBySide],
    named: Callable[[str], str],
) -> None:
    columns = [Column("Name", nowrap=False), Column("Billed", "right")]
    for name in names:
        columns += [Column(name, "right"), Column("Difference", "right", strong=True)]
    if len(names) == 1:
        columns.append(Column("Change", "right"))
    table(title, columns, [_cells(row, title, named) for row in rows])


def _cells(row: SideBySide, title: str, named: Callable[[str], str]) -> list[str | None]:
    code = row.currency
    what = named(row.name) if row.name else ("All customers" if title == "In all" else "Fees")
    cells: list[str | None] = [
        what if code == "INR" else f"{what}, {code}", money(row.before_minor, code)
    ]  # fmt: skip
    for after, difference in zip(row.after_minor, row.differences_minor, strict=True):
        cells += [money(after, code), signed(money(difference, code)) if difference else None]
    if len(row.after_minor) == 1:
        same = row.after_minor[0] == row.before_minor
        cells.append(None if same else change_text(row.after_minor[0], row.before_minor))
    return cells
