"""Issued documents by mail: once by themselves, again when asked, never against a wish."""

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_string
from typing import Any

import pytest

from billing.db.unit_of_work import unit_of_work
from billing.mail.service import send_queued
from billing.mail.smtp import SmtpSender
from billing.tax.model import TaxKind
from invoicing.mailing import mail_issued
from tests.support.api import Api
from tests.support.factories.parties import gstin, make_account, make_supplier
from tests.support.smtp import Letters, running_smtp

LINE = {
    "description": "Support",
    "sac": "998313",
    "unit": "day",
    "quantity": "2",
    "unit_price": "50",
}


@pytest.fixture(scope="module")
def letters() -> Iterator[Letters]:
    with running_smtp() as running:
        yield running


@pytest.fixture
def account(api: Api) -> tuple[str, str]:
    """An account and its customer, on 5 July 2026."""
    api.clock.advance(datetime(2026, 7, 5, 6, tzinfo=UTC) - api.clock.now())
    with unit_of_work(api.engine) as session:
        make_supplier(session)
        row = make_account(session, tax_kind=TaxKind.REGISTERED)
        return str(row.id), str(row.customer_id)


@pytest.fixture
def issue(api: Api, account: tuple[str, str]) -> Callable[[], str]:
    def make() -> str:
        draft = api.post("/invoices", {"account_id": account[0], "lines": [LINE]})["id"]
        return str(api.post(f"/invoices/{draft}/approve")["id"])

    return make


def add_contact(api: Api, customer: str, name: str, **what: Any) -> str:
    body = {"role": "billing", "name": name, "email": f"{name}@acme.test"} | what
    return str(api.post(f"/customers/{customer}/contacts", body)["id"])


def recipients(api: Api) -> list[str]:
    return sorted(mail["attributes"]["recipient"] for mail in api.get("/mails"))


def test_an_issued_invoice_and_its_note_go_once_to_the_billing_contacts_with_their_pdf(
    api: Api, account: tuple[str, str], issue: Callable[[], str], letters: Letters
) -> None:
    add_contact(api, account[1], "ap")
    add_contact(api, account[1], "cfo", gets_documents=False)
    add_contact(api, account[1], "ops", role="technical")
    invoice = issue()
    note = api.post(f"/invoices/{invoice}/credit-notes", {"reason": "Goodwill"})["id"]

    assert mail_issued(api.engine, api.clock) == (2, 0)
    assert mail_issued(api.engine, api.clock) == (0, 0)
    assert recipients(api) == ["ap@acme.test", "ap@acme.test"]

    letters.received.clear()
    assert send_queued(api.engine, api.clock, SmtpSender(letters.settings)) == (2, 0)
    first = message_from_string(letters.received[0])
    assert first["Subject"] == "Tax Invoice INV-2627-000001 from OTPless"
    text, file = first.get_payload()  # type: ignore[misc]
    assert "INV-2627-000001" in text.get_payload()  # type: ignore[union-attr]
    assert file.get_filename() == "INV-2627-000001.pdf"  # type: ignore[union-attr]
    sent = file.get_payload(decode=True)  # type: ignore[union-attr]
    shown = api.call("GET", f"/api/v1/invoices/{invoice}/pdf").content
    assert hashlib.sha256(sent).digest() == hashlib.sha256(shown).digest()  # type: ignore[arg-type]
    second = message_from_string(letters.received[1])
    assert second["Subject"] == "Credit Note CN-2627-000001 from OTPless"
    assert len(api.get(f"/documents/{note}/mailings")) == 1


def test_what_was_mailed_is_corrected_by_a_note_alone(
    api: Api, account: tuple[str, str], issue: Callable[[], str]
) -> None:
    add_contact(api, account[1], "ap")
    invoice = issue()
    mail_issued(api.engine, api.clock)

    error = api.refused("POST", f"/invoices/{invoice}/void", 409, json={"reason": "Wrong"})

    assert error["code"] == "sent"


def test_a_customer_who_does_not_want_mail_gets_it_only_when_somebody_asks(
    api: Api, account: tuple[str, str], issue: Callable[[], str]
) -> None:
    contact = add_contact(api, account[1], "ap")
    answer = api.call("PATCH", f"/api/v1/customers/{account[1]}", json={"documents_by_mail": False})
    assert answer.json()["data"]["attributes"]["documents_by_mail"] is False
    invoice = issue()
    assert mail_issued(api.engine, api.clock) == (0, 0)

    headers = {"Idempotency-Key": "again-1"}
    first = api.post(f"/invoices/{invoice}/mailings", headers=headers)
    assert api.post(f"/invoices/{invoice}/mailings", headers=headers)["id"] == first["id"]
    to = {"recipients": ["auditor@acme.test"]}
    api.post(f"/invoices/{invoice}/mailings", to)
    assert recipients(api) == ["ap@acme.test", "auditor@acme.test"]
    assert [one["attributes"]["kind"] for one in api.get(f"/invoices/{invoice}/mailings")] == [
        "resent",
        "resent",
    ]

    path = f"/api/v1/customers/{account[1]}/contacts/{contact}/documents"
    assert api.call("PUT", path, json={"gets_documents": False}).status_code == 200
    error = api.refused("POST", f"/invoices/{invoice}/mailings", 409)
    assert error["code"] == "no_recipient"


def test_old_documents_and_those_without_their_irn_stay(
    api: Api, account: tuple[str, str], issue: Callable[[], str]
) -> None:
    add_contact(api, account[1], "ap")
    issue()
    api.clock.advance(timedelta(days=8))
    turnover = {"pan": gstin("29")[2:12], "financial_year": "2025-26", "crore": "12"}
    api.post("/turnovers", turnover)
    waiting = issue()

    assert mail_issued(api.engine, api.clock) == (0, 0)
    assert api.refused("POST", f"/invoices/{waiting}/mailings", 409)["code"] == "irn_pending"
