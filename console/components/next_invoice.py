"""What a change of a subscription would bill, shown before it is made."""

from collections.abc import Callable
from typing import TypeVar

import streamlit as st

from billing.errors import BillingError
from billing.formatting import format_date, format_period, format_quantity
from billing.rating.line import RatedLine
from billing.subscriptions.preview import ChangePreview, NextInvoice
from console.components.boundary import say
from console.components.money import count, money, signed
from console.components.tables import Column, table
from console.components.text import note

Preview = TypeVar("Preview")


def seen_first(
    slot: str, wish: object, button: str, preview: Callable[[], Preview]
) -> Preview | None:
    """Let the next invoice be seen; None as long as it was not, or where it is refused.

    A preview is of one wish: as soon as another is typed, it has to be looked at anew.

    Args:
        slot: of the session's state, which keeps the wish that was looked at.
        button: key of the button that shows it.
    """
    if st.button("Show the next invoice", icon=":material/visibility:", key=button):
        st.session_state[slot] = wish
    if st.session_state.get(slot) != wish:
        note("Nothing is changed before you have seen what the next invoice would be.")
        return None
    try:
        with st.spinner("Rating the period so far…"):
            return preview()
    except BillingError as error:
        say(error)
        return None


def show_preview(preview: ChangePreview) -> None:
    """The invoice of the period in which a change begins, without it and with it, line by line."""
    show_invoices(preview.before, preview.after, preview.currency)
    if preview.then is not None:
        show_invoices(None, preview.then, preview.currency, name="The first of the new interval")
    note(f"It begins on {format_date(preview.effective_on)}, at midnight of the account's zone.")


def show_invoices(
    before: NextInvoice | None,
    after: NextInvoice | None,
    code: str,
    *,
    name: str = "The next invoice",
) -> None:
    """The invoice of one period as it is and with a change, line by line.

    Args:
        code: their currency.
        name: which invoice it is.
    """
    old_lines, new_lines = _lines(before), _lines(after)
    shown = after or before
    period = f" for {format_period(shown.period.start, shown.period.end)}" if shown else ""
    st.markdown(f"**{name}{period}**, before tax, with the usage known so far:")
    rows = []
    for ref in dict.fromkeys([*old_lines, *new_lines]):
        old, new = old_lines.get(ref), new_lines.get(ref)
        line = new or old
        if line is None or not (line.amount_minor or (old and old.amount_minor)):
            continue
        now, then = (0 if one is None else one.amount_minor for one in (old, new))
        rows.append(
            (line.description, f"{format_quantity(line.quantity, code)} {line.unit}",
             money(now, code), money(then, code), _difference(then - now, code))
        )  # fmt: skip
    now, then = (0 if one is None else one.amount_minor for one in (before, after))
    table(
        f"{name} without the change and with it",
        [Column("Line", nowrap=False), Column("Quantity", "right"), Column("As it is", "right"),
         Column("With the change", "right", strong=True), Column("Difference", "right")],
        rows,
        totals=[("In all", "", money(now, code), money(then, code),
                 _difference(then - now, code))],
    )  # fmt: skip
    unpriced = sum(one.event_count for one in after.rating.unrated) if after else 0
    if unpriced:
        st.warning(
            f"No rate of this plan matches {count(unpriced)} events of the period: the invoice "
            "would be parked.",
            icon=":material/warning:",
        )


def _lines(invoice: NextInvoice | None) -> dict[str, RatedLine]:
    return {} if invoice is None else {line.line_ref: line for line in invoice.rating.lines}


def _difference(amount_minor: int, code: str) -> str | None:
    return signed(money(amount_minor, code)) if amount_minor else None
