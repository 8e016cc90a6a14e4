"""The life of a subscription over HTTP: each change previewed, made, listed and undone."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from billing.access.roles import Role
from billing.customers.tables import Account
from billing.db.unit_of_work import unit_of_work
from billing.subscriptions.periods import make_periods
from billing.subscriptions.rateable import rateable_periods
from billing.subscriptions.tables import BillingPeriod
from tests.support.api import Api
from tests.support.bodies import (
    PLATFORM_ITEM,
    create_items,
    create_plan,
    draft,
    open_account,
    platform_charge,
    sms_charge,
)
from tests.support.factories.invoices import bill_ahead
from tests.support.rating import open_run

MAY = ("2026-05-01", "2026-06-01")
JUNE = ("2026-06-01", "2026-07-01")


@pytest.fixture
def account(api: Api, new_customer: Callable[[str], str]) -> Any:
    """A postpaid rupee account, and plans for ₹310 and ₹620 a month."""
    create_items(api)
    create_plan(api, "small", platform_charge("310"), sms_charge())
    create_plan(api, "large", platform_charge("620"), sms_charge())
    return open_account(api, new_customer("acme"), "acme-main", billing_mode="postpaid")


def start(api: Api, account: Any, **other: Any) -> str:
    """A subscription's path."""
    body = {"account_id": account["id"], "plan_code": "small", "starts_on": "2026-05-01", **other}
    return f"/subscriptions/{api.post('/subscriptions', body)['id']}"


def segments(found: Any) -> list[tuple[str, str, str | None]]:
    parts = found["attributes"]["segments"]
    return [(part["phase"], part["starts_on"], part["ends_on"]) for part in parts]


def test_every_change_is_previewed_and_then_made_as_it_was_shown(api: Api, account: Any) -> None:
    path = start(api, account)
    for action, body, minor in (
        ("seats", {"quantity": "3", "from_day": "2026-05-11"}, 310_00 + 2 * 210_00),
        ("change", {"plan_code": "large", "from_day": "2026-05-21"}, 100_00 + 300_00 + 220_00),
        ("pause", {"from_day": "2026-05-26", "proration": "none"}, 0),
    ):
        before = api.get(path)
        preview = api.post(f"{path}/preview", {"action": action, **body})["attributes"]
        assert api.get(path) == before
        assert preview["after"]["amount_minor"] == minor
        made = api.post(f"{path}/{action}", body)
        assert [
            (part["phase"], part["starts_on"], part["recurring_from"])
            for part in preview["segments"]
        ] == [
            (part["phase"], part["starts_on"], part["recurring_from"] or part["starts_on"])
            for part in made["attributes"]["segments"]
        ]
    kinds = [row["attributes"]["kind"] for row in api.get(f"{path}/changes")]
    assert kinds == ["start", "seats", "downgrade", "pause"]


def test_seats_in_tiers_enter_a_tier_once_and_may_have_agreed_prices(
    api: Api, account: Any
) -> None:
    api.post("/billable-items", PLATFORM_ITEM | {"code": "seat", "kind": "licence"})
    tiers = [
        {"up_to": "5", "unit_price": "31", "flat_amount": "100"},
        {"unit_price": "15.5", "flat_amount": "50"},
    ]
    seats = platform_charge() | {
        "item_code": "seat",
        "price_model": "licence",
        "tier_mode": "graduated",
        "rates": [{"currency": "INR", "tiers": tiers}],
    }
    create_plan(api, "seated", seats)
    path = start(api, account, plan_code="seated", quantity="5")
    wish = {"action": "seats", "quantity": "8", "from_day": "2026-05-22"}

    def comes_to(**other: str) -> int:
        after = api.post(f"{path}/preview", wish | other)["attributes"]["after"]
        return int(after["amount_minor"])

    # 21 and 10 of 31 days of 5 x 31, and 10 of 3 x 15.5; 100 and 50 once
    assert comes_to() == 155_00 + 15_00 + 150_00
    assert comes_to(proration="none") == 255_00
    agreed = {
        "account_id": account["id"],
        "plan_code": "seated",
        "charge_code": "platform",
        "tiers": [{"up_to": "6", "unit_price": "9300"}, {"flat_amount": "7"}],
        "starts_on": "2026-05-22",
        "reason": "Contract 7",
    }
    api.post("/price-overrides", agreed)
    assert comes_to() == 205_00 + 6 * 3000_00 + 7_00
    customer = account["relationships"]["customer"]["id"]
    prepaid = open_account(api, customer, "acme-prepaid")
    api.post("/price-overrides", agreed | {"account_id": prepaid["id"]})
    unending = agreed | {"tiers": [{"up_to": "6"}], "starts_on": "2027-01-01"}
    error = api.refused("POST", "/price-overrides", 400, json=unending)
    assert [wrong["field"] for wrong in error["fields"]] == ["tiers"]


