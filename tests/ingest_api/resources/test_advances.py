"""Advances adjusted: which vouchers an invoice uses up and a refund gives back, and for good."""

import io
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import pypdf
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from billing.customers.tables import Account, BillingMode
from billing.db.unit_of_work import unit_of_work
from billing.fx.tables import FxRate
from billing.invoices.tables import Invoice
from billing.tax.model import TaxKind
from billing.wallets.allocations import Demand, Supply, each_in_its_turn
from invoicing.assemble import draft_invoices
from invoicing.document import InvoiceDocument
from invoicing.einvoice.payload import payload_of
from invoicing.einvoice.shape import problems
from invoicing.vouchers import issue_missing_vouchers
from tests.support.api import Api
from tests.support.counter import Counter
from tests.support.factories.parties import make_account, make_supplier
from tests.support.marts import create_marts, make_rated_line, make_rating_run

JUNE = date(2026, 6, 1)


@pytest.fixture
def wallet(api: Api) -> tuple[str, str]:
    """A prepaid account and its wallet, on 25 June 2026."""
    api.clock.advance(datetime(2026, 6, 25, 6, tzinfo=UTC) - api.clock.now())
    with unit_of_work(api.engine) as session:
        create_marts(session)
        make_supplier(session)
        account = str(make_account(session, billing_mode=BillingMode.PREPAID).id)
    return account, str(api.post("/wallets", {"account_id": account})["id"])


def top_up(api: Api, wallet_id: str, credits_minor: int, tax_minor: int | None, name: str) -> None:
    body = {"amount_minor": credits_minor, "tax_minor": tax_minor, "reference": name}
    api.post(f"/wallets/{wallet_id}/top-ups", body)


def abroad(api: Api) -> str:
    """The wallet of a customer in the United States, whom we bill under our LUT."""
    with unit_of_work(api.engine) as session:
        session.add(FxRate(currency="USD", rate_date=JUNE, inr_per_unit=Decimal(83), source="test"))
        account = make_account(
            session,
            billing_mode=BillingMode.PREPAID,
            tax_kind=TaxKind.OVERSEAS,
            state_code=None,
            country="US",
            currency="USD",
        )
        account_id = str(account.id)
    return str(api.post("/wallets", {"account_id": account_id})["id"])


def invoice(api: Api, account_id: str, amount_minor: int) -> str:
    """The invoice of June, issued on 3 July."""
    api.clock.advance(datetime(2026, 7, 3, 6, tzinfo=UTC) - api.clock.now())
    with unit_of_work(api.engine) as session:
        run = make_rating_run(session, JUNE)
        account = session.get_one(Account, UUID(account_id))
        make_rated_line(session, run.id, account, amount_minor=amount_minor)
        (draft,) = draft_invoices(session, JUNE, run.id, api.clock).created
    return str(api.post(f"/invoices/{draft}/approve")["id"])


def test_an_advance_bears_the_tax_that_is_due_on_it_and_no_other(
    api: Api, wallet: tuple[str, str]
) -> None:
    _, wallet_id = wallet
    top_up(api, wallet_id, 10_000, None, "NEFT-1")
    untaxed = {"amount_minor": 10_000, "tax_minor": 0, "reference": "NEFT-2"}
    for kind in ("top-ups", "grants"):
        body = untaxed if kind == "top-ups" else untaxed | {"kind": "purchased"}
        error = api.refused("POST", f"/wallets/{wallet_id}/{kind}", 409, json=body)
        assert error["code"] == "tax_differs"
        assert "credits of INR 100.00 came INR 0.00 of tax, and INR 18.00" in error["message"]
    (lot,) = api.get(f"/wallets/{wallet_id}/lots")
    assert lot["attributes"]["tax_units"] == 18_000_000

    dollars = abroad(api)
    top_up(api, dollars, 10_000, None, "WIRE-1")
    top_up(api, dollars, 10_000, 0, "WIRE-2")
    taxed = {"amount_minor": 10_000, "tax_minor": 1_800, "reference": "WIRE-3"}
    error = api.refused("POST", f"/wallets/{dollars}/top-ups", 409, json=taxed)
    assert error["details"] == {"tax_minor": 1_800, "due_minor": 0}
    assert issue_missing_vouchers(api.engine, api.clock) == (3, 0)


def test_a_voucher_is_not_printed_with_tax_that_was_not_due(api: Api) -> None:
    dollars = abroad(api)
    top_up(api, dollars, 10_000, 1_800, "WIRE-1")  # nobody is registered yet
    with unit_of_work(api.engine) as session:
        make_supplier(session)

    with capture_logs() as logs:
        assert issue_missing_vouchers(api.engine, api.clock) == (0, 1)

    assert "came USD 18.00 of tax, and USD 0.00 is due" in logs[-1]["reason"]


