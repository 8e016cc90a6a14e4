"""Writing credit notes, debit notes and proformas of invoices that are there."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pandas as pd
import streamlit as st

from billing.access.actor import Actor
from billing.errors import BillingError
from console import actions
from console.components.boundary import say
from console.components.forms import attempt, form_key
from console.components.money import asked_minor, money
from console.components.tables import empty
from console.components.tax_preview import rehearsed, show_tax
from console.components.text import note
from console.queries import documents, invoices
from console.queries.documents import InvoiceChoice
from invoicing.credit_notes import IssueCreditNote, issue_credit_note
from invoicing.custom import CreateDebitNote, create_debit_note
from invoicing.proforma import IssueProforma, issue_proforma

_ALL, _SOME = "Everything that is left", "Amounts of some lines"


def write_credit_note(actor: Actor) -> None:
    """Take back what an issued invoice said too much."""
    chosen = _choose(documents.issued(actor), "credit")
    if chosen is None:
        empty("No issued invoice", "A credit note takes back an issued invoice; a draft is mended.")
        return
    how = st.segmented_control(
        "Take back", (_ALL, _SOME), default=_ALL, required=True, key="credit_how"
    )
    lines = _amounts(actor, chosen, "credit", "Take back") if how == _SOME else None
    reason = st.text_input("Why", key=f"credit_reason_{form_key('credit')}", max_chars=500)
    if lines == []:
        note("Type what to take back of a line, without tax.")
        return
    offer_document(
        actor, "credit", issue_credit_note, IssueCreditNote, reason,
        {"invoice_id": chosen.id, "lines": lines},
        "Issue the credit note",
        lambda made: f"Credit note {made.number} is issued over "
        f"{money(made.total_minor, made.currency)}.",
        hint="It is numbered and frozen at once, and its amount is given back.",
    )  # fmt: skip


def write_debit_note(actor: Actor) -> None:
    """Ask for what an issued invoice said too little."""
    chosen = _choose(documents.issued(actor), "debit")
    if chosen is None:
        empty("No issued invoice", "A debit note adds to an issued invoice; a draft is mended.")
        return
    lines = _amounts(actor, chosen, "debit", "Add")
    reason = st.text_input("Why", key=f"debit_reason_{form_key('debit')}", max_chars=500)
    if not lines:
        note("Type what a line should have said more, without tax.")
        return
    offer_document(
        actor, "debit", create_debit_note, CreateDebitNote, reason,
        {"invoice_id": chosen.id, "lines": lines},
        "Keep as a draft",
        "The debit note is kept as a draft; review and approve it on the page Invoices.",
        hint="It carries the heads and rates of the invoice, and is approved and paid like one.",
    )  # fmt: skip


def write_proforma(actor: Actor) -> None:
    """Give a number to what a draft says today."""
    chosen = _choose(documents.drafts(actor), "proforma")
    if chosen is None:
        empty("No draft", "A proforma is made of a draft; write an invoice first.")
        return
    offer_document(
        actor, "proforma", issue_proforma, IssueProforma, None, {"invoice_id": chosen.id},
        "Issue the proforma",
        lambda made: f"Proforma {made.number} is issued; its draft goes on as it is.",
        hint="No tax document: a customer who pays or approves first sees what is to come.",
    )  # fmt: skip


def _choose(found: list[InvoiceChoice], key: str) -> InvoiceChoice | None:
    by_id = {one.id: one for one in found}
    if not by_id:
        return None
    chosen: UUID = st.selectbox(
        "Draft" if key == "proforma" else "Invoice", list(by_id), key=f"{key}_invoice",
        format_func=lambda one: f"{by_id[one].title} · "
        f"{money(by_id[one].total_minor, by_id[one].currency)}",
    )  # fmt: skip
    return by_id[chosen]


def _amounts(actor: Actor, chosen: InvoiceChoice, name: str, verb: str) -> list[dict[str, Any]]:
    """What was typed for each line of an invoice; lines without an amount are left out."""
    lines = invoices.lines(actor, chosen.id)
    label = f"{verb}, {chosen.currency} without tax"
    typed = st.data_editor(
        pd.DataFrame(
            {
                "Line": [line.description for line in lines],
                "Billed": [money(line.amount_minor, chosen.currency) for line in lines],
                label: ["" for _ in lines],
            }
        ),
        hide_index=True, disabled=("Line", "Billed"),
        key=f"{name}_lines_{chosen.id}_{form_key(name)}",
        column_config={
            "Line": st.column_config.TextColumn(width="large"),
            "Billed": st.column_config.TextColumn(alignment="right"),
            label: st.column_config.TextColumn(alignment="right"),
        },
    )  # fmt: skip
    found = []
    for line, amount in zip(lines, typed[label], strict=True):
        if isinstance(amount, str) and amount.strip():
            minor = asked_minor(line.description, amount, chosen.currency)
            found.append({"line_ref": line.line_ref, "amount_minor": minor})
    return found


def offer_document(
    actor: Actor,
    name: str,
    command: Callable[..., Any],
    request: type[Any],
    reason: str | None,
    fields: dict[str, Any],
    label: str,
    done: Callable[[Any], str] | str,
    *,
    hint: str,
) -> None:
    """The tax of what was typed, and the button that makes it.

    Args:
        reason: None if the request has none; without one, the tax is shown already.
    """
    # The reason changes no number, so the numbers need not wait for it.
    shown = {} if reason is None else {"reason": reason.strip() or "to be said"}
    try:
        found = rehearsed(actor, command, request, **fields, **shown)
    except BillingError as error:
        say(error)
        return
    show_tax(found)
    note(hint)
    key = form_key(name)
    if reason is not None and not reason.strip():
        note("Say why before it is made; it is printed on the document.")
    if st.button(
        label, type="primary", key=f"{name}_submit_{key}",
        disabled=reason is not None and not reason.strip(),
    ):  # fmt: skip
        attempt(
            name, lambda key: actions.run(actor, key, command, request, **fields, **shown), done
        )
