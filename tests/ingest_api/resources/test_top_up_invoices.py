"""A tax invoice at each top-up: sold, used by a statement, given back by a note, filed."""

import io
from datetime import UTC, date, datetime
from typing import Any

import pypdf
import pytest

from billing.customers.tables import Account
from billing.db.unit_of_work import unit_of_work
from billing.wallets.tables import Wallet
from invoicing.assemble import draft_invoices
from invoicing.vouchers import issue_missing_vouchers
from tests.support.counter import Counter, Debt
from tests.support.factories.parties import gstin
from tests.support.marts import create_marts, make_rated_line, make_rating_run

JULY = date(2026, 7, 1)


@pytest.fixture
def wallet(counter: Counter) -> Debt:
    """A wallet under the policy, on 5 July 2026."""
    counter.api.clock.advance(datetime(2026, 7, 5, 6, tzinfo=UTC) - counter.api.clock.now())
    found = counter.wallet()
    _set_policy(counter, found)
    return found


def _set_policy(counter: Counter, wallet: Debt, policy: str = "tax_invoice_at_top_up") -> Any:
    path = f"/api/v1/wallets/{wallet.id}/advance-policy"
    return counter.api.call("PUT", path, json={"policy": policy})


def _invoices(counter: Counter, wallet: Debt) -> list[Any]:
    rows = counter.api.get(f"/invoices?customer_id={wallet.customer_id}")
    return sorted(
        (row["attributes"] | {"id": row["id"]} for row in rows), key=lambda row: row["id"]
    )


def _buy(counter: Counter, wallet: Debt, credits_minor: int) -> Any:
    payment = counter.ask(wallet_id=str(wallet.id), credits_minor=credits_minor)
    counter.pay(payment)
    return payment


def _close_july(counter: Counter, wallet: Debt, amount_minor: int) -> Any:
    """Rate, draft and approve July on 2 August."""
    api = counter.api
    api.clock.advance(datetime(2026, 8, 2, 6, tzinfo=UTC) - api.clock.now())
    with unit_of_work(api.engine) as session:
        create_marts(session)
        run = make_rating_run(session, JULY)
        row = session.get_one(Wallet, wallet.id)
        account = session.get_one(Account, row.account_id)
        make_rated_line(
            session,
            run.id,
            account,
            amount_minor=amount_minor,
            month=JULY,
            period_end=date(2026, 8, 1),
        )
        (draft,) = draft_invoices(session, JULY, run.id, api.clock).created
    return api.post(f"/invoices/{draft}/approve")


def _printed(counter: Counter, path: str) -> str:
    page = counter.api.call("GET", f"/api/v1{path}/pdf")
    assert page.status_code == 200, page.text
    return " ".join(pypdf.PdfReader(io.BytesIO(page.content)).pages[0].extract_text().split())


def test_a_top_up_is_invoiced_with_its_tax_and_the_month_is_a_statement_without(
    counter: Counter, wallet: Debt
) -> None:
    _buy(counter, wallet, 10_000)
    (sold,) = _invoices(counter, wallet)
    assert (sold["number"], sold["origin"], sold["status"]) == ("INV-2627-000001", "top_up", "paid")
    assert (sold["taxable_minor"], sold["tax_minor"], sold["total_minor"]) == (
        10_000,
        1_800,
        11_800,
    )
    assert counter.api.get(f"/documents?customer_id={wallet.customer_id}") == []
    assert issue_missing_vouchers(counter.api.engine, counter.api.clock) == (0, 0)

    statement = _close_july(counter, wallet, 6_000)["attributes"]

    assert (statement["number"], statement["document_type"], statement["status"]) == (
        "ST-2627-000001",
        "statement",
        "paid",
    )
    assert (statement["tax_minor"], statement["settled_minor"]) == (0, 6_000)
    statement_id = _invoices(counter, wallet)[-1]["id"]
    printed = _printed(counter, f"/invoices/{statement_id}")
    assert "Statement of Usage" in printed
    assert "Tax invoice INV-2627-000001 5 Jul 2026 60.00" in printed
    assert "This is no tax invoice." in printed
    assert "Tax Invoice" in _printed(counter, f"/invoices/{sold['id']}")
    for path in ("2026-07", "2026-08"):
        answer = counter.api.get(f"/gstr1/reconciliation?gstin={gstin('29')}&month={path}")
        assert answer["attributes"]["differences"] == []
    error = counter.api.refused(
        "POST", f"/invoices/{statement_id}/credit-notes", 409, json={"reason": "Too much"}
    )
    assert error["code"] == "statement"


def test_unused_credits_go_back_by_credit_notes_and_never_more_than_was_sold(
    counter: Counter, wallet: Debt
) -> None:
    payment = _buy(counter, wallet, 10_000)
    (sold,) = _invoices(counter, wallet)
    path = f"/payments/{payment['id']}/refunds"

    counter.api.post(path, {"amount_minor": 5_901, "reason": "Not needed"})
    issue_missing_vouchers(counter.api.engine, counter.api.clock)
    counter.api.post(path, {"amount_minor": 5_899, "reason": "Nor the rest"})
    issue_missing_vouchers(counter.api.engine, counter.api.clock)

    notes = [row["attributes"] for row in counter.api.get(f"/documents?invoice_id={sold['id']}")]
    assert {note["kind"] for note in notes} == {"credit_note"}
    assert sum(note["taxable_minor"] for note in notes) == 10_000
    assert sum(note["tax_minor"] for note in notes) == 1_800
    assert all(note["applied_minor"] == note["total_minor"] for note in notes)
    assert counter.api.get(f"/wallets/{wallet.id}")["attributes"]["balance_units"] == 0
    answer = counter.api.get(f"/gstr1/reconciliation?gstin={gstin('29')}&month=2026-07")
    assert answer["attributes"]["differences"] == []
    error = counter.api.refused(
        "POST", f"/invoices/{sold['id']}/credit-notes", 409, json={"reason": "Too much"}
    )
    assert error["code"] == "refund_instead"
    line = counter.api.get(f"/invoices/{sold['id']}/settlement-lines")[0]["attributes"]["reference"]
    body = {"reference": line, "reason": "A mistake"}
    error = counter.api.refused(
        "POST", f"/invoices/{sold['id']}/settlement-lines/reversals", 409, json=body
    )
    assert error["code"] == "not_reversible"


def test_a_top_up_by_hand_needs_its_tax_and_the_wallet_has_no_credit_line(
    counter: Counter, wallet: Debt
) -> None:
    path = f"/wallets/{wallet.id}"
    untaxed = {"amount_minor": 1_000, "tax_minor": 0, "reference": "NEFT-1"}
    error = counter.api.refused("POST", f"{path}/top-ups", 409, json=untaxed)
    assert (error["code"], error["details"]["due_minor"]) == ("tax_differs", 180)
    counter.api.post(f"{path}/top-ups", untaxed | {"tax_minor": 180})
    assert issue_missing_vouchers(counter.api.engine, counter.api.clock) == (1, 0)
    limits = {"credit_line_minor": 1, "low_balance_minor": 0}
    error = counter.api.refused("PATCH", path, 409, json=limits)
    assert error["code"] == "no_credit_line"
    assert _set_policy(counter, wallet, "deposit").json()["error"]["code"] == "wallet_not_empty"
