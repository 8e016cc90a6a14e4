"""What an issued invoice's usage came to since: billed on others, given back, or still open."""

from datetime import date
from typing import Final
from uuid import UUID

import streamlit as st

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.invoices.rerating import AdjustmentLine, InvoiceDifference
from billing.invoices.tables import InvoiceStatus
from console.components.forms import form_key
from console.components.money import money
from console.components.notes import offer_document
from console.components.tables import Column, table
from console.components.text import note
from console.queries import invoices
from console.queries.invoices import InvoiceFacts
from invoicing.usage_credits import CreditUsage, credit_usage

OPEN: Final = "invoice_open"
"""What of the session's state says which invoice is open."""


def show_differences(actor: Actor) -> None:
    """Which issued invoices are not settled for what their usage comes to now, newest first."""
    found = invoices.differences(actor) if actor.customer_id is None else []
    if not found:
        return
    titles = invoices.titles(actor, [one.id for one in found])
    with st.expander(f"Usage after issue: {len(found)} open", icon=":material/difference:"):
        note("What came to more is billed by the account's next draft; what came to less waits for "
             "a credit note.")  # fmt: skip
        for one in found:
            first, code = one.lines[0], one.lines[0].currency
            said = [f"{money(one.to_bill_minor, code)} more"] if one.to_bill_minor else []
            if one.to_credit_minor:
                said.append(f"{money(one.to_credit_minor, code)} to give back")
            with st.container(horizontal=True, vertical_alignment="center"):
                note(f"{titles[one.id].title}: {', '.join(said) or 'lines that cancel out'}.")
                _link(first.number, one.id, first.invoice_month, first.customer_id, "differing")


def show_after_issue(actor: Actor, facts: InvoiceFacts) -> None:
    """What an invoice's usage came to since; nothing at all where it is as it was billed."""
    if facts.status == InvoiceStatus.DRAFT or actor.customer_id is not None:
        return
    found = invoices.after_issue(actor, facts.id)
    if not found.adjustments and found.difference is None:
        return
    st.subheader("Usage after issue", anchor=False)
    for added in found.adjustments:
        _adjustment(added, facts)
    if found.difference is not None:
        _open(actor, facts, found.difference)


def _adjustment(added: AdjustmentLine, facts: InvoiceFacts) -> None:
    bill = added.number or f"the draft of {added.invoice_month:%B %Y}"
    more = money(added.amount_minor, facts.currency)
    with st.container(horizontal=True, vertical_alignment="center"):
        note(f"{added.description}: {more} more, on {bill}.")
        place = f"adjusted_{added.line_ref}"
        _link(bill, added.invoice_id, added.invoice_month, facts.customer_id, place)


def _link(name: str, invoice_id: UUID, month: date, customer_id: UUID, place: str) -> None:
    st.button(
        f"Open {name}", key=f"{place}_{invoice_id}", on_click=_open_invoice,
        args=(invoice_id, month, customer_id),
    )  # fmt: skip


def _open_invoice(invoice_id: UUID, month: date, customer_id: UUID) -> None:
    """Open an invoice, with filters that do not hide it."""
    filters = {"status": None, "review": None, "month": month, "customer": customer_id}
    for name, value in filters.items():
        st.session_state[f"invoices_{name}"] = value
    st.session_state[OPEN] = invoice_id


def _open(actor: Actor, facts: InvoiceFacts, found: InvoiceDifference) -> None:
    code = facts.currency
    table(
        "Lines whose usage comes to something else now, without tax",
        [Column("Line", nowrap=False), Column("Issued", "right"), Column("Now", "right"),
         Column("Billed since", "right"), Column("Credited since", "right"),
         Column("Open", "right", strong=True)],
        [
            (line.description, money(line.issued_minor, code), money(line.rated_minor, code),
             money(line.billed_minor, code), money(line.credited_minor, code),
             money(line.open_minor, code))
            for line in found.lines
        ],
    )  # fmt: skip
    if found.to_bill_minor:
        note(f"The next draft of the account bills {money(found.to_bill_minor, code)} of it.")
    if not found.to_credit_minor:
        return
    note(f"{money(found.to_credit_minor, code)} is to be given back by a credit note.")
    if not actor.may(Permission.INVOICES_APPROVE):
        return
    name = f"credit_usage:{facts.version}"
    reason = st.text_input(
        "Why", value="Usage came to less after the invoice was issued.", max_chars=500,
        key=f"credit_usage_reason_{form_key(name)}",
    )  # fmt: skip
    offer_document(
        actor, name, credit_usage, CreditUsage, reason, {"invoice_id": facts.id},
        "Issue the credit note",
        lambda made: f"Credit note {made.number} is issued over "
        f"{money(made.total_minor, made.currency)}.",
        hint="It is numbered and frozen at once, and its amount is given back.",
    )  # fmt: skip
