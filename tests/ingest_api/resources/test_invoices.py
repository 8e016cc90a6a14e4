"""Invoices over HTTP: review, approval, the PDF, and who sees what."""

import csv
import io
from collections.abc import Callable
from datetime import date
from uuid import UUID

import pytest
from sqlalchemy import update

from billing.access.actor import SYSTEM
from billing.access.roles import Role
from billing.commands import Context
from billing.customers.tables import BillingMode
from billing.db.unit_of_work import unit_of_work
from billing.invoices.tables import SupplierRegistration
from billing.tax import rules
from billing.tax.model import TaxKind
from billing.wallets.service import CreateWallet, create_wallet
from invoicing.assemble import draft_invoices
from tests.support.api import Api
from tests.support.factories.parties import gstin, make_account, make_supplier
from tests.support.marts import create_marts, make_rated_line, make_rating_run

JUNE = date(2026, 6, 1)


@pytest.fixture
def new_draft(api: Api) -> Callable[[], tuple[str, UUID]]:
    """Makes a draft of ₹118.00 and returns its id and its customer's."""
    with unit_of_work(api.engine) as session:
        create_marts(session)
        make_supplier(session)

    def make() -> tuple[str, UUID]:
        with unit_of_work(api.engine) as session:
            account = make_account(session)
            run = make_rating_run(session, JUNE)
            make_rated_line(session, run.id, account, amount_minor=10_000)
            (draft,) = draft_invoices(session, JUNE, run.id, api.clock).created
            return str(draft), account.customer_id

    return make


def test_a_draft_is_submitted_approved_and_read(
    api: Api, new_draft: Callable[[], tuple[str, UUID]]
) -> None:
    draft, _ = new_draft()
    api.post(f"/invoices/{draft}/submit", role=Role.FINANCE_ADMIN)
    approved = api.post(
        f"/invoices/{draft}/approve", {"issue_date": "2026-07-03"}, role=Role.FINANCE_ADMIN
    )

    attributes = api.get(f"/invoices/{draft}")["attributes"]
    assert attributes == approved["attributes"]
    assert attributes["number"] == "INV-2627-000001"
    assert attributes["status"] == "due"
    assert attributes["due_date"] == "2026-07-18"
    assert (attributes["taxable_minor"], attributes["tax_minor"]) == (10_000, 1_800)
    (line,) = attributes["lines"]
    assert line["unit_price"] == "0.12"
    assert [tax["head"] for tax in line["taxes"]] == ["CGST", "SGST"]


def test_a_rejected_draft_says_why_to_whoever_approves_it(
    api: Api, new_draft: Callable[[], tuple[str, UUID]]
) -> None:
    draft, _ = new_draft()
    api.post(f"/invoices/{draft}/reject", {"reason": "The discount is missing."})

    error = api.refused("POST", f"/invoices/{draft}/approve", 409)

    assert error["code"] == "review_state"
    assert "The discount is missing." in error["message"]


def test_an_issued_invoice_cannot_be_approved_again(
    api: Api, new_draft: Callable[[], tuple[str, UUID]]
) -> None:
    draft, _ = new_draft()
    api.post(f"/invoices/{draft}/approve")

    assert api.refused("POST", f"/invoices/{draft}/approve", 409)["code"] == "already_issued"


def test_several_drafts_are_approved_and_one_that_cannot_be_holds_up_none(
    api: Api,
) -> None:
    with unit_of_work(api.engine) as session:
        create_marts(session)
        make_supplier(session)
        run = make_rating_run(session, JUNE)
        for _ in range(3):
            make_rated_line(session, run.id, make_account(session), amount_minor=10_000)
        made = draft_invoices(session, JUNE, run.id, api.clock).created
    first, rejected, last = map(str, made)
    api.post(f"/invoices/{rejected}/reject", {"reason": "A discount is missing"})
    body = {"invoice_ids": [first, rejected, last]}

    answers = api.post("/invoices/approvals", body, headers={"Idempotency-Key": "june"})
    again = api.post("/invoices/approvals", body, headers={"Idempotency-Key": "june"})

    assert [one["attributes"]["number"] for one in answers] == [
        "INV-2627-000001",
        None,
        "INV-2627-000002",
    ]
    assert answers[1]["attributes"]["code"] == "review_state"
    assert again == answers


