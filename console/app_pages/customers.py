"""Customers: found by whatever names them, everything about one, and all of them as a file."""

from uuid import UUID

import streamlit as st

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.customers.bulk import export_customers
from billing.customers.repository import (
    CustomerFilter,
    list_addresses,
    list_contacts,
    list_customers,
)
from billing.customers.tables import AccountStatus, ContactRole
from billing.db.unit_of_work import read_only
from billing.formatting import format_date
from billing.money import CURRENCIES
from billing.periods import DEFAULT_ZONE, local_day
from billing.tax.model import TaxKind
from console import actions
from console.access import PageName
from console.components.filters import open_one
from console.components.forms import attempt, form_key
from console.components.money import count
from console.components.page import show_page
from console.components.status import Status, words
from console.components.tables import Column, empty, fact_list, table
from console.components.text import heading, note
from console.database import clock, engine
from console.queries import customer_directory as directory
from console.queries.customer_directory import CustomerRow

_MOST = 200


def _render(actor: Actor) -> None:
    wanted = _filters()
    with read_only(engine()) as session:
        ids = [one.id for one in list_customers(session, actor, wanted, limit=_MOST)]
    found = directory.rows(actor, ids)
    if found:
        _list(found)
        _one(actor, found)
    elif wanted == CustomerFilter():
        empty("No customers yet", "Import a file below, or create them over the API.")
    else:
        empty("No customer matches", "Search for less, or set a filter back to “All”.")
    st.divider()
    _files(actor)


def _filters() -> CustomerFilter:
    with st.container(border=True), st.grid(4, min_column_width=150):
        search = st.text_input(
            "Search", key="customers_search", placeholder="Name, code, GSTIN, account"
        )
        tax_kind = st.selectbox(
            "Taxed as", [None, *TaxKind], key="customers_tax",
            format_func=lambda one: words(one.value) if one else "All",
        )  # fmt: skip
        currency = st.selectbox(
            "Currency", [None, *sorted(CURRENCIES)], key="customers_currency",
            format_func=lambda one: one or "All",
        )  # fmt: skip
        status = st.selectbox(
            "Account", [None, *AccountStatus], key="customers_status",
            format_func=lambda one: words(one.value) if one else "All",
        )  # fmt: skip
    return CustomerFilter(search.strip() or None, tax_kind, None, currency, None, status)


def _list(found: list[CustomerRow]) -> None:
    table(
        "Customers by name",
        [Column("Customer", strong=True, nowrap=False), Column("Code"), Column("Taxed as"),
         Column("GSTIN"), Column("Accounts", "right"), Column("E-mail", nowrap=False)],
        [
            (row.name, row.code, words(row.tax_kind) if row.tax_kind else None, row.gstin,
             f"{count(row.open_accounts)} of {count(row.accounts)}", row.email)
            for row in found
        ],
    )  # fmt: skip
    more = f" The first {_MOST} are shown; search for others." if len(found) == _MOST else ""
    note(f"{count(len(found))} customers; accounts that are open, of all.{more}")


def _one(actor: Actor, found: list[CustomerRow]) -> None:
    by_id = {row.id: row for row in found}
    titles = {row.id: row.name for row in found}
    chosen = open_one("Open customer", titles, key="customer_open")
    heading(by_id[chosen].name)
    left, right = st.columns([3, 2], gap="large")
    with left:
        _accounts(actor, chosen)
        _profiles(actor, chosen)
    with right:
        _places(actor, chosen)
        _people(actor, chosen)


def _accounts(actor: Actor, customer_id: UUID) -> None:
    st.subheader("Accounts", anchor=False)
    rows = directory.accounts(actor, customer_id)
    if not rows:
        empty("No account", "Usage and invoices need one.")
        return
    table(
        "Accounts, each under its parent",
        [Column("Account", strong=True, nowrap=False), Column("Mode"), Column("Status"),
         Column("Terms", "right"), Column("Also known as", nowrap=False)],
        [
            (f"{row.parent} › {row.code}" if row.parent else row.code,
             f"{words(row.billing_mode)}, {row.currency}", words(row.status),
             f"{row.payment_terms_days} days", row.aliases)
            for row in rows
        ],
    )  # fmt: skip