def test_changes_are_undone_one_by_one_back_to_the_start(api: Api, account: Any) -> None:
    path = start(api, account)
    states = [api.get(path)]
    api.post(f"{path}/seats", {"quantity": "3", "from_day": "2026-05-11", "proration": "full"})
    states.append(api.get(path))
    api.post(f"{path}/end", {"ends_on": "2026-05-20"})
    first, seats, end = api.get(f"{path}/changes")
    refused = api.refused("POST", f"{path}/changes/{seats['id']}/undo", 409)
    assert refused["details"] == {"change_id": end["id"]}
    for change in (end, seats):
        undone = api.post(f"{path}/changes/{change['id']}/undo")
        expected = states.pop()["attributes"]
        for name in ("segments", "status", "ends_on"):
            assert undone["attributes"][name] == expected[name]
    assert (
        api.refused("POST", f"{path}/changes/{first['id']}/undo", 409)["code"]
        == "cannot_undo_start"
    )
    kinds = [row["attributes"]["kind"] for row in api.get(f"{path}/changes")]
    assert kinds == ["start", "seats", "end", "undo", "undo"]


def test_a_trial_is_the_plans_or_what_was_agreed(api: Api, account: Any) -> None:
    plan = api.post("/price-plans", {"code": "tried", "name": "Tried"})
    version = draft(api, plan["id"], platform_charge("310"), trial_days=14)
    api.post(f"/plan-versions/{version['id']}/publish")
    body = {"account_id": account["id"], "plan_code": "tried", "starts_on": "2026-05-01"}
    preview = api.post("/subscriptions/preview", body)["attributes"]
    assert (preview["before"], preview["after"]["amount_minor"]) == (None, 170_00)
    without = api.post("/subscriptions/preview", {**body, "trial_days": 0})["attributes"]
    assert without["after"]["amount_minor"] == 310_00
    assert api.get("/subscriptions") == []
    assert segments(api.post("/subscriptions", body)) == [
        ("trial", "2026-05-01", "2026-05-15"),
        ("active", "2026-05-15", None),
    ]


def test_a_subscription_pauses_resumes_ends_and_is_renewed(api: Api, account: Any) -> None:
    path = start(api, account)
    api.post(f"{path}/pause", {"from_day": "2026-05-11", "resume_on": "2026-06-01"})
    ended = api.post(f"{path}/end", {"ends_on": "2026-08-01"})
    assert ended["attributes"]["status"] == "ended"
    renewed = api.post(f"{path}/renew", {})
    assert renewed["attributes"]["status"] == "active"
    assert segments(renewed) == [
        ("active", "2026-05-01", "2026-05-11"),
        ("paused", "2026-05-11", "2026-06-01"),
        ("active", "2026-06-01", None),
    ]
    assert api.refused("POST", f"{path}/resume", 409, json={"from_day": "2026-07-01"})["code"] == (
        "not_paused"
    )


def test_now_is_the_coming_midnight_and_a_period_ends_where_the_anchor_says(
    api: Api, account: Any
) -> None:
    today = api.clock.now().date()
    path = start(api, account, starts_on=(today - timedelta(days=3)).isoformat(), anchor_day=1)
    following = (today.replace(day=1) + timedelta(days=32)).replace(day=1)
    ended = api.post(f"{path}/end", {"ends_on": "period_end"})
    assert ended["attributes"]["ends_on"] == following.isoformat()
    change = api.get(f"{path}/changes")[-1]
    api.post(f"{path}/changes/{change['id']}/undo")
    ended = api.post(f"{path}/end", {"ends_on": "now"})["attributes"]["ends_on"]
    assert ended in {(today + timedelta(days=days)).isoformat() for days in (1, 2)}


def periods(api: Api) -> list[tuple[str, str]]:
    """Those that begin up to the 1st of June, made anew where they are not there."""
    with unit_of_work(api.engine) as session:
        make_periods(session, date(2026, 6, 2))
        rows = session.connection().exec_driver_sql(
            "SELECT starts_on::text, ends_on::text FROM billing.billing_periods ORDER BY 1"
        )
        return [(row[0], row[1]) for row in rows]


