"""Documents beside the month's invoices: those that are issued, and writing new ones."""

from collections.abc import Callable

import streamlit as st

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.db.unit_of_work import read_only
from billing.documents.repository import list_documents
from billing.documents.tables import Document, DocumentKind
from billing.formatting import format_date
from console import actions
from console.access import PageName
from console.components.custom_invoice import drafts_by_hand, write_invoice
from console.components.exports import export_buttons
from console.components.filters import open_one
from console.components.money import count, money
from console.components.notes import write_credit_note, write_debit_note, write_proforma
from console.components.page import show_page
from console.components.status import words
from console.components.tables import Column, empty, table
from console.components.text import note
from console.database import engine
from console.queries import customers

_MOST = 200
_ISSUED = "Issued"
_WRITE: dict[str, tuple[Permission, Callable[[Actor], None]]] = {
    "Custom invoice": (Permission.INVOICES_WRITE, write_invoice),
    "Credit note": (Permission.INVOICES_APPROVE, write_credit_note),
    "Debit note": (Permission.INVOICES_WRITE, write_debit_note),
    "Proforma": (Permission.INVOICES_WRITE, write_proforma),
}


def _render(actor: Actor) -> None:
    offered = [name for name, (permission, _) in _WRITE.items() if actor.may(permission)]
    view: str | None = _ISSUED
    if offered:
        view = st.segmented_control(
            "Show or write", [_ISSUED, *offered], default=_ISSUED, required=True,
            key="documents_view", label_visibility="collapsed",
            format_func=lambda one: one if one == _ISSUED else f"Write: {one.lower()}",
        )  # fmt: skip
    if view in _WRITE:
        _WRITE[str(view)][1](actor)
    else:
        _issued(actor)
    if actor.may(Permission.INVOICES_WRITE) and view != _ISSUED:
        drafts_by_hand(actor)


def _issued(actor: Actor) -> None:
    kind = st.selectbox(
        "Kind", [None, *DocumentKind], key="documents_kind",
        format_func=lambda one: words(one.value) if one else "All",
    )  # fmt: skip
    with read_only(engine()) as session:
        found = list_documents(session, actor, kind=kind, limit=_MOST)
    if not found:
        empty(
            "No such documents yet",
            "Notes, vouchers and proformas appear here as they are issued; invoices are on their "
            "own page.",
        )
        return
    export_buttons(actor, "documents")
    names = {one.id: one.name for one in customers.choices(actor)}
    table(
        "Documents, the newest first",
        [Column("Number", strong=True), Column("Kind"), Column("Issued"),
         Column("Customer", nowrap=False), Column("Before tax", "right"), Column("Tax", "right"),
         Column("Total", "right", strong=True), Column("Still to be set off", "right"),
         Column("Reason", nowrap=False)],
        [
            (one.number, words(one.kind.value), format_date(one.issue_date),
             names.get(one.customer_id), money(one.taxable_minor, one.currency),
             money(one.tax_minor, one.currency), money(one.total_minor, one.currency), _left(one),
             one.reason)
            for one in found
        ],
    )  # fmt: skip
    more = f" The newest {_MOST} are shown." if len(found) == _MOST else ""
    note(f"{count(len(found))} document{'s' if len(found) > 1 else ''}.{more}")
    by_id = {one.id: one for one in found}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        titles = {one.id: f"{one.number} · {names.get(one.customer_id)}" for one in found}
        chosen = open_one("Document", titles, key="document_open")
        st.download_button(
            "Download PDF", lambda: actions.paper(actor, chosen), mime="application/pdf",
            file_name=f"{by_id[chosen].number.replace('/', '-')}.pdf",
            icon=":material/download:", key="document_pdf", on_click="ignore",
        )  # fmt: skip


def _left(one: Document) -> str | None:
    is_note = one.kind in {DocumentKind.CREDIT_NOTE, DocumentKind.FINANCIAL_CREDIT_NOTE}
    return money(one.unapplied_minor, one.currency) if is_note and one.unapplied_minor else None


show_page(
    PageName.DOCUMENTS, "Documents",
    "Notes, vouchers and proformas, and invoices written by hand.",
    _render,
)  # fmt: skip
