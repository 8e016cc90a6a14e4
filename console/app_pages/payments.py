"""Payments: what came in and went back, what needs a look, and whether the books clear."""

from datetime import datetime
from zoneinfo import ZoneInfo

import streamlit as st

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.periods import DEFAULT_ZONE, local_day
from console import actions
from console.access import PageName
from console.components.exports import export_buttons
from console.components.forms import attempt, form_key
from console.components.money import count, money, typed_minor
from console.components.page import show_page
from console.components.status import payment_status, words
from console.components.tables import Column, empty, table
from console.components.text import actor_name, heading, note
from console.database import clock
from console.queries import payments
from console.queries.payments import DueInvoice, PaymentRow

_ATTENTION = "Needs a look"


def _render(actor: Actor) -> None:
    found = payments.payments(actor)
    staff = actor.customer_id is None
    _numbers(actor, found, staff=staff)
    if found:
        export_buttons(actor, "payments")
        _list(found)
    else:
        empty("No payments yet", "They appear with the first payment link or recorded transfer.")
    if actor.may(Permission.PAYMENTS_WRITE):
        with st.container(border=True):
            _receipt(actor)
    _refunds(actor)
    if staff:
        _reconciliation(actor)


def _numbers(actor: Actor, found: list[PaymentRow], *, staff: bool) -> None:
    looks = sum(row.attention is not None for row in found)
    waiting = sum(row.status in {"pending", "authorised"} for row in found)
    with st.grid(4, min_column_width=140):
        _metric(_ATTENTION, looks, "another amount, a dispute" if looks else "none")
        _metric("Waiting", waiting, "for their payers")
        if staff:
            invoices, uncleared = payments.not_clearing(actor)
            for label, number in (("Invoices", invoices), ("Payments", uncleared)):
                said = "do not add up" if number else "all add up"
                _metric(f"{label} not clearing", number, said)


def _metric(label: str, number: int, said: str) -> None:
    st.metric(
        label, count(number), said, delta_color="off", delta_arrow="off", border=True,
        height="stretch",
    )  # fmt: skip


def _list(found: list[PaymentRow]) -> None:
    statuses = ["All", _ATTENTION, *dict.fromkeys(words(row.status) for row in found)]
    chosen = st.segmented_control(
        "Status", statuses, default="All", required=True, key="payment_status"
    )
    shown = [
        row
        for row in found
        if chosen in {"All", words(row.status)} or (chosen == _ATTENTION and row.attention)
    ]
    table(
        "Payments, those that need a look first",
        [Column("When (IST)"), Column("Customer", strong=True, nowrap=False), Column("For"),
         Column("Gateway"), Column("Status"), Column("Asked", "right"),
         Column("Received", "right", strong=True), Column("Refunded", "right"),
         Column("Left", "right"), Column("Note", nowrap=False)],
        [
            (_when(row.created_at), row.customer, row.paid_for or words(row.purpose),
             words(row.gateway), payment_status(row.status),
             money(row.amount_minor, row.currency), money(row.captured_minor, row.currency),
             money(row.refunded_minor, row.currency), money(row.left_minor, row.currency),
             row.attention or row.failure)
            for row in shown
        ],
    )  # fmt: skip


def _receipt(actor: Actor) -> None:
    st.subheader("Record a receipt", anchor=False)
    due = payments.due_invoices(actor)
    if not due:
        empty("Nothing is due", "A transfer is recorded for an invoice that is still open.")
        return
    by_id = {invoice.id: invoice for invoice in due}
    key = form_key("receipt")
    with st.form(f"receipt_{key}", border=False):
        chosen = st.selectbox(
            "Invoice", list(by_id), key=f"receipt_invoice_{key}",
            format_func=lambda one: f"{by_id[one].title} · "
            f"{money(by_id[one].outstanding_minor, by_id[one].currency)} open",
        )  # fmt: skip
        left, middle, right = st.columns(3)
        amount = left.text_input(
            "Amount received", key=f"receipt_amount_{key}", placeholder="50000.00"
        )
        reference = middle.text_input(
            "Bank reference", key=f"receipt_reference_{key}", placeholder="UTR",
            help="Letters, digits and . _ : / - only. The same one is never recorded twice.",
        )  # fmt: skip
        received_on = right.date_input(
            "Received on",
            local_day(clock().now(), DEFAULT_ZONE),
            format="DD/MM/YYYY",
            key=f"receipt_day_{key}",
        )
        asked = st.form_submit_button("Record it", type="primary", key=f"receipt_submit_{key}")
    if asked:
        _record(actor, by_id[chosen], amount, reference.strip(), received_on)


def _record(
    actor: Actor, invoice: DueInvoice, amount: str, reference: str, received_on: object
) -> None:
    amount_minor = typed_minor(amount, invoice.currency)
    if not amount_minor:
        st.error(
            "Enter the amount in digits, such as 50000.00, above zero and with no more decimals "
            "than the currency has.",
            icon=":material/edit:",
        )
        return
    said = money(amount_minor, invoice.currency)
    attempt(
        "receipt",
        lambda key: actions.record_money(
            actor,
            key,
            invoice_id=invoice.id,
            amount_minor=amount_minor,
            reference=reference,
            received_on=received_on,
        ),
        f"{said} under {reference} is recorded for {invoice.title}.",
    )


def _refunds(actor: Actor) -> None:
    rows = payments.refunds(actor)
    if not rows:
        return
    st.subheader("Refunds", anchor=False)
    table(
        "Refunds, newest first",
        [Column("When (IST)"), Column("Customer", strong=True, nowrap=False), Column("Gateway"),
         Column("Amount", "right", strong=True), Column("State"), Column("Reason", nowrap=False),
         Column("Asked by", nowrap=False)],
        [
            (_when(row.created_at), row.customer, words(row.gateway),
             money(row.amount_minor, row.currency), words(row.state), row.reason,
             actor_name(row.requested_by))
            for row in rows
        ],
    )  # fmt: skip


def _reconciliation(actor: Actor) -> None:
    heading("Last reconciliation")
    runs = payments.last_runs(actor)
    if not runs:
        empty("Not reconciled yet", "It runs every night for each gateway that has keys.")
        return
    for run in runs:
        said = run.error or (
            f"{count(run.movements)} entries, {count(run.matched)} matched, "
            f"{count(run.caught_up)} asked about, {count(run.differing)} differ"
        )
        note(f"{words(run.gateway)}, {_when(run.finished_at)}: {said}.")
    rows = payments.differences(actor)
    if not rows:
        return
    table(
        "What differs between the gateways and us",
        [Column("Gateway"), Column("Difference", strong=True), Column("Their name", nowrap=False),
         Column("They have", "right"), Column("We have", "right")],
        [
            (words(row.gateway), words(row.kind), row.refund_id or row.provider_payment_id,
             _side(row.their_amount_minor, row.their_currency),
             _side(row.our_amount_minor, row.our_currency))
            for row in rows
        ],
    )  # fmt: skip


def _side(amount_minor: int | None, code: str | None) -> str | None:
    """An amount as one side has it; a currency that we do not know is shown in its own units."""
    if amount_minor is None or code is None:
        return None
    return money(amount_minor, code) if code in {"INR", "USD", "IDR"} else f"{amount_minor} {code}"


def _when(instant: datetime) -> str:
    return f"{instant.astimezone(ZoneInfo(DEFAULT_ZONE)):%d %b %Y, %H:%M}"


show_page(
    PageName.PAYMENTS, "Payments", "What came in, what went back, and whether it adds up.", _render
)
