"""Lists as files: whole, exact, confined, and nothing in them runs."""

import csv
import io
import re
import zipfile
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from sqlalchemy import text

from billing.access.roles import Role
from billing.customers.tables import Customer
from billing.db.unit_of_work import unit_of_work
from billing.exports.files import FileFormat, write_xlsx
from billing.exports.lists import LISTS
from tests.support.api import Api
from tests.support.bodies import (
    create_items,
    create_plan,
    open_account,
    platform_charge,
    sms_charge,
    tax_profile,
)
from tests.support.counter import Counter

EVIL = '=HYPERLINK("http://evil.test";"pay")'
XLSX = FileFormat.XLSX.media_type


def file_of(counter: Counter, name: str, **arguments: Any) -> bytes:
    answer = counter.api.call("GET", f"/api/v1/exports/{name}", **arguments)
    assert answer.status_code == 200, answer.text
    return answer.content


def csv_rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))


def sheet_cells(content: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(content)) as book:
        assert not [one for one in book.namelist() if "external" in one.lower()]
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in sheet
    assert "hyperlink" not in re.sub(r"<t[^>]*>.*?</t>", "", sheet, flags=re.DOTALL).lower()
    tree = ET.fromstring(sheet)
    cells = tree.iter("{http://schemas.openxmlformats.org/spreadsheetml/2006/main}c")
    return ["".join(one.itertext()) for one in cells]


def evil_debt(counter: Counter) -> Any:
    debt = counter.invoice(1_180_050)
    with unit_of_work(counter.api.engine) as session:
        session.get_one(Customer, debt.customer_id).name = EVIL
    return debt


def test_a_name_that_begins_like_a_formula_is_text_in_both_formats(counter: Counter) -> None:
    evil_debt(counter)

    (row,) = csv_rows(file_of(counter, "invoices"))
    assert row["customer_name"] == f"'{EVIL}"
    assert (row["total"], row["outstanding"], row["status"]) == ("11800.50", "11800.50", "due")
    cells = sheet_cells(file_of(counter, "invoices", params={"format": "xlsx"}))
    assert EVIL in cells
    assert [cell for cell in cells if cell.startswith("11800.5")]


def test_what_accept_names_is_given_and_the_parameter_outweighs_it(counter: Counter) -> None:
    sheet = counter.api.call("GET", "/api/v1/exports/payments", headers={"accept": XLSX})
    assert sheet.headers["content-type"] == XLSX
    assert sheet.headers["content-disposition"] == 'attachment; filename="payments.xlsx"'
    both = counter.api.call(
        "GET", "/api/v1/exports/payments", headers={"accept": XLSX}, params={"format": "csv"}
    )
    assert both.headers["content-type"].startswith("text/csv")


@pytest.mark.parametrize("name", sorted(LISTS))
def test_every_list_can_be_had_in_both_formats(counter: Counter, name: str) -> None:
    debt, wallet = evil_debt(counter), counter.wallet()
    counter.pay(counter.ask(invoice_id=str(debt.id)))
    counter.pay(counter.ask(wallet_id=str(wallet.id), credits_minor=100_000))
    owed = counter.invoice(20_000).id
    deducted = {"source": "tds_income_tax", "amount_minor": 200, "reference": "Q2", "rate": "2"}
    counter.api.post(f"/invoices/{owed}/settlement-lines", deducted)
    given_up = {"amount_minor": 100, "reason": "Bank charges"}
    counter.api.post(f"/invoices/{owed}/write-offs", given_up)

    rows = csv_rows(file_of(counter, name))
    assert rows or name in {"usage", "subscriptions", "einvoices"}
    header = list(rows[0]) if rows else []
    assert sheet_cells(file_of(counter, name, params={"format": "xlsx"}))[: len(header)] == header