def test_the_months_invoice_names_the_vouchers_it_adjusts_the_oldest_first(
    api: Api, wallet: tuple[str, str]
) -> None:
    account, wallet_id = wallet
    top_up(api, wallet_id, 10_000, 1_800, "NEFT-1")
    top_up(api, wallet_id, 5_000, 900, "NEFT-2")
    api.post(f"/wallets/{wallet_id}/grants", {"amount_minor": 700, "reference": "welcome"})
    assert issue_missing_vouchers(api.engine, api.clock) == (2, 0)

    issued = invoice(api, account, 12_000)

    rows = [row["attributes"] for row in api.get(f"/wallets/{wallet_id}/lot-allocations")]
    assert [(row["voucher"], row["credit_units"], row["tax_units"]) for row in rows] == [
        ("RV-2627-000001", 100_000_000, 18_000_000),
        ("RV-2627-000002", 20_000_000, 3_600_000),
    ]
    assert {row["used_by"] for row in rows} == {f"invoice:{issued}"}
    page = api.call("GET", f"/api/v1/invoices/{issued}/pdf")
    printed = " ".join(pypdf.PdfReader(io.BytesIO(page.content)).pages[0].extract_text().split())
    assert "Receipt voucher RV-2627-000001 25 Jun 2026 100.00 18.00 118.00" in printed
    assert "Receipt voucher RV-2627-000002 25 Jun 2026 20.00 3.60 23.60" in printed
    with unit_of_work(api.engine) as session:
        paper = InvoiceDocument.from_dict(session.get_one(Invoice, UUID(issued)).snapshot or {})
    payload = payload_of(paper, "B2B")
    assert payload["RefDtls"]["ContrDtls"] == [
        {"RecAdvRefr": "RV-2627-000001", "RecAdvDt": "25/06/2026"},
        {"RecAdvRefr": "RV-2627-000002", "RecAdvDt": "25/06/2026"},
    ]
    assert problems(payload) == []
    with pytest.raises(DBAPIError), unit_of_work(api.engine) as session:
        session.execute(text("UPDATE billing.lot_allocations SET credit_units = 1"))


def test_a_refund_names_the_voucher_of_the_payment_it_gives_back(counter: Counter) -> None:
    api = counter.api
    wallet = counter.wallet()
    payments = []
    for _ in range(2):
        payments.append(counter.ask(wallet_id=str(wallet.id), credits_minor=10_000))
        counter.pay(payments[-1])

    path = f"/payments/{payments[1]['id']}/refunds"
    api.post(path, {"amount_minor": 5_900, "reason": "Not needed"})

    issue_missing_vouchers(api.engine, api.clock)
    documents = api.get(f"/documents?customer_id={wallet.customer_id}")
    kinds = {row["attributes"]["number"]: row["id"] for row in documents}
    (row,) = [one["attributes"] for one in api.get(f"/wallets/{wallet.id}/lot-allocations")]
    assert (row["voucher"], row["used_by_kind"]) == ("RV-2627-000002", "refund")
    assert (row["credit_units"], row["tax_units"]) == (50_000_000, 9_000_000)
    page = api.call("GET", f"/api/v1/documents/{kinds['RF-2627-000001']}/pdf")
    printed = pypdf.PdfReader(io.BytesIO(page.content)).pages[0].extract_text()
    assert "RV-2627-000002" in printed
    assert "RV-2627-000001" not in printed


def test_what_no_lot_holds_stays_open_until_one_comes() -> None:
    lots = [Supply(UUID(int=1), "a", 100, 18)]
    demands = [Demand(UUID(int=8), 120, 18), Demand(UUID(int=9), 50, 0)]

    parts = each_in_its_turn(lots, demands)
    assert [(part.used_by_id.int, part.credit_units) for part in parts] == [(8, 100)]

    lots.append(Supply(UUID(int=2), "b", 60, 11))
    parts = each_in_its_turn(lots, demands)
    assert [(part.used_by_id.int, part.credit_units) for part in parts] == [(8, 20), (9, 40)]


def test_a_refund_takes_its_own_lot_and_only_then_the_oldest() -> None:
    lots = [Supply(UUID(int=1), "a", 100, 18), Supply(UUID(int=2), "b", 30, 5)]

    parts = each_in_its_turn(lots, [Demand(UUID(int=9), 50, 9, origin="b")])

    assert [(part.lot_id.int, part.credit_units, part.tax_units) for part in parts] == [
        (2, 30, 5),
        (1, 20, 4),
    ]
