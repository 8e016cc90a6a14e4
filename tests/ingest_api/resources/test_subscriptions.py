"""Subscriptions over HTTP."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.api import Api
from tests.support.bodies import (
    SMS_ITEM,
    create_items,
    create_plan,
    open_account,
    platform_charge,
    rate,
    sms_charge,
)


@pytest.fixture
def account(api: Api, new_customer: Callable[[str], str]) -> Any:
    """A prepaid rupee account, and the plans `starter` and `growth`."""
    create_items(api)
    create_plan(api, "starter")
    create_plan(api, "growth", sms_charge(rate("0.15")))
    return open_account(api, new_customer("acme"), "acme-main")


def _start(account: Any, **other: Any) -> dict[str, Any]:
    return {
        "account_id": account["id"],
        "plan_code": "starter",
        "starts_on": "2026-07-01",
        **other,
    }


def test_a_subscription_changes_plan_at_a_local_midnight_and_ends(api: Api, account: Any) -> None:
    started = api.post("/subscriptions", _start(account, anchor_day=31, quantity="2"))
    path = f"/subscriptions/{started['id']}"
    assert started["attributes"]["anchor_day"] == 31
    changed = api.post(f"{path}/change", {"plan_code": "growth", "from_day": "2026-07-16"})
    ended = api.post(f"{path}/end", {"ends_on": "2026-08-01"})
    assert [
        (part["starts_on"], part["ends_on"], part["quantity"])
        for part in ended["attributes"]["segments"]
    ] == [("2026-07-01", "2026-07-16", "2"), ("2026-07-16", "2026-08-01", "1")]
    assert changed["attributes"]["segments"][0] == ended["attributes"]["segments"][0]
    assert api.get(path) == ended
    assert [row["id"] for row in api.get(f"/subscriptions?account_id={account['id']}")] == [
        started["id"]
    ]


def test_an_account_has_one_subscription_at_a_time(api: Api, account: Any) -> None:
    first = api.post("/subscriptions", _start(account, ends_on="2026-08-01"))
    error = api.refused("POST", "/subscriptions", 409, json=_start(account))
    assert error["code"] == "already_subscribed"
    assert error["details"] == {"subscription_id": first["id"]}
    api.post("/subscriptions", _start(account, starts_on="2026-08-01"))


def test_of_two_subscriptions_at_once_one_is_made(api: Api, account: Any) -> None:
    call = ("POST", "/api/v1/subscriptions", {"json": _start(account)})
    answers = api.together(call, call, call)
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409]


def test_prices_that_cannot_be_debited_exactly_are_not_for_prepaid(api: Api, account: Any) -> None:
    tiers = [{"up_to": "10.0000001", "unit_price": "1"}, {"unit_price": "0.5"}]
    graduated = sms_charge({"currency": "INR", "tiers": tiers}, price_model="graduated")
    create_plan(api, "graduated", graduated)
    create_plan(api, "dear", sms_charge({"currency": "INR", "tiers": [{"unit_price": "9000"}]}))
    for model in ("volume", "stairstep"):
        banded = {"currency": "INR", "tiers": [{"up_to": "10"}, {"flat_amount": "5"}]}
        create_plan(api, model, sms_charge(banded, price_model=model))
    users = {"code": "users", "aggregation": "unique", "property_name": "user"}
    api.post("/billable-items", SMS_ITEM | users)
    create_plan(api, "users", sms_charge(item_code="users"))
    for plan, reason in (
        ("users", "different values of the period"),
        ("graduated", "at most 6 decimals"),
        ("dear", "below 9000000000"),
        ("volume", "a later unit may change"),
        ("stairstep", "a later unit may change"),
    ):
        error = api.refused("POST", "/subscriptions", 409, json=_start(account, plan_code=plan))
        assert error["code"] == "not_for_prepaid"
        assert [wrong["field"] for wrong in error["fields"]] == ["charges.sms"]
        assert reason in error["fields"][0]["message"]
    dearest = [sms_charge(), sms_charge(code="users", item_code="users")]
    create_plan(api, "dearest", *(charge | {"dearest_of": "traffic"} for charge in dearest))
    error = api.refused("POST", "/subscriptions", 409, json=_start(account, plan_code="dearest"))
    assert [wrong["field"] for wrong in error["fields"]] == ["charges.sms", "charges.users"]
    assert "no other charge comes to more" in error["fields"][0]["message"]
    assert api.get("/subscriptions") == []

    customer = account["relationships"]["customer"]["id"]
    postpaid = open_account(api, customer, "acme-post", billing_mode="postpaid")
    api.post("/subscriptions", _start(postpaid, plan_code="graduated"))


@pytest.mark.parametrize("model", ["graduated", "package", "per_unit"])
def test_tiers_packages_and_free_units_are_sold_prepaid(api: Api, account: Any, model: str) -> None:
    more = {"package_size": "100"} if model == "package" else {}
    tiers = [{"up_to": "10", "unit_price": "1"}] if model == "graduated" else []
    rate = {"currency": "INR", "tiers": [*tiers, {"unit_price": "0.5"}]}
    charge = sms_charge(rate, price_model=model, free_units="20", **more)
    create_plan(api, "counted", charge)
    api.post("/subscriptions", _start(account, plan_code="counted"))


def test_packages_have_a_size_and_nothing_else_has(api: Api) -> None:
    create_items(api)
    plan = api.post("/price-plans", {"code": "packs", "name": "Packs"})
    path = f"/price-plans/{plan['id']}/versions"
    for wrong in (
        sms_charge(price_model="package"),
        sms_charge(price_model="package", package_size="0"),
        sms_charge(package_size="10"),
    ):
        error = api.refused("POST", path, 400, json={"charges": [wrong]})
        assert error["fields"][0]["field"] == "charges.0.package_size"


def test_a_plan_is_sold_in_the_currencies_it_has(api: Api, account: Any) -> None:
    create_plan(api, "dollars", platform_charge("20", "USD"))
    error = api.refused("POST", "/subscriptions", 409, json=_start(account, plan_code="dollars"))
    assert error["code"] == "currency_not_priced"


def test_an_unknown_or_unpublished_plan_is_not_sold(api: Api, account: Any) -> None:
    api.post("/price-plans", {"code": "someday", "name": "Someday"})
    for plan in ("someday", "never"):
        error = api.refused("POST", "/subscriptions", 404, json=_start(account, plan_code=plan))
        assert error["code"] == "no_active_version"


def test_a_closed_account_gets_no_subscription(api: Api, account: Any) -> None:
    api.post(f"/accounts/{account['id']}/close")
    error = api.refused("POST", "/subscriptions", 409, json=_start(account))
    assert error["code"] == "account_closed"


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("change", {"plan_code": "growth", "from_day": "2026-07-01"}),
        ("change", {"plan_code": "growth", "from_day": "2026-06-01"}),
        ("end", {"ends_on": "2026-07-01"}),
    ],
)
def test_a_change_lies_inside_the_running_segment(
    api: Api, account: Any, action: str, body: dict[str, str]
) -> None:
    path = f"/subscriptions/{api.post('/subscriptions', _start(account))['id']}"
    before = api.get(path)
    assert api.refused("POST", f"{path}/{action}", 409, json=body)["code"] == "outside_segment"
    assert api.get(path) == before


def test_who_subscribed_before_keeps_the_old_version(api: Api, account: Any) -> None:
    started = api.post("/subscriptions", _start(account))
    segment = started["attributes"]["segments"][0]
    plan = next(row for row in api.get("/price-plans") if row["attributes"]["code"] == "starter")
    body = {"charges": [platform_charge("1999"), sms_charge()]}
    newer = api.post(f"/price-plans/{plan['id']}/versions", body)
    api.post(f"/plan-versions/{newer['id']}/publish")
    kept = api.get(f"/subscriptions/{started['id']}")["attributes"]["segments"]
    assert kept == [segment]
    assert segment["plan_version_id"] != newer["id"]