def test_invoices_and_payments_clear_to_nothing_in_the_list_and_in_its_file(
    counter: Counter,
) -> None:
    debt, wallet = counter.invoice(11_800), counter.wallet()
    counter.pay(counter.ask(invoice_id=str(debt.id)))
    counter.pay(counter.ask(wallet_id=str(wallet.id), credits_minor=100_000))

    (invoice,) = [row["attributes"] for row in counter.api.get("/clearing/invoices?clears=true")]
    assert (invoice["total_minor"], invoice["settled_minor"]) == (11_800, 11_800)
    paid = [row["attributes"] for row in counter.api.get("/clearing/payments")]
    assert [(row["allocated_minor"], row["credited_minor"]) for row in paid] == [
        (0, "118000"),
        (11_800, "0"),
    ]
    assert {row["remainder_minor"] for row in paid} == {"0"}
    assert counter.api.get("/clearing/payments?clears=false") == []
    assert len(counter.api.get(f"/clearing/payments?customer_id={debt.customer_id}")) == 1
    counter.api.refused("GET", "/clearing/invoices", 403, key=debt.key)
    with counter.api.engine.begin() as connection:
        connection.execute(text("ALTER TABLE billing.invoice_allocations DISABLE TRIGGER ALL"))
        connection.execute(text("UPDATE billing.invoice_allocations SET amount_minor = 1"))

    (wrong,) = csv_rows(file_of(counter, "invoice-clearing"))
    assert (wrong["settled"], wrong["outstanding"], wrong["remainder"]) == (
        "0.01",
        "0.00",
        "117.99",
    )
    (named,) = counter.api.get("/clearing/invoices?clears=false")
    assert named["relationships"]["customer"]["id"] == str(debt.customer_id)


def test_a_subscription_and_its_customer_are_listed_with_what_taxes_them(
    api: Api, new_customer: Callable[[str], str]
) -> None:
    create_items(api)
    create_plan(api, "small", platform_charge("310"), sms_charge())
    customer = new_customer("acme")
    api.post(f"/customers/{customer}/tax-profiles", tax_profile())
    account = open_account(api, customer, "acme-main", billing_mode="postpaid")
    body = {"account_id": account["id"], "plan_code": "small", "starts_on": "2026-05-01"}
    api.post("/subscriptions", body)

    found = {
        name: csv_rows(api.call("GET", f"/api/v1/exports/{name}").content)
        for name in ("subscriptions", "customers")
    }

    (subscription,), (owner, _) = found["subscriptions"], found["customers"]
    said = ("account", "plan", "version", "quantity", "phase", "starts_on", "ends_on")
    assert [subscription[name] for name in said] == [
        *("acme-main", "small", "1", "1", "active", "2026-05-01", ""),
    ]
    assert (owner["code"], owner["account"], owner["tax_kind"]) == (
        *("acme", "acme-main", "registered"),
    )
    assert owner["gstin"] == tax_profile()["gstin"]


def test_a_customer_has_its_own_rows_and_nobody_elses(counter: Counter) -> None:
    mine, other = counter.invoice(100), counter.invoice(200)
    for debt, total in ((mine, "1.00"), (other, "2.00")):
        (row,) = csv_rows(file_of(counter, "invoices", key=debt.key))
        assert row["total"] == total
        (line,) = csv_rows(file_of(counter, "invoice-lines", key=debt.key))
        assert line["amount"] == total


def test_days_and_account_narrow_a_list_down(counter: Counter) -> None:
    counter.invoice(100)
    for days, found in (
        ({"from_day": "2026-07-01", "to_day": "2026-07-02"}, 1),
        ({"from_day": "2026-07-02"}, 0),
        ({"to_day": "2026-07-01"}, 0),
        ({"account_id": "019aa000-0000-7000-8000-000000000002"}, 0),
    ):
        assert len(csv_rows(file_of(counter, "invoices", params=days))) == found


def test_who_may_not_see_a_list_cannot_export_it(counter: Counter) -> None:
    sender = counter.api.call("GET", "/api/v1/exports/ledger", role=Role.SENDER)
    assert sender.status_code == 403
    assert counter.api.call("GET", "/api/v1/exports/secrets").status_code == 404


def test_digits_that_a_sheet_would_lose_are_kept_as_text() -> None:
    book = io.BytesIO()
    write_xlsx(book, [("x", ["n"], [[10**15 + 1], [123456789012345]])])
    cells = sheet_cells(book.getvalue())
    assert cells == ["n", "1000000000000001", "123456789012345"]
