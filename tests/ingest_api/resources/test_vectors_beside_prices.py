"""Worked amounts of other billing systems that are no price of a usage, each through its door.

India's law knows none of the tax rates of the rows. It stands in a table of dated facts, which is
read here as if it knew them; all that is done with a rate is what is done with every other.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from billing.access.roles import Role
from billing.db.unit_of_work import unit_of_work
from billing.money import from_minor, to_minor, to_units
from billing.tax import rules
from billing.tax.compute import tax_document
from billing.tax.model import HeadRate, TaxHead
from tests.support.api import Api
from tests.support.bodies import (
    create_items,
    create_plan,
    draft,
    open_account,
    platform_charge,
    sms_charge,
)
from tests.support.factories.parties import make_account, make_supplier
from tests.support.marts import create_marts
from tests.support.rating_vectors import BY_ID, OTHER_DOORS

LINE = {"description": "As published", "sac": "998313", "unit": "day", "quantity": "1"}


def rows_of(door: str) -> list[dict[str, Any]]:
    return [BY_ID[number] for number, its_door in OTHER_DOORS.items() if its_door == door]


@pytest.fixture
def invoiced(api: Api, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Any]:
    """Writes an invoice of one line for a customer in another State, taxed at a rate in percent."""
    api.clock.advance(datetime(2026, 7, 5, 6, tzinfo=UTC) - api.clock.now())
    with unit_of_work(api.engine) as session:
        create_marts(session)
        make_supplier(session)
        account = make_account(session, state_code="27").id

    def write(amount: str, rate: str) -> Any:
        def is_the_rows(_sac: str, _day: date) -> Decimal:
            return Decimal(rate)

        monkeypatch.setattr(rules, "tax_rate", is_the_rows)
        lines = [LINE | {"unit_price": amount}]
        return api.post("/invoices", {"account_id": str(account), "lines": lines})

    return write


def test_an_invoice_is_its_lines_and_their_tax(
    api: Api, invoiced: Callable[[str, str], Any]
) -> None:
    for row in rows_of("invoices"):
        (rate,) = row["params"]["rates_percent"]
        total = invoiced(row["usage"], rate)["attributes"]["total_minor"]
        assert from_minor(total, "INR") == Decimal(row["expected_amount"]), row["id"]


def test_a_credit_note_is_what_it_takes_of_a_line_and_of_its_tax(
    api: Api, invoiced: Callable[[str, str], Any]
) -> None:
    create_items(api)
    for row in rows_of("credit notes"):
        params = row["params"]
        invoice = invoiced(params["paid_amount"], params["tax_percent"])
        (line,) = api.post(f"/invoices/{invoice['id']}/approve")["attributes"]["lines"]
        days = {"billed": params["unused_days"], "full": params["period_days"]}
        body = {"charge": platform_charge(params["paid_amount"]), "quantity": "1", "days": days}
        unused = api.post("/pricing/preview", body)["attributes"]["amount_minor"]
        taken = {"line_ref": line["line_ref"], "amount_minor": unused}
        note = api.post(
            f"/invoices/{invoice['id']}/credit-notes",
            {"reason": "Days that were not used", "lines": [taken]},
            role=Role.FINANCE_ADMIN,
        )["attributes"]
        total = note["taxable_minor"] + note["tax_minor"]
        assert from_minor(total, "INR") == Decimal(row["expected_amount"]), row["id"]


def test_each_head_of_tax_is_rounded_and_all_are_added() -> None:
    """No two heads differ here by law, so this one is asked of the rule alone."""
    for row in rows_of("tax"):
        pairs = zip(TaxHead, row["params"]["rates_percent"], strict=False)
        heads = [HeadRate(head, Decimal(rate)) for head, rate in pairs]
        found = tax_document([(to_minor(Decimal(row["usage"]), "INR"), heads)])
        assert len(heads) == len(row["params"]["rates_percent"])
        assert from_minor(found.tax_minor, "INR") == Decimal(row["expected_amount"])


@pytest.fixture
def wallet(api: Api, new_customer: Callable[[str], str]) -> Any:
    """An empty wallet of a prepaid account in rupees."""
    account = open_account(api, new_customer("acme"), "acme-main")
    return api.post("/wallets", {"account_id": account["id"]})


def test_a_balance_is_what_came_in_less_what_went_out(api: Api, wallet: Any) -> None:
    row = BY_ID["v327"]
    path = f"/wallets/{wallet['id']}"
    paid = {"amount_minor": to_minor(Decimal(row["params"]["initial"]), "INR"), "tax_minor": 0}
    api.post(f"{path}/top-ups", {**paid, "reference": "first"})
    for number, debit in enumerate(row["params"]["debits"]):
        units = -to_units(Decimal(debit), "INR")
        body = {"amount_units": units, "reference": f"debit-{number}", "note": "An invoice"}
        api.post(f"{path}/corrections", body)
    assert api.get(path)["attributes"]["balance"] == row["expected_amount"]


def test_no_minimum_is_debited_before_the_period_is_over(api: Api, wallet: Any) -> None:
    """What bills a part of a period is a wallet: with each event, and by no minimum."""
    row = BY_ID["v192"]
    create_items(api)
    price = {"currency": "INR", "tiers": [{"unit_price": row["params"]["unit_amount"]}]}
    least = [{"currency": "INR", "minimum": row["params"]["minimum_amount"]}]
    create_plan(api, "least", sms_charge(price, match_dimensions=[], limits=least))
    path = f"/wallets/{wallet['id']}"
    api.post(f"{path}/top-ups", {"amount_minor": 50_000, "tax_minor": 0, "reference": "first"})
    account_id = wallet["relationships"]["account"]["id"]
    body = {"account_id": account_id, "plan_code": "least", "starts_on": "2026-07-01"}
    api.post("/subscriptions", body)
    used = 500 - Decimal(api.get(path)["attributes"]["balance"])
    assert used == Decimal(row["expected_amount"])
    preview = {"charge": sms_charge(price, match_dimensions=[], limits=least), "quantity": "0"}
    assert api.post("/pricing/preview", preview)["attributes"]["amount"] == "100"


@pytest.mark.parametrize("number", ["v345", "v349"])
def test_periods_begin_on_the_days_of_the_anchor(
    api: Api, new_customer: Callable[[str], str], number: str
) -> None:
    """Each is asked for as the next invoice of a change on the day after the one before."""
    row = BY_ID[number]
    create_items(api)
    plan = api.post("/price-plans", {"code": "monthly", "name": "Monthly"})
    version = draft(api, plan["id"], platform_charge(), interval="month", anchor="anniversary")
    api.post(f"/plan-versions/{version['id']}/publish")
    account = open_account(api, new_customer("acme"), "acme-main", billing_mode="postpaid")
    body = {
        "account_id": account["id"],
        "plan_code": "monthly",
        "starts_on": row["params"]["start"],
        "ends_on": row["params"]["end"],
    }
    periods = [api.post("/subscriptions/preview", body)["attributes"]["after"]]
    path = f"/subscriptions/{UUID(api.post('/subscriptions', body)['id'])}/preview"
    while periods[-1]["period_end"] < row["params"]["end"]:
        wish = {"action": "seats", "quantity": "2", "from_day": periods[-1]["period_end"]}
        periods.append(api.post(path, wish)["attributes"]["after"])
    assert [period["period_start"] for period in periods] == row["expected_dates"]
    assert periods[-1]["period_end"] == row["params"]["end"]


def test_less_than_before_is_rounded_like_more(
    api: Api, new_customer: Callable[[str], str]
) -> None:
    row = BY_ID["v313"]
    currency, amount = row["params"]["currency"], -Decimal(row["usage"])
    create_items(api)
    create_plan(api, "seats", platform_charge(str(amount), currency))
    account = open_account(
        api, new_customer("acme"), "acme-main", billing_mode="postpaid", currency=currency
    )
    body = {
        "account_id": account["id"],
        "plan_code": "seats",
        "starts_on": "2026-05-01",
        "quantity": "2",
    }
    path = f"/subscriptions/{api.post('/subscriptions', body)['id']}/preview"
    wish = {"action": "seats", "quantity": "1", "from_day": "2026-06-01"}
    less = api.post(path, wish)["attributes"]["difference_minor"]
    assert from_minor(less, currency) == Decimal(row["expected_amount"])
