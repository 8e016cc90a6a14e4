"""Writing an invoice by hand, and throwing such a draft away again."""

from datetime import timedelta
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from billing.access.actor import Actor
from billing.errors import BillingError
from billing.periods import DEFAULT_ZONE, local_day
from console import actions
from console.components.boundary import say
from console.components.forms import attempt, form_key
from console.components.money import money
from console.components.tables import empty
from console.components.tax_preview import rehearsed, show_tax
from console.components.text import heading, note, plain
from console.database import clock
from console.queries import documents, subscriptions
from invoicing.custom import (
    CreateCustomInvoice,
    DiscardDraft,
    create_custom_invoice,
    discard_draft,
)

_FORM = "custom_invoice"
_TYPES = {"invoice": "Tax invoice", "bill_of_supply": "Bill of supply"}
_COLUMNS = ("description", "sac", "quantity", "unit", "unit_price")
_FIRST = {"description": "", "sac": "998413", "quantity": "1", "unit": "unit", "unit_price": ""}


def write_invoice(actor: Actor) -> None:
    """Lines of one's own, their tax as it would be, and the draft."""
    accounts = {one.id: one for one in subscriptions.accounts(actor)}
    if not accounts:
        empty("No accounts yet", "An invoice is written for the account of a customer.")
        return
    key = form_key(_FORM)
    today = local_day(clock().now(), DEFAULT_ZONE)
    with st.grid(3, min_column_width=170):
        account_id = st.selectbox(
            "Account", list(accounts), key=f"custom_account_{key}",
            format_func=lambda one: accounts[one].title,
        )  # fmt: skip
        kind = st.selectbox(
            "Kind", list(_TYPES), format_func=_TYPES.__getitem__, key=f"custom_kind_{key}"
        )
        days = st.date_input(
            "For the days", (today, today), format="DD/MM/YYYY", key=f"custom_days_{key}"
        )
    code = accounts[account_id].currency
    rows = _lines(key, code)
    remark = st.text_input("Remark on the document", key=f"custom_remark_{key}", max_chars=500)
    if not isinstance(days, tuple) or len(days) != 2:
        note("Choose the last day too.")
        return
    lines = [_line(row) for row in rows.to_dict("records") if _is_whole(row)]
    if not lines:
        note("As soon as a line has its words and its price, its tax is shown here.")
        return
    fields = {
        "account_id": account_id, "document_type": kind, "period_start": days[0],
        "period_end": days[1] + timedelta(days=1), "remark": remark.strip(), "lines": lines,
    }  # fmt: skip
    try:
        found = rehearsed(actor, create_custom_invoice, CreateCustomInvoice, **fields)
    except BillingError as error:
        say(error)
        return
    show_tax(found)
    if st.button("Keep as a draft", type="primary", key=f"custom_submit_{key}"):
        attempt(
            _FORM,
            lambda key: actions.run(
                actor, key, create_custom_invoice, CreateCustomInvoice, **fields
            ),
            f"The draft for {accounts[account_id].title} is kept; review and approve it on the "
            "page Invoices.",
        )


def _lines(key: str, code: str) -> pd.DataFrame:
    # Text, not numbers: a price must not pass through a binary fraction.
    text = st.column_config.TextColumn
    return st.data_editor(
        pd.DataFrame([_FIRST], columns=list(_COLUMNS)),
        num_rows="dynamic", hide_index=True, key=f"custom_lines_{key}",
        column_config={
            "description": text("What it is for", width="large", max_chars=300),
            "sac": text("SAC", width="small", default="998413"),
            "quantity": text("Quantity", width="small", default="1"),
            "unit": text("Unit", width="small", default="unit"),
            "unit_price": text(f"Price each, {code}", width="small"),
        },
        alt="Lines of the invoice, to be typed.",
    )  # fmt: skip


def _is_whole(row: dict[Any, Any]) -> bool:
    return all(isinstance(row[name], str) and row[name].strip() for name in _COLUMNS)


def _line(row: dict[Any, Any]) -> dict[str, str]:
    line = {name: str(row[name]).strip() for name in _COLUMNS}
    return line | {name: line[name].replace(",", "") for name in ("quantity", "unit_price")}


def drafts_by_hand(actor: Actor) -> None:
    """Drafts that people wrote, each with a way to throw it away."""
    found = documents.written(actor)
    if not found:
        return
    heading("Drafts written by hand")
    for one in found:
        name = f"discard:{one.id}"
        key = form_key(name)
        with st.container(horizontal=True, vertical_alignment="center", border=True):
            said = f"{one.title} · {money(one.total_minor, one.currency)}"
            st.markdown(plain(said), width="stretch")
            sure = st.checkbox("Throw it away", key=f"discard_sure_{key}")
            asked = st.button("Discard", key=f"discard_{key}", disabled=not sure)
        if asked:
            attempt(
                name,
                partial(
                    actions.run, actor, command=discard_draft, request=DiscardDraft,
                    invoice_id=one.id,
                ),
                "The draft is thrown away.",
            )  # fmt: skip
    st.page_link("app_pages/invoices.py", label="Review them", icon=":material/receipt_long:")
