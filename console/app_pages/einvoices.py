"""E-invoices: which documents have their IRN, which wait, what the portal said."""

from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import streamlit as st

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.einvoices.tables import EInvoice, EInvoiceState
from billing.formatting import format_date
from billing.periods import DEFAULT_ZONE
from console import actions
from console.access import PageName
from console.components.exports import export_buttons
from console.components.filters import open_one
from console.components.forms import attempt, form_key
from console.components.money import count
from console.components.page import show_page
from console.components.status import Status, einvoice_status
from console.components.tables import Column, empty, fact_list, table
from console.components.text import heading, note, plain
from console.queries import einvoices
from console.queries.einvoices import OPEN, OVERDUE, Counts, EInvoiceRow
from invoicing.einvoice.register import REASONS

_LATE = Status("Overdue", "▲", "bad")


def _render(actor: Actor) -> None:
    _numbers(einvoices.counts(actor))
    state = st.selectbox(
        "State", [None, OVERDUE, *[one.value for one in EInvoiceState]], key="einvoices_state",
        format_func=lambda one: _status(one).text if one else "All",
    )  # fmt: skip
    found = einvoices.einvoices(actor, state)
    if not found and state is None:
        empty(
            "No document needs an IRN",
            "Tax invoices and notes to registered customers appear here as they are issued.",
        )
        return
    if not found:
        empty("No document is in this state", "Set the filter back to “All” to see the others.")
        return
    export_buttons(actor, "einvoices")
    _list(found)
    _one(actor, found)


def _status(value: str) -> Status:
    return _LATE if value == OVERDUE else einvoice_status(value)


def _numbers(counted: Counts) -> None:
    with st.grid(4, min_column_width=140):
        for label, number, said in (
            ("Without IRN", counted.without, "to be registered"),
            ("Due soon", counted.soon, "within 3 days"),
            ("Overdue", counted.overdue, "past the last day"),
            ("Refused", counted.refused, "to be mended"),
        ):
            st.metric(label, count(number), said if number else "none", delta_color="off",
                      delta_arrow="off", border=True, height="stretch")  # fmt: skip


def _list(found: list[EInvoiceRow]) -> None:
    table(
        "Documents, those without IRN first",
        [Column("Number", strong=True), Column("Customer", nowrap=False), Column("Issued"),
         Column("State"), Column("Report by"), Column("Tries", "right"),
         Column("What the portal said", nowrap=False)],
        [
            (one.row.number, one.customer, format_date(one.row.issue_date), _status(one.state),
             _last_day(one), count(one.row.attempts), one.row.error if _is_open(one) else None)
            for one in found
        ],
    )  # fmt: skip


def _last_day(one: EInvoiceRow) -> str:
    return format_date(one.row.report_by) if one.row.report_by else "No limit"


def _is_open(one: EInvoiceRow) -> bool:
    return one.row.state in OPEN


def _one(actor: Actor, found: list[EInvoiceRow]) -> None:
    by_id: dict[UUID, EInvoiceRow] = {one.row.id: one for one in found}
    titles = {one.row.id: f"{one.row.number} · {one.customer}" for one in found}
    one = by_id[open_one("Open document", titles, key="einvoice_open")]
    row = one.row
    heading(f"{row.number} of {one.customer}")
    fact_list([
        ("State", _status(one.state)),
        ("Report by", _last_day(one)),
        ("Acknowledged", _when(row.acknowledged_at)),
        ("Acknowledgement", row.ack_number),
        ("Cancelled", _when(row.cancelled_at)),
    ])  # fmt: skip
    # 64 characters without a place to break: too wide for a column of facts.
    note(f"IRN {row.irn}")
    if row.cancel_reason is not None:
        note(f"Why: {REASONS[row.cancel_reason]}. {row.cancel_remark or ''}")
    if row.error and _is_open(one):
        code = f" ({row.error_code})" if row.error_code else ""
        st.warning(plain(f"{row.error}{code}"), icon=":material/report:")
    if _is_open(one) and actor.may(Permission.INVOICES_WRITE):
        _register(actor, one)
    if row.state is EInvoiceState.REGISTERED and actor.may(Permission.INVOICES_APPROVE):
        with st.expander("Cancel the IRN", icon=":material/block:"):
            _cancel(actor, row)


def _when(instant: datetime | None) -> str | None:
    if instant is None:
        return None
    return f"{instant.astimezone(ZoneInfo(DEFAULT_ZONE)):%d %b %Y, %H:%M} IST"


def _register(actor: Actor, one: EInvoiceRow) -> None:
    row = one.row
    if one.overdue:
        note(f"Its last day was {_last_day(one)}, so the portal will refuse it.")
    else:
        note("Asked again, it is registered once; a lost answer is found out first.")
    name = f"register:{row.id}"
    key = form_key(name)
    if st.button("Register it now", type="primary", key=f"register_{key}"):
        with st.spinner("Asking the portal…"):
            attempt(
                name,
                lambda _: actions.register_einvoice(actor, row.id),
                lambda state: f"{row.number}: {einvoice_status(state.value).label.lower()}.",
            )


def _cancel(actor: Actor, row: EInvoice) -> None:
    name = f"cancel:{row.id}"
    key = form_key(name)
    with st.form(f"cancel_{key}", border=False):
        note("Within 24 hours of its acknowledgement; its number and IRN are never used again.")
        reason = st.selectbox(
            "Why", list(REASONS), format_func=REASONS.__getitem__, key=f"cancel_reason_{key}"
        )
        remark = st.text_input("Remark", key=f"cancel_remark_{key}", max_chars=100)
        asked = st.form_submit_button("Cancel it", type="primary", key=f"cancel_submit_{key}")
    if asked:
        with st.spinner("Asking the portal…"):
            attempt(
                name,
                lambda _: actions.cancel_einvoice(
                    actor, einvoice_id=row.id, reason=reason, remark=remark.strip()
                ),
                f"The IRN of {row.number} is cancelled; the document may be made void now.",
            )


show_page(
    PageName.EINVOICES, "E-invoices",
    "Which documents have their IRN, which still wait, and what the portal said.",
    _render,
)  # fmt: skip
