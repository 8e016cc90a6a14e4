"""A plan of another interval from a day amid a period on: foretold, made, on record, undone."""

from collections.abc import Callable
from datetime import date
from uuid import UUID

import pytest
from sqlalchemy import select

from billing.customers.tables import Account
from billing.db.unit_of_work import unit_of_work
from billing.subscriptions.periods import make_periods
from billing.subscriptions.tables import BillingPeriod
from tests.support.api import Api
from tests.support.bodies import (
    create_items,
    create_plan,
    open_account,
    platform_charge,
    sms_charge,
)
from tests.support.factories.invoices import bill_ahead
from tests.support.rating import open_run

MAY = ("2026-05-01", "2026-06-01")
JUNE = ("2026-06-01", "2026-07-01")
CUT = ("2026-06-01", "2026-06-11")
YEAR = ("2026-06-11", "2027-06-11")


@pytest.fixture
def account(api: Api, new_customer: Callable[[str], str]) -> str:
    """A postpaid account; plans for ₹300 a month, and for ₹3,650 a year by both anchors."""
    create_items(api)
    create_plan(api, "monthly", platform_charge("300"), sms_charge())
    for code, anchor in (("yearly", "anniversary"), ("fixed", "fixed")):
        yearly = platform_charge("3650"), sms_charge()
        create_plan(api, code, *yearly, interval="year", anchor=anchor)
    customer = new_customer("acme")
    return str(open_account(api, customer, "acme-main", billing_mode="postpaid")["id"])


def start(api: Api, account: str, plan: str, day: str) -> str:
    """A subscription's path."""
    body = {"account_id": account, "plan_code": plan, "starts_on": day}
    return f"/subscriptions/{api.post('/subscriptions', body)['id']}"


def foretold(api: Api, path: str, wish: dict[str, str]) -> list[tuple[str, str, int] | None]:
    """The invoice as it is, with the change, and the first of the new interval."""
    found = api.post(f"{path}/preview", {"action": "change", **wish})["attributes"]
    return [
        one and (one["period_start"], one["period_end"], one["amount_minor"])
        for one in (found["before"], found["after"], found["then"])
    ]


def periods(api: Api) -> list[tuple[str, str]]:
    """Those that begin before the 12th of June, made anew where they are not there."""
    with unit_of_work(api.engine) as session:
        make_periods(session, date(2026, 6, 12))
        rows = session.scalars(select(BillingPeriod).order_by(BillingPeriod.starts_on))
        return [(row.starts_on.isoformat(), row.ends_on.isoformat()) for row in rows]


def test_a_month_is_cut_short_by_a_year(api: Api, account: str) -> None:
    path = start(api, account, "monthly", "2026-06-01")
    left_of_it = ("2026-06-11", "2027-06-01")
    for plan, how, cut, year in (
        ("yearly", "prorate", 100_00, (*YEAR, 3650_00)),  # 10 of 30 days
        ("yearly", "full", 100_00, (*YEAR, 3650_00)),
        ("yearly", "none", 300_00, (*YEAR, 3450_00)),  # June is paid: 20 days less
        ("fixed", "prorate", 100_00, (*left_of_it, 3550_00)),
        ("fixed", "full", 0, (*left_of_it, 3650_00)),
        ("fixed", "none", 300_00, (*left_of_it, 3350_00)),
    ):
        wish = {"plan_code": plan, "from_day": "2026-06-11", "proration": how}
        assert foretold(api, path, wish) == [(*JUNE, 300_00), (*CUT, cut), year]
    whole = {**platform_charge("3650"), "prorated": False}
    create_plan(api, "whole", whole, sms_charge(), interval="year")
    wish = {"plan_code": "whole", "from_day": "2026-06-11", "proration": "none"}
    assert api.refused("POST", f"{path}/change", 409, json=wish)["code"] == "not_prorated"
    wish["proration"] = "prorate"
    assert foretold(api, path, wish)[2] == (*left_of_it, 3650_00)


def test_a_year_is_cut_short_by_a_month(api: Api, account: str) -> None:
    create_plan(api, "small", platform_charge("310"), sms_charge())
    path = start(api, account, "yearly", "2026-06-01")
    for how, cut, month in (
        ("prorate", 1930_00, 210_00),  # 193 of 365 days, 21 of 31
        ("full", 1830_00, 310_00),  # the whole of December, so ten days less of the year
        ("none", 3650_00, 0),
    ):
        wish = {"plan_code": "small", "from_day": "2026-12-11", "proration": how}
        assert foretold(api, path, wish) == [
            ("2026-06-01", "2027-06-01", 3650_00),
            ("2026-06-01", "2026-12-11", cut),
            ("2026-12-11", "2027-01-01", month),
        ]
    api.post(f"{path}/change", {"plan_code": "small", "from_day": "2026-07-25"})
    ended = api.post(f"{path}/end", {"ends_on": "period_end"})["attributes"]
    assert ended["ends_on"] == "2026-07-25"  # of the period that is short now


def test_it_is_on_record_and_undone_until_the_short_period_is_invoiced(
    api: Api, account: str
) -> None:
    path = start(api, account, "monthly", "2026-05-01")
    assert periods(api) == [MAY, JUNE]
    wish = {"plan_code": "yearly", "from_day": "2026-06-11"}
    _, second = api.post(f"{path}/change", wish)["attributes"]["segments"]
    assert second["cycle"] == {"interval": "year", "anchor_day": 11, "anchor_month": 6}
    assert periods(api) == [MAY, CUT, YEAR]
    change = api.get(f"{path}/changes")[-1]
    assert change["attributes"]["effective_on"] == "2026-06-11"
    assert len(api.get("/audit", params={"command": "subscription.change_plan"})) == 1
    api.post(f"{path}/changes/{change['id']}/undo")
    assert periods(api) == [MAY, JUNE]
    api.post(f"{path}/change", wish)
    assert periods(api) == [MAY, CUT, YEAR]
    with unit_of_work(api.engine) as session:
        june = session.scalars(select(BillingPeriod).filter_by(starts_on=date(2026, 6, 1))).one()
        run = open_run(session, date(2026, 6, 1))
        bill_ahead(session, session.get_one(Account, UUID(account)), june, {}, run=run)
    change = api.get(f"{path}/changes")[-1]
    path_of_undo = f"{path}/changes/{change['id']}/undo"
    assert api.refused("POST", path_of_undo, 409)["code"] == "already_billed"
    # what is left of the year is not invoiced
    api.post(f"{path}/seats", {"quantity": "2", "from_day": "2026-06-12", "proration": "full"})


def test_a_coupon_for_the_period_does_not_go_on_with_another_interval(
    api: Api, account: str
) -> None:
    path = start(api, account, "monthly", "2026-06-01")
    api.post("/coupons", {"code": "HALF", "name": "Half", "percent": "50", "duration": "once"})
    api.post(f"{path}/coupon-redemptions", {"code": "HALF", "from_day": "2026-06-01"})
    wish = {"plan_code": "yearly", "from_day": "2026-06-11"}
    assert foretold(api, path, wish) == [(*JUNE, 150_00), (*CUT, 50_00), (*YEAR, 3650_00)]
    api.post(f"{path}/change", wish)
    (redemption,) = api.get(f"{path}/coupon-redemptions")
    assert redemption["attributes"]["ends_on"] == "2026-06-11"
    same = {"action": "seats", "quantity": "1", "from_day": "2026-07-01"}
    after = api.post(f"{path}/preview", same)["attributes"]["after"]
    assert (after["period_start"], after["amount_minor"]) == ("2026-06-11", 3650_00)