def test_a_plan_says_its_interval_and_another_begins_where_a_period_ends(
    api: Api, account: Any
) -> None:
    plan = api.post("/price-plans", {"code": "yearly", "name": "Yearly"})
    version = draft(api, plan["id"], platform_charge("3650"), interval="year", anchor="anniversary")
    api.post(f"/plan-versions/{version['id']}/publish")
    body = {"account_id": account["id"], "plan_code": "yearly", "starts_on": "2026-02-10"}
    preview = api.post("/subscriptions/preview", body)["attributes"]["after"]
    assert (preview["period_start"], preview["period_end"]) == ("2026-02-10", "2027-02-10")
    assert preview["amount_minor"] == 3650_00
    path = start(api, account)
    for day in ("9999-12-31", "0001-01-01"):
        beyond = {"plan_code": "small", "from_day": day}
        assert api.refused("POST", f"{path}/change", 400, json=beyond)["fields"]
        api.refused("POST", "/subscriptions/preview", 400, json={**body, "starts_on": day})
    assert periods(api) == [MAY, JUNE]
    wish = {"plan_code": "yearly", "from_day": "2026-06-01"}
    preview = api.post(f"{path}/preview", {"action": "change", **wish})["attributes"]
    assert preview["kind"] == "downgrade"  # 12 × 310 is more than 3650
    assert [
        (one["period_start"], one["period_end"], one["amount_minor"])
        for one in (preview["before"], preview["after"])
    ] == [(*JUNE, 310_00), ("2026-06-01", "2027-06-01", 3650_00)]
    first, second = api.post(f"{path}/change", wish)["attributes"]["segments"]
    assert first["cycle"] is None
    assert second["cycle"] == {"interval": "year", "anchor_day": 1, "anchor_month": 6}
    assert periods(api) == [MAY, ("2026-06-01", "2027-06-01")]
    assert preview["then"] is None
    api.post(f"{path}/seats", {"quantity": "2", "from_day": "2026-12-01"})
    for change in reversed(api.get(f"{path}/changes")[1:]):
        api.post(f"{path}/changes/{change['id']}/undo")
    assert periods(api) == [MAY, JUNE]


def test_a_higher_tier_of_a_family_is_an_upgrade_whatever_it_costs(api: Api, account: Any) -> None:
    for code, tier, price in (("better", 20, "500"), ("good", 10, "600")):
        body = {"code": code, "name": code.title(), "family": "basic", "tier": tier}
        plan = api.post("/price-plans", body)
        version = draft(api, plan["id"], platform_charge(price))
        api.post(f"/plan-versions/{version['id']}/publish")
    body = {"code": "best", "name": "Best", "family": "basic", "tier": 20}
    assert api.refused("POST", "/price-plans", 409, json=body)["code"] == "tier_taken"
    del body["tier"]
    assert api.refused("POST", "/price-plans", 400, json=body)["fields"][0]["field"] == "tier"
    listed = api.get("/price-plans?family=basic")
    assert [one["attributes"]["code"] for one in listed] == ["good", "better"]
    path = start(api, account, plan_code="good")
    for code, kind in (("better", "upgrade"), ("small", "downgrade"), ("large", "upgrade")):
        wish = {"action": "change", "plan_code": code, "from_day": "2026-05-11"}
        assert api.post(f"{path}/preview", wish)["attributes"]["kind"] == kind


def test_periods_follow_an_end_and_its_undoing(api: Api, account: Any) -> None:
    path = start(api, account)
    assert periods(api) == [MAY, JUNE]
    api.post(f"{path}/end", {"ends_on": "2026-05-20"})
    assert periods(api) == [("2026-05-01", "2026-05-20")]
    api.post(f"{path}/changes/{api.get(f'{path}/changes')[-1]['id']}/undo")
    assert periods(api) == [MAY, JUNE]


def test_customers_preview_their_own_and_change_nothing(
    api: Api, account: Any, new_customer: Callable[[str], str]
) -> None:
    path = start(api, account)
    wish = {"action": "seats", "quantity": "2", "from_day": "2026-05-11"}
    own = api.key_for(Role.CUSTOMER, account["relationships"]["customer"]["id"])
    other = api.key_for(Role.CUSTOMER, new_customer("other"))
    assert api.post(f"{path}/preview", wish, key=own)["attributes"]["difference_minor"] == 210_00
    api.refused("POST", f"{path}/preview", 404, json=wish, key=other)
    api.refused("POST", f"{path}/seats", 403, json=wish, key=own)


