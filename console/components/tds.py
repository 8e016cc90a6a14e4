"""Tax that customers deducted at source: recorded, and proven by certificates."""

from typing import Any
from uuid import UUID

import streamlit as st

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.db.unit_of_work import read_only
from billing.formatting import format_date
from billing.invoices.settlement import SettlementSource
from billing.payments.receipts import AddSettlementLine, add_settlement_line
from billing.payments.tds import RecordCertificate, list_open_deductions, record_certificate
from billing.periods import DEFAULT_ZONE, local_day
from console import actions
from console.components.forms import attempt, form_key
from console.components.money import asked_minor, money
from console.components.tables import Column, empty, table
from console.components.text import note, readable_reference
from console.database import clock, engine
from console.queries import invoices, payments

_KINDS = {
    SettlementSource.TDS_INCOME_TAX.value: "Income tax",
    SettlementSource.TDS_GST.value: "GST",
}


def show_tds(actor: Actor) -> None:
    """What has no certificate yet, and forms for a certificate and for a new deduction."""
    with read_only(engine()) as session:
        lines = list_open_deductions(session, actor)
    names = invoices.titles(actor, [line.invoice_id for line in lines])
    if lines:
        table(
            "Deductions without a certificate, oldest first",
            [Column("Invoice", strong=True, nowrap=False), Column("Tax"), Column("Section"),
             Column("Deducted", "right", strong=True), Column("Reference", nowrap=False),
             Column("Recorded")],
            [
                (names[line.invoice_id].title, _KINDS[line.source],
                 line.details.get("section"),
                 money(line.amount_minor, names[line.invoice_id].currency),
                 readable_reference(line.source, line.reference),
                 format_date(local_day(line.recorded_at, DEFAULT_ZONE)))
                for line in lines
            ],
        )  # fmt: skip
    else:
        empty(
            "Every deduction is proven",
            "What a customer deducts is recorded below, and stays here until its certificate.",
        )
    if not actor.may(Permission.PAYMENTS_WRITE):
        return
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Record a certificate", anchor=False)
        _certificate(actor, lines, names)
    with right:
        st.subheader("Record a deduction", anchor=False)
        _deduction(actor)


def _certificate(actor: Actor, lines: Any, names: dict[UUID, invoices.InvoiceTitle]) -> None:
    customers = {
        names[line.invoice_id].customer_id: names[line.invoice_id].customer for line in lines
    }
    if not customers:
        note("There is no deduction that waits for one.")
        return
    customer_id = st.selectbox(
        "Customer", list(customers), format_func=customers.__getitem__, key="tds_customer"
    )
    mine = {line.id: line for line in lines if names[line.invoice_id].customer_id == customer_id}
    code = names[next(iter(mine.values())).invoice_id].currency
    key = form_key("certificate")
    with st.form(f"certificate_{key}"):
        proven = st.multiselect(
            "Deductions it proves", list(mine), default=list(mine),
            key=f"tds_lines_{key}_{customer_id}",
            format_func=lambda one: f"{names[mine[one].invoice_id].number} · "
            f"{money(mine[one].amount_minor, code)}",
        )  # fmt: skip
        with st.grid(2, min_column_width=150):
            number = st.text_input("Certificate number", key=f"tds_number_{key}")
            form = st.selectbox(
                "Form", ["16A", "131", "GSTR-7A"], key=f"tds_form_{key}", accept_new_options=True
            )
            amount = st.text_input(f"Amount on it, in {code}", key=f"tds_amount_{key}")
            issued_on = st.date_input(
                "Issued on", local_day(clock().now(), DEFAULT_ZONE), format="DD/MM/YYYY",
                key=f"tds_day_{key}",
            )  # fmt: skip
        asked = st.form_submit_button("Record it", type="primary", key=f"tds_submit_{key}")
    if asked:
        attempt(
            "certificate",
            lambda key: actions.run(
                actor, key, record_certificate, RecordCertificate, customer_id=customer_id,
                number=number.strip(), form=form, issued_on=issued_on,
                amount_minor=asked_minor("amount", amount, code), settlement_line_ids=tuple(proven),
            ),
            f"Certificate {number.strip()} of {customers[customer_id]} is recorded.",
        )  # fmt: skip


def _deduction(actor: Actor) -> None:
    due = {one.id: one for one in payments.due_invoices(actor)}
    if not due:
        note("Nothing is due that tax could have been deducted from.")
        return
    key = form_key("deduction")
    with st.form(f"deduction_{key}"):
        chosen = st.selectbox(
            "Invoice",
            list(due),
            format_func=lambda one: due[one].title,
            key=f"deduct_invoice_{key}",
        )
        with st.grid(2, min_column_width=150):
            source = st.selectbox(
                "Tax", list(_KINDS), format_func=_KINDS.__getitem__, key=f"deduct_tax_{key}"
            )
            amount = st.text_input("Amount deducted", key=f"deduct_amount_{key}")
            reference = st.text_input(
                "Reference", key=f"deduct_reference_{key}", placeholder="Payment advice",
                help="Letters, digits and . _ : / - only; once for each invoice.",
            )  # fmt: skip
            section = st.text_input("Section", key=f"deduct_section_{key}", placeholder="393(1)")
        asked = st.form_submit_button("Record it", type="primary", key=f"deduct_submit_{key}")
    if asked:
        invoice = due[chosen]
        attempt(
            "deduction",
            lambda key: actions.run(
                actor, key, add_settlement_line, AddSettlementLine, invoice_id=chosen,
                source=source, amount_minor=asked_minor("amount", amount, invoice.currency),
                reference=reference.strip(), section=section.strip() or None,
            ),
            f"The deduction from {invoice.title} is recorded; its certificate is still to come.",
        )  # fmt: skip
