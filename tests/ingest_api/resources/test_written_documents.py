"""Documents that people write, two persons, and voids: through HTTP, as finance uses them."""

import io
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pypdf
import pytest
from sqlalchemy import update

from billing.access.actor import Actor
from billing.access.roles import Role
from billing.clock import ManualClock
from billing.commands import Context
from billing.customers.tables import TaxProfile
from billing.db.unit_of_work import unit_of_work
from billing.errors import BillingError
from billing.invoices.lifecycle import STATE_TABLE, Action
from billing.invoices.repository import load_invoice
from billing.invoices.settlement import SettlementSource, outstanding_minor, settle
from billing.invoices.tables import Invoice, InvoiceStatus
from billing.invoices.voiding import VoidInvoice, void_invoice
from billing.tax.model import TaxKind
from invoicing.assemble import draft_invoices
from invoicing.document import InvoiceDocument
from invoicing.einvoice.payload import payload_of
from invoicing.einvoice.shape import problems
from invoicing.issue import ApproveInvoice, approve_invoice
from tests.support.api import Api
from tests.support.factories.parties import gstin, make_account, make_supplier
from tests.support.marts import create_marts, make_rated_line, make_rating_run

JUNE = date(2026, 6, 1)
OURS = gstin("29")
JULY_RETURN = f"/gstr1?gstin={OURS}&month=2026-07"
SUPPORT = {"description": "Integration support", "sac": "998313", "unit": "day"}


@pytest.fixture
def account(api: Api) -> str:
    """A postpaid account in our State, on 5 July 2026."""
    api.clock.advance(datetime(2026, 7, 5, 6, tzinfo=UTC) - api.clock.now())
    with unit_of_work(api.engine) as session:
        create_marts(session)
        make_supplier(session)
        return str(make_account(session).id)


@pytest.fixture
def write(api: Api, account: str) -> Callable[..., str]:
    """Writes a draft of one line of ₹100.00 and returns its id."""

    def make(**what: Any) -> str:
        line = SUPPORT | {"quantity": "2", "unit_price": "50"}
        return str(api.post("/invoices", {"account_id": account, "lines": [line]} | what)["id"])

    return make


def attributes(api: Api, invoice_id: str) -> Any:
    return api.get(f"/invoices/{invoice_id}")["attributes"]


def text_of(api: Api, path: str) -> str:
    response = api.call("GET", f"/api/v1{path}/pdf")
    assert response.status_code == 200, response.text
    pages = pypdf.PdfReader(io.BytesIO(response.content)).pages
    return " ".join(" ".join(page.extract_text() for page in pages).split())


def test_a_custom_invoice_is_taxed_numbered_and_printed_like_any_other(
    api: Api, write: Callable[..., str]
) -> None:
    draft = write(remark="As agreed <b>in June</b>")
    issued = api.post(f"/invoices/{draft}/approve")["attributes"]

    assert (issued["number"], issued["origin"], issued["status"]) == (
        "INV-2627-000001",
        "custom",
        "due",
    )
    assert (issued["taxable_minor"], issued["tax_minor"]) == (10_000, 1_800)
    printed = text_of(api, f"/invoices/{draft}")
    assert "Integration support" in printed
    assert "As agreed <b>in June</b>" in printed


def test_totals_come_to_whole_rupees_where_the_registration_wants_that(
    api: Api, write: Callable[..., str]
) -> None:
    before = write(lines=[SUPPORT | {"quantity": "1", "unit_price": "100.30"}])
    api.call("PATCH", f"/api/v1/supplier-registrations/{OURS}", json={"round_off": True})
    later = write(lines=[SUPPORT | {"quantity": "1", "unit_price": "200.70"}])

    exact = {"expected_total_minor": 11_836}
    assert api.refused("POST", f"/invoices/{before}/approve", 409, json=exact)["details"] == (
        exact | {"total_minor": 11_800}
    )
    up, down = (api.post(f"/invoices/{one}/approve")["attributes"] for one in (later, before))
    assert (up["round_off_minor"], up["total_minor"]) == (18, 23_700)
    assert (down["round_off_minor"], down["total_minor"]) == (-36, 11_800)
    assert "Round off -0.36 Total ₹118.00" in text_of(api, f"/invoices/{before}")
    with unit_of_work(api.engine) as session:
        snapshot = session.get_one(Invoice, UUID(before)).snapshot or {}
    payload = payload_of(InvoiceDocument.from_dict(snapshot), "B2B")
    assert problems(payload) == []
    assert [payload["ValDtls"][name] for name in ("AssVal", "RndOffAmt", "TotInvVal")] == [
        *(Decimal("100.30"), Decimal("-0.36"), Decimal(118)),
    ]

    part = {"line_ref": down["lines"][0]["line_ref"], "amount_minor": 5_000}
    some = {"reason": "Half of it", "lines": [part]}
    first = api.post(f"/invoices/{before}/credit-notes", some)["attributes"]
    rest = api.post(f"/invoices/{before}/credit-notes", {"reason": "The rest"})["attributes"]
    assert [first["round_off_minor"], rest["round_off_minor"]] == [0, -36]
    assert attributes(api, before)["status"] == "paid"
    path = f"/gstr1/reconciliation?gstin={OURS}&month=2026-07"
    assert api.get(path, role=Role.FINANCE_ADMIN)["attributes"]["differences"] == []