@pytest.mark.parametrize(
    ("mode", "advice"),
    [
        (BillingMode.POSTPAID, "12 % applies, but 18 % to what was paid before that day."),
        (BillingMode.PREPAID, "18 % still applies: issue it as of 30 Jun 2026."),
    ],
)
def test_a_rate_that_changed_between_supply_and_invoice_is_put_to_a_person(
    api: Api, monkeypatch: pytest.MonkeyPatch, mode: BillingMode, advice: str
) -> None:
    rows = rules._rows("rates.json")["rates"]
    lower = [row | {"from": "2026-07-01", "rate": "12"} for row in rows]
    files = rules._rows
    monkeypatch.setattr(
        rules,
        "_rows",
        lambda name: {"rates": rows + lower} if name == "rates.json" else files(name),
    )
    with unit_of_work(api.engine) as session:
        create_marts(session)
        make_supplier(session)
        account = make_account(session, billing_mode=mode)
        run = make_rating_run(session, JUNE)
        make_rated_line(session, run.id, account, amount_minor=10_000)
        (draft,) = map(str, draft_invoices(session, JUNE, run.id, api.clock).created)
        if mode is BillingMode.PREPAID:
            context = Context(session, SYSTEM, api.clock)
            create_wallet(context, CreateWallet(account_id=account.id))

    refused = api.refused("POST", f"/invoices/{draft}/approve", 409)
    assert refused["code"] == "tax_not_reviewed"
    assert refused["message"].count("went from 18 % to 12 % on 1 Jul 2026") == 1
    assert advice in refused["message"]
    assert api.get(f"/invoices/{draft}")["attributes"]["invoice_by"] == "2026-07-30"
    before = {"issue_date": "2026-06-30"}
    issued = api.post(f"/invoices/{draft}/approve", before)["attributes"]
    assert (issued["tax_minor"], issued["invoice_by"]) == (1_800, None)


def test_another_total_than_the_one_that_was_read_is_issued_only_once_it_is_confirmed(
    api: Api,
) -> None:
    with unit_of_work(api.engine) as session:
        create_marts(session)
        make_supplier(session)
        account = make_account(session, state_code="27", tax_kind=TaxKind.SEZ_UNIT)
        run = make_rating_run(session, JUNE)
        make_rated_line(session, run.id, account, amount_minor=100_000)
        (draft,) = map(str, draft_invoices(session, JUNE, run.id, api.clock).created)
        session.execute(update(SupplierRegistration).values(lut_valid_to=date(2026, 6, 30)))
    bulk = {"invoice_ids": [draft], "expected_totals_minor": {draft: 100_000}}

    def approve(**body: object) -> dict[str, str]:
        path = f"/invoices/{draft}/approve"
        refused: dict[str, str] = api.refused("POST", path, 409, json=body)
        return refused

    other = approve(expected_total_minor=100_000, tax_reviewed=True)
    unseen = approve(expected_total_minor=118_000)
    (differs,) = api.post("/invoices/approvals", bulk)
    (left_out,) = api.post("/invoices/approvals", {"invoice_ids": [draft]})
    seen = {"expected_total_minor": 118_000, "tax_reviewed": True}
    issued = api.post(f"/invoices/{draft}/approve", seen)

    assert other["code"] == differs["attributes"]["code"] == "total_differs"
    assert "₹1,000.00, but issued on 2026-07-15" in other["message"]
    assert "comes to ₹1,180.00" in other["message"]
    assert unseen["code"] == left_out["attributes"]["code"] == "tax_not_reviewed"
    assert "LUT AD290326000001A does not cover 2026-07-15" in left_out["attributes"]["message"]
    assert issued["attributes"]["total_minor"] == 118_000


