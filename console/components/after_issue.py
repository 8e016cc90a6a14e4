"""What an issued invoice's usage came to since: billed on others, given back, or still open."""

from collections.abc import Collection
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


def show_after_issue(
    actor: Actor, facts: InvoiceFacts, listed: Collection[UUID], open_key: str
) -> None:
    """Nothing at all where usage is as it was billed.

    Args:
        listed: the invoices that the page can open.
        open_key: what of the session's state says which is open.
    """
    if facts.status == InvoiceStatus.DRAFT or actor.customer_id is not None:
        return
    found = invoices.after_issue(actor, facts.id)
    if not found.adjustments and found.difference is None:
        return
    st.subheader("Usage after issue", anchor=False)
    for added in found.adjustments:
        _adjustment(added, facts.currency, listed, open_key)
    if found.difference is not None:
        _open(actor, facts, found.difference)


def _adjustment(added: AdjustmentLine, code: str, listed: Collection[UUID], open_key: str) -> None:
    bill = added.number or f"the draft of {added.invoice_month:%B %Y}"
    with st.container(horizontal=True, vertical_alignment="center"):
        note(f"{added.description}: {money(added.amount_minor, code)} more, on {bill}.")
        if added.invoice_id in listed:
            st.button(
                f"Open {bill}", key=f"adjusted_on_{added.invoice_id}_{added.line_ref}",
                on_click=st.session_state.__setitem__, args=(open_key, added.invoice_id),
            )  # fmt: skip


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