def test_a_branch_of_ours_abroad_is_charged_igst_once_a_person_has_looked(api: Api) -> None:
    api.clock.advance(datetime(2026, 7, 5, 6, tzinfo=UTC) - api.clock.now())
    with unit_of_work(api.engine) as session:
        make_supplier(session)
        owner = make_account(session, tax_kind=TaxKind.OVERSEAS, state_code=None, country="US")
        session.execute(update(TaxProfile).values(own_establishment=True))
    line = SUPPORT | {"quantity": "2", "unit_price": "50"}
    draft = api.post("/invoices", {"account_id": str(owner.id), "lines": [line]})["id"]

    refused = api.refused("POST", f"/invoices/{draft}/approve", 409)
    assert "own branch abroad is no export" in refused["message"]
    issued = api.post(f"/invoices/{draft}/approve", {"tax_reviewed": True})["attributes"]

    assert [tax["head"] for tax in issued["lines"][0]["taxes"]] == ["IGST"]
    assert issued["tax_minor"] == 1_800


def test_a_bill_of_supply_bears_no_tax_and_is_in_table_8(
    api: Api, write: Callable[..., str]
) -> None:
    bill = write(document_type="bill_of_supply")
    issued = api.post(f"/invoices/{bill}/approve")["attributes"]

    assert (issued["number"], issued["tax_minor"]) == ("BOS-2627-000001", 0)
    printed = text_of(api, f"/invoices/{bill}")
    assert "Bill of Supply" in printed
    assert "CGST" not in printed
    found = api.call("GET", f"/api/v1{JULY_RETURN}", role=Role.FINANCE_ADMIN).json()
    assert [row["nil_amt"] for row in found["nil"]["inv"]] == [100.0]
    assert "b2b" not in found


def test_a_debit_note_follows_its_invoice_into_the_return(
    api: Api, write: Callable[..., str]
) -> None:
    invoice = write()
    api.post(f"/invoices/{invoice}/approve")
    (line,) = attributes(api, invoice)["lines"]
    body = {
        "reason": "A day was left out",
        "lines": [{"line_ref": line["line_ref"], "amount_minor": 5_001}],
    }

    note = str(api.post(f"/invoices/{invoice}/debit-notes", body)["id"])
    issued = api.post(f"/invoices/{note}/approve")["attributes"]

    assert (issued["number"], issued["status"]) == ("DN-2627-000001", "due")
    assert issued["tax_minor"] == 2 * 450
    printed = text_of(api, f"/invoices/{note}")
    for particular in ["Debit Note", "Against INV-2627-000001 of", "A day was left out"]:
        assert particular in printed
    found = api.call("GET", f"/api/v1{JULY_RETURN}", role=Role.FINANCE_ADMIN).json()
    [[entry]] = [customer["nt"] for customer in found["cdnr"]]
    assert (entry["ntty"], entry["nt_num"]) == ("D", "DN-2627-000001")
    differences = api.get(
        f"/gstr1/reconciliation?gstin={OURS}&month=2026-07", role=Role.FINANCE_ADMIN
    )
    assert differences["attributes"]["differences"] == []
    refused = api.refused("POST", f"/invoices/{note}/debit-notes", 409, json=body)
    assert refused["code"] == "not_an_invoice"


def test_a_proforma_says_what_it_is_not_and_leaves_the_draft(
    api: Api, write: Callable[..., str]
) -> None:
    draft = write()
    paper = api.post(f"/invoices/{draft}/proforma")

    assert paper["attributes"]["number"] == "PF-2627-000001"
    printed = text_of(api, f"/documents/{paper['id']}")
    assert "Proforma Invoice" in printed
    assert "THIS IS NOT A TAX INVOICE" in printed
    assert attributes(api, draft)["status"] == "draft"
    found = api.call("GET", f"/api/v1{JULY_RETURN}", role=Role.FINANCE_ADMIN).json()
    assert "doc_issue" not in found