def _profiles(actor: Actor, customer_id: UUID) -> None:
    st.subheader("Taxed as", anchor=False)
    rows = directory.profiles(actor, customer_id)
    if not rows:
        empty("No tax profile", "Invoices wait until one says how the customer is taxed.")
        return
    today = local_day(clock().now(), DEFAULT_ZONE)
    current = next((row for row in rows if row.valid_from <= today), None)
    table(
        "Tax profiles, the newest first",
        [Column("From"), Column("Kind", strong=True), Column("GSTIN"), Column("State"),
         Column("Legal name and address", nowrap=False)],
        [
            (format_date(row.valid_from),
             Status(words(row.tax_kind), "●", "good") if row is current else words(row.tax_kind),
             row.gstin, row.state_code, f"{row.legal_name}, {row.address}")
            for row in rows
        ],
    )  # fmt: skip


def _places(actor: Actor, customer_id: UUID) -> None:
    st.subheader("Addresses", anchor=False)
    with read_only(engine()) as session:
        rows = [one for one in list_addresses(session, actor, customer_id) if not one.ended_at]
    fact_list(
        [
            (f"{one.label} ({words(one.kind.value).lower()})",
             ", ".join([one.address_line, one.city, one.postal_code, one.country]))
            for one in rows
        ]
    )  # fmt: skip
    if not rows:
        note("None beside that of the tax profile.")


def _people(actor: Actor, customer_id: UUID) -> None:
    st.subheader("Contacts", anchor=False)
    with read_only(engine()) as session:
        rows = [one for one in list_contacts(session, actor, customer_id) if not one.ended_at]
    fact_list(
        [
            (words(one.role.value),
             ", ".join(part for part in (one.name, one.email, one.phone) if part))
            for one in rows
        ]
    )  # fmt: skip
    if not rows:
        note("Nobody is named yet.")
    if actor.may(Permission.CUSTOMERS_WRITE):
        with st.expander("Add a contact", icon=":material/person_add:"):
            _new_contact(actor, customer_id)


def _new_contact(actor: Actor, customer_id: UUID) -> None:
    key = form_key("contact")
    with st.form(f"contact_{key}", border=False):
        role = st.selectbox(
            "For", list(ContactRole), format_func=lambda one: words(one.value), key=f"role_{key}"
        )
        name = st.text_input("Name", key=f"contact_name_{key}")
        email = st.text_input("E-mail", key=f"contact_email_{key}")
        phone = st.text_input("Phone", key=f"contact_phone_{key}", placeholder="+919812345678")
        asked = st.form_submit_button("Add", type="primary", key=f"contact_submit_{key}")
    if not asked:
        return
    attempt(
        "contact",
        lambda key: actions.record_contact(
            actor,
            key,
            customer_id=customer_id,
            role=role,
            name=name.strip(),
            email=email.strip() or None,
            phone=phone.strip() or None,
        ),
        "The contact is recorded.",
    )


def _files(actor: Actor) -> None:
    today = local_day(clock().now(), DEFAULT_ZONE)

    def content() -> bytes:
        with read_only(engine()) as session:
            return "".join(export_customers(session, actor, today)).encode("utf-8-sig")

    st.download_button(
        "Export all customers", content, "customers.csv", "text/csv", icon=":material/download:",
        key="customers_export", on_click="ignore",
    )  # fmt: skip
    if not actor.may(Permission.CUSTOMERS_WRITE):
        return
    with st.expander("Import customers", icon=":material/upload:"):
        file = st.file_uploader("CSV with the columns of the export", "csv", key="customers_file")
        checks = st.checkbox("Only check it", value=True, key="customers_dry")
        if file is not None and st.button("Check" if checks else "Import", key="customers_import"):
            _import(actor, file.getvalue(), dry_run=checks)


def _import(actor: Actor, content: bytes, *, dry_run: bool) -> None:
    outcomes = actions.import_file(actor, content, dry_run=dry_run)
    wrong = [one for one in outcomes if one.errors]
    new = sum(bool(one.created) for one in outcomes)
    done = "would be imported" if dry_run else "are imported"
    st.info(f"{count(new)} of {count(len(outcomes))} rows {done}; {count(len(wrong))} are wrong.")
    if wrong:
        table(
            "Rows that are wrong",
            [Column("Row", "right"), Column("Customer"), Column("What is wrong", nowrap=False)],
            [
                (str(one.row), one.customer_code,
                 "; ".join(f"{error.field}: {error.message}" for error in one.errors))
                for one in wrong[:_MOST]
            ],
        )  # fmt: skip


show_page(
    PageName.CUSTOMERS, "Customers",
    "Find a customer; see its accounts, how it is taxed, and whom to ask.",
    _render,
)  # fmt: skip