def test_a_price_in_advance_is_billed_ahead_and_credited_on_a_change(
    api: Api, account: Any
) -> None:
    for code, price in (("ahead", "310"), ("ahead-large", "620")):
        create_plan(api, code, {**platform_charge(price), "timing": "advance"}, sms_charge())
    wish = {"account_id": account["id"], "plan_code": "ahead", "starts_on": "2026-05-01"}
    first = api.post("/subscriptions/preview", wish)["attributes"]["after"]
    assert [line["description"] for line in first["lines"]] == [
        "Platform fee",
        "Platform fee (2026-06-01 to 2026-06-30)",
    ]
    assert first["amount_minor"] == 2 * 310_00
    path = start(api, account, plan_code="ahead")
    subscription = path.rpartition("/")[2]
    with unit_of_work(api.engine) as session:
        make_periods(session, date(2026, 6, 2))
        may = session.scalars(
            select(BillingPeriod).filter_by(
                subscription_id=UUID(subscription), starts_on=date(2026, 5, 1)
            )
        ).one()
        owner = session.get_one(Account, may.account_id)
        bill_ahead(session, owner, may, {"20260601:platform:1": 310_00})
    wanted = {"action": "change", "plan_code": "ahead-large", "from_day": "2026-06-16"}
    preview = api.post(f"{path}/preview", wanted)["attributes"]
    # June is billed already: nothing but July. Upgraded, 15 days at 620 less 15 days at 310.
    assert preview["before"]["amount_minor"] == 310_00
    assert [line["amount_minor"] for line in preview["after"]["lines"]] == [310_00 - 155_00, 620_00]
    ended = api.post(f"{path}/preview", {"action": "end", "ends_on": "2026-06-16"})["attributes"]
    assert [(line["charge_code"], line["amount_minor"]) for line in ended["after"]["lines"]] == [
        ("credit", 0)
    ]
    with unit_of_work(api.engine) as session:
        june = session.scalars(
            select(BillingPeriod).filter_by(
                subscription_id=UUID(subscription), starts_on=date(2026, 6, 1)
            )
        ).one()
        owner = session.get_one(Account, june.account_id)
        draft = bill_ahead(session, owner, june, {"20260701:platform:1": 310_00}).id
    refused = api.refused("POST", f"/invoices/{draft}/approve", 409)
    assert refused["code"] == "earlier_draft"


def test_what_an_issued_invoice_billed_ahead_comes_out_again_whatever_is_changed_since(
    api: Api, account: Any
) -> None:
    create_plan(api, "ahead", {**platform_charge("310"), "timing": "advance"}, sms_charge())
    path = start(api, account, plan_code="ahead")
    subscription = UUID(path.rpartition("/")[2])
    with unit_of_work(api.engine) as session:
        make_periods(session, date(2026, 6, 2))
        may = session.scalars(
            select(BillingPeriod).filter_by(
                subscription_id=subscription, starts_on=date(2026, 5, 1)
            )
        ).one()
        run = open_run(session, date(2026, 5, 1))
        run.started_at = api.clock.now()
        owner = session.get_one(Account, may.account_id)
        invoice = bill_ahead(session, owner, may, {"20260601:platform:1": 310_00}, run=run).id
        period_id = may.id
    api.clock.advance(timedelta(days=1))
    agreed = {
        "account_id": account["id"], "plan_code": "ahead", "charge_code": "platform",
        "tiers": [{"flat_amount": "100"}], "reason": "asked for", "starts_on": "2026-06-30",
    }  # fmt: skip
    refused = api.refused("POST", "/price-overrides", 409, json=agreed)
    assert refused["code"] == "already_billed"
    api.post("/price-overrides", {**agreed, "starts_on": "2026-07-01"})
    for body in ({"ends_on": "2026-06-11"}, {"ends_on": "2026-06-01"}):
        api.post(f"{path}/end", body)
        with unit_of_work(api.engine) as session:
            make_periods(session, date(2026, 6, 2))
            rating = rateable_periods(session, [period_id])[period_id].rate([])
            assert [(line.line_ref.split(":", 2)[2], line.amount_minor) for line in rating.lines][
                1:
            ] == [("20260601:platform:1", 310_00)]
        api.post(f"{path}/changes/{api.get(f'{path}/changes')[-1]['id']}/undo")
    with unit_of_work(api.engine) as session:
        make_periods(session, date(2026, 6, 2))
        june = session.scalars(
            select(BillingPeriod).filter_by(
                subscription_id=subscription, starts_on=date(2026, 6, 1)
            )
        ).one()
        bill_ahead(session, session.get_one(Account, june.account_id), june, {}, run=run)
    assert api.refused("POST", f"/invoices/{invoice}/void", 409, json={"reason": "wrong"})[
        "code"
    ] == ("built_on")