def test_a_charge_by_hand_joins_the_usage_of_its_month(api: Api, account: str) -> None:
    charge = SUPPORT | {"quantity": "1", "unit_price": "7.5"}
    body = charge | {"account_id": account, "invoice_month": "2026-06-01"}
    made = api.post("/custom-charges", body)
    gone = api.post("/custom-charges", body)
    api.post(f"/custom-charges/{gone['id']}/cancel")
    with unit_of_work(api.engine) as session:
        owner = session.get_one(type(make_account(session)), UUID(account))
        run = make_rating_run(session, JUNE)
        make_rated_line(session, run.id, owner, amount_minor=10_000)
        (draft,) = draft_invoices(session, JUNE, run.id, api.clock).created
        again = draft_invoices(session, JUNE, run.id, api.clock)
    assert again.unchanged == [draft]

    issued = api.post(f"/invoices/{draft}/approve")["attributes"]

    assert [line["amount_minor"] for line in issued["lines"]] == [10_000, 750]
    late = api.refused("POST", f"/custom-charges/{made['id']}/cancel", 409)
    assert late["code"] == "already_billed"
    assert len(api.get(f"/custom-charges?account_id={account}")) == 2


def test_above_the_limit_two_persons_approve_the_same_lines(
    api: Api, write: Callable[..., str]
) -> None:
    api.call(
        "PATCH",
        f"/api/v1/supplier-registrations/{OURS}",
        json={"second_approval_above_minor": 11_799},
    )
    draft = write()

    first = api.post(f"/invoices/{draft}/approve", role=Role.FINANCE_ADMIN)["attributes"]
    again = api.refused("POST", f"/invoices/{draft}/approve", 409, role=Role.FINANCE_ADMIN)
    second = api.post(f"/invoices/{draft}/approve", role=Role.SUPER_ADMIN)["attributes"]

    assert (first["status"], first["review_state"], first["number"]) == ("draft", "in_review", None)
    assert "second person" in first["review_note"]
    assert again["code"] == "second_person"
    assert second["number"] == "INV-2627-000001"
    small = write(lines=[SUPPORT | {"quantity": "1", "unit_price": "1"}])
    assert api.post(f"/invoices/{small}/approve", role=Role.FINANCE_ADMIN)["attributes"]["number"]


def test_a_void_burns_the_number_and_the_usage_is_drafted_again(api: Api, account: str) -> None:
    with unit_of_work(api.engine) as session:
        owner = session.get_one(type(make_account(session)), UUID(account))
        run = make_rating_run(session, JUNE)
        make_rated_line(session, run.id, owner, amount_minor=10_000)
        (draft,) = draft_invoices(session, JUNE, run.id, api.clock).created
    api.post(f"/invoices/{draft}/approve")

    void = api.post(f"/invoices/{draft}/void", {"reason": "Wrong account"})["attributes"]

    assert (void["status"], void["number"]) == ("void", "INV-2627-000001")
    assert api.refused("POST", f"/invoices/{draft}/void", 409, json={"reason": "Again"})
    with unit_of_work(api.engine) as session:
        (second,) = draft_invoices(session, JUNE, run.id, api.clock).created
    assert api.post(f"/invoices/{second}/approve")["attributes"]["number"] == "INV-2627-000002"
    found = api.call("GET", f"/api/v1{JULY_RETURN}", role=Role.FINANCE_ADMIN).json()
    [[row]] = [nature["docs"] for nature in found["doc_issue"]["doc_det"]]
    assert (row["totnum"], row["cancel"]) == (2, 1)


def test_what_was_sent_or_corrected_stays(api: Api, write: Callable[..., str]) -> None:
    sent, corrected = write(), write()
    for invoice in (sent, corrected):
        api.post(f"/invoices/{invoice}/approve")
    api.post(f"/invoices/{sent}/deliveries", {"recipient": "accounts@acme.example"})
    api.post(f"/invoices/{corrected}/credit-notes", {"reason": "Not done"})

    void = {"json": {"reason": "Not wanted"}}
    assert api.refused("POST", f"/invoices/{sent}/void", 409, **void)["code"] == "sent"
    refused = api.refused("POST", f"/invoices/{corrected}/void", 409, **void)
    assert refused["code"] == "not_allowed_in_state"  # the note has paid it


def test_a_draft_by_hand_is_discarded(api: Api, write: Callable[..., str]) -> None:
    draft = write()
    key = {"headers": {"Idempotency-Key": "once"}}
    for _ in range(2):
        assert api.call("POST", f"/api/v1/invoices/{draft}/discard", **key).status_code == 200
    assert api.refused("GET", f"/invoices/{draft}", 404)