def test_a_credit_note_takes_back_and_is_read(
    api: Api, new_draft: Callable[[], tuple[str, UUID]]
) -> None:
    draft, customer = new_draft()
    invoice = api.post(f"/invoices/{draft}/approve")
    line_ref = invoice["attributes"]["lines"][0]["line_ref"]
    body = {"reason": "Late receipts", "lines": [{"line_ref": line_ref, "amount_minor": 5_000}]}

    note = api.post(f"/invoices/{draft}/credit-notes", body, role=Role.FINANCE_ADMIN)

    assert note["attributes"]["number"] == "CN-2627-000001"
    assert (note["attributes"]["taxable_minor"], note["attributes"]["tax_minor"]) == (5_000, 900)
    assert api.get(f"/documents?invoice_id={draft}") == [note]
    (settled,) = api.get(f"/invoices/{draft}/settlement-lines")
    assert settled["attributes"]["source"] == "credit_note"
    pdf = api.call("GET", f"/api/v1/documents/{note['id']}/pdf")
    assert pdf.content.startswith(b"%PDF")
    key = api.key_for(Role.CUSTOMER, str(customer))
    assert api.get(f"/documents/{note['id']}", key=key) == note
    for name, taxable, tax, corrects in (
        ("invoices", "100.00", "9.00", ""),
        ("documents", "50.00", "4.50", "INV-2627-000001"),
    ):
        (row,) = csv.DictReader(
            io.StringIO(api.call("GET", f"/api/v1/exports/{name}").content.decode("utf-8-sig"))
        )
        assert (row["taxable"], row["taxable_inr"], row["corrects"]) == (taxable, taxable, corrects)
        assert (row["cgst"], row["sgst_utgst"], row["igst"]) == (tax, tax, "0.00")
        assert row["place_of_supply"] == "29-Karnataka"
        assert row["recipient_gstin"] == gstin("29", "AAACM5678K")
    api.refused("GET", f"/documents/{note['id']}", 404, role=Role.CUSTOMER)


def test_the_pdf_of_a_draft_is_marked_and_that_of_an_invoice_keeps_its_bytes(
    api: Api, new_draft: Callable[[], tuple[str, UUID]]
) -> None:
    draft, _ = new_draft()
    path = f"/api/v1/invoices/{draft}/pdf"
    before = api.call("GET", path)
    api.post(f"/invoices/{draft}/approve")
    first, second = api.call("GET", path), api.call("GET", path)

    assert before.headers["content-type"] == "application/pdf"
    assert 'filename="draft.pdf"' in before.headers["content-disposition"]
    assert 'filename="INV-2627-000001.pdf"' in first.headers["content-disposition"]
    assert first.content == second.content != before.content


def test_a_customer_sees_its_own_issued_invoices_only(
    api: Api, new_draft: Callable[[], tuple[str, UUID]]
) -> None:
    mine, me = new_draft()
    key = api.key_for(Role.CUSTOMER, str(me))
    assert api.get("/invoices", key=key) == []
    api.post(f"/invoices/{mine}/approve")
    other, _ = new_draft()
    api.post(f"/invoices/{other}/approve")

    assert [row["id"] for row in api.get("/invoices", key=key)] == [mine]
    for path in (f"/invoices/{other}", f"/invoices/{other}/pdf"):
        api.refused("GET", path, 404, key=key)
    api.refused("POST", f"/invoices/{mine}/submit", 403, key=key)


@pytest.mark.parametrize("day", ["2026-06-01", "2026-13-01", "tomorrow", 20260703])
def test_a_wrong_issue_date_changes_nothing(
    api: Api, new_draft: Callable[[], tuple[str, UUID]], day: object
) -> None:
    draft, _ = new_draft()

    api.refused("POST", f"/invoices/{draft}/approve", 400, json={"issue_date": day})

    assert api.get(f"/invoices/{draft}")["attributes"]["status"] == "draft"


def test_a_registration_is_checked_and_listed(api: Api) -> None:
    body = {
        "gstin": gstin("29"),
        "legal_name": "OTPless Technologies Private Limited",
        "trade_name": "OTPless",
        "address_line": "1 Central Street",
        "city": "Bengaluru",
        "postal_code": "560001",
        "bank_details": {
            "account_name": "OTPless",
            "account_number": "50200012345678",
            "bank_name": "HDFC Bank",
        },
    }
    wrong = body | {"gstin": gstin("29")[:-1] + "0"}
    error = api.refused("POST", "/supplier-registrations", 400, json=wrong)
    assert error["fields"][0]["field"] == "gstin"

    api.post("/supplier-registrations", body)

    (row,) = api.get("/supplier-registrations")
    assert row["attributes"]["state_code"] == "29"
    assert row["attributes"]["bank_details"]["ifsc"] == ""