def test_finance_brands_documents_by_data_and_issued_ones_keep_their_look(
    api: Api, write: Callable[..., str]
) -> None:
    old, new = write(), write()
    api.post(f"/invoices/{old}/approve")
    pixel = (
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5"
        "ErkJggg=="
    )
    look = {
        "supplier_gstin": OURS,
        "accent_colour": "#0B6E4F",
        "logo_base64": pixel,
        "footer": "Registered office: 1 Residency Road",
        "terms": ["Pay within 15 days {{ 7*7 }} <b>"],
        "hidden_columns": ["quantity", "unit_price"],
        "dynamic_qr": True,
    }
    preview = api.call("POST", f"/api/v1/document-templates/preview?invoice_id={new}", json=look)
    assert preview.content.startswith(b"%PDF")
    assert api.get(f"/document-templates?gstin={OURS}") == []

    saved = api.post("/document-templates", look)["attributes"]
    api.post(f"/invoices/{new}/approve")

    assert (saved["version"], saved["content"]["dynamic_qr"]) == (1, True)
    printed = text_of(api, f"/invoices/{new}")
    assert "Registered office: 1 Residency Road" in printed
    assert "Pay within 15 days {{ 7*7 }} <b>" in printed
    assert "Unit price" not in printed
    assert "Unit price" in text_of(api, f"/invoices/{old}")
    wrong = {"json": {"supplier_gstin": OURS, "hidden_columns": ["sac"]}}
    assert api.refused("POST", "/document-templates", 400, **wrong)
    broken = {"json": look | {"logo_base64": "PHN2Zz4="}}
    assert api.refused("POST", "/document-templates", 400, **broken)["code"] == "logo"


def test_a_statement_adds_up_from_its_opening_balance(
    api: Api, account: str, write: Callable[..., str]
) -> None:
    first, second = write(), write()
    for invoice in (first, second):
        api.post(f"/invoices/{invoice}/approve")
    api.post(f"/invoices/{first}/credit-notes", {"reason": "Not done"})

    july = f"/accounts/{account}/statement?start=2026-07-01&end=2026-08-01"
    found = api.get(july)["attributes"]
    later = api.get(july.replace("07-01", "07-06"))["attributes"]

    assert (found["opening_minor"], found["closing_minor"]) == (0, 11_800)
    assert [entry["amount_minor"] for entry in found["entries"]] == [11_800, 11_800, -11_800]
    assert (later["opening_minor"], later["entries"]) == (11_800, [])
    response = api.call("GET", f"/api/v1{july.replace('statement?', 'statement/pdf?')}")
    printed = pypdf.PdfReader(io.BytesIO(response.content)).pages[0].extract_text()
    assert "Statement of account" in printed
    assert "INV-2627-000002" in printed


def test_many_at_once_end_in_one_outcome_of_the_state_table(
    api: Api, write: Callable[..., str], clock: ManualClock
) -> None:
    """50 who approve, void and pay one draft at the same moment."""
    draft = UUID(write())

    def pay(context: Context) -> None:
        invoice = load_invoice(context.session, draft, lock=True)
        whole = outstanding_minor(invoice)
        settle(context.session, invoice, SettlementSource.PAYMENT, whole, clock.now())

    def attempt(place: int) -> tuple[Action, str]:
        action = (Action.APPROVE, Action.VOID, Action.SETTLE)[place % 3]
        try:
            with unit_of_work(api.engine) as session:
                context = Context(session, Actor(f"person-{place}", Role.SUPER_ADMIN), clock)
                if action is Action.APPROVE:
                    approve_invoice(context, ApproveInvoice(invoice_id=draft))
                elif action is Action.VOID:
                    void_invoice(context, VoidInvoice(invoice_id=draft, reason="At once"))
                else:
                    pay(context)
        except BillingError as error:
            return action, error.code
        return action, "done"

    with ThreadPoolExecutor(12) as pool:
        outcomes = Counter(pool.map(attempt, range(50)))

    done = {action for action, outcome in outcomes if outcome == "done"}
    with unit_of_work(api.engine) as session:
        final = session.get_one(Invoice, draft)
        status, settled, total = final.status, final.settled_minor, final.total_minor
    assert outcomes[Action.APPROVE, "done"] == 1
    assert outcomes[Action.VOID, "done"] + outcomes[Action.SETTLE, "done"] <= 1
    assert status in STATE_TABLE[InvoiceStatus.DUE].get(Action.VOID, frozenset()) | {
        InvoiceStatus.DUE,
        InvoiceStatus.PAID,
    }
    assert (status is InvoiceStatus.VOID) == (Action.VOID in done)
    assert (status is InvoiceStatus.PAID) == (Action.SETTLE in done)
    assert settled == (total if status is InvoiceStatus.PAID else 0)
