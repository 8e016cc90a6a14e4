"""Coupons over HTTP: made, given to subscriptions, seen in previews, used up and taken away."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.api import Api
from tests.support.bodies import (
    create_items,
    create_plan,
    open_account,
    platform_charge,
    sms_charge,
)

SEATS = {"action": "seats", "quantity": "1"}


@pytest.fixture
def subscription(api: Api, new_customer: Callable[[str], str]) -> str:
    """The path of a subscription at ₹310 a month from the 1st of May."""
    create_items(api)
    create_plan(api, "small", platform_charge("310"), sms_charge())
    create_plan(api, "large", platform_charge("620"), sms_charge())
    account = open_account(api, new_customer("acme"), "acme-main", billing_mode="postpaid")
    body = {"account_id": account["id"], "plan_code": "small", "starts_on": "2026-05-01"}
    return f"/subscriptions/{api.post('/subscriptions', body)['id']}"


def coupon(api: Api, code: str, **other: Any) -> Any:
    body = {"code": code, "name": code, "duration": "forever", **other}
    return api.post("/coupons", body)


def billed(api: Api, subscription: str, day: str) -> int:
    """What the invoice of the period of a day comes to, by a preview that changes nothing."""
    preview = api.post(f"{subscription}/preview", {**SEATS, "from_day": day})
    return int(preview["attributes"]["after"]["amount_minor"])


def test_a_percentage_holds_for_as_many_periods_as_it_says(api: Api, subscription: str) -> None:
    coupon(api, "QUARTER", percent="12.5", duration="repeating", periods=2)
    made = api.post(
        f"{subscription}/coupon-redemptions", {"code": "QUARTER", "from_day": "2026-06-10"}
    )
    days = (made["attributes"]["starts_on"], made["attributes"]["ends_on"])
    assert days == ("2026-06-01", "2026-08-01")
    months = ("2026-05-11", "2026-06-11", "2026-07-11", "2026-08-11")
    assert [billed(api, subscription, day) for day in months] == [
        310_00, 271_25, 271_25, 310_00,
    ]  # fmt: skip
    removed = api.post(f"/coupon-redemptions/{made['id']}/remove", {"from_day": "2026-07-31"})
    assert removed["attributes"]["ends_on"] == "2026-07-01"
    assert billed(api, subscription, "2026-07-11") == 310_00
    listed = api.get(f"{subscription}/coupon-redemptions")
    assert [one["attributes"]["code"] for one in listed] == ["QUARTER"]


def test_an_amount_takes_no_more_than_there_is(api: Api, subscription: str) -> None:
    coupon(api, "FLAT400", amounts={"INR": 400_00}, duration="once")
    api.post(f"{subscription}/coupon-redemptions", {"code": "FLAT400", "from_day": "2026-05-01"})
    assert billed(api, subscription, "2026-05-11") == 0
    assert billed(api, subscription, "2026-06-11") == 310_00
    clash = {"code": "FLAT400", "from_day": "2026-05-20"}
    error = api.refused("POST", f"{subscription}/coupon-redemptions", 409, json=clash)
    assert error["code"] == "other_coupon"


def test_a_coupon_for_a_plan_leaves_the_lines_of_others_alone(api: Api, subscription: str) -> None:
    coupon(api, "SMALL", percent="50", plan_codes=["small"])
    api.post(f"{subscription}/coupon-redemptions", {"code": "SMALL", "from_day": "2026-05-01"})
    wish = {"action": "change", "plan_code": "large", "from_day": "2026-05-11"}
    after = api.post(f"{subscription}/preview", wish)["attributes"]["after"]
    assert [line["amount_minor"] for line in after["lines"]] == [50_00, 420_00]
    coupon(api, "LARGE", percent="50", plan_codes=["large"])
    body = {"code": "LARGE", "from_day": "2026-05-01"}
    error = api.refused("POST", f"{subscription}/coupon-redemptions", 409, json=body)
    assert error["code"] == "coupon_other_plan"


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"redeem_until": "2020-01-01"}, "coupon_not_valid"),
        ({"redeem_from": "2090-01-01"}, "coupon_not_valid"),
        ({"max_redemptions": 1}, "coupon_used_up"),
        ({"percent": None, "amounts": {"USD": 5_00}}, "currency_not_priced"),
    ],
)
def test_a_coupon_that_is_not_to_be_had_is_refused(
    api: Api, subscription: str, said: dict[str, Any], code: str
) -> None:
    made = coupon(api, "ONE", **{"percent": "10", **said})
    if code == "coupon_used_up":
        first = api.post(
            f"{subscription}/coupon-redemptions", {"code": "ONE", "from_day": "2026-05-01"}
        )
        api.post(f"/coupon-redemptions/{first['id']}/remove", {"from_day": "2026-06-01"})
    body = {"code": "ONE", "from_day": "2026-07-01"}
    assert api.refused("POST", f"{subscription}/coupon-redemptions", 409, json=body)["code"] == code
    withdrawn = api.post(f"/coupons/{made['id']}/withdraw")
    assert withdrawn["attributes"]["withdrawn_at"]
    assert api.get("/coupons")[0]["attributes"]["code"] == "ONE"


def test_everything_wrong_with_a_coupon_is_named(api: Api, subscription: str) -> None:
    assert subscription
    body = {
        "code": "BAD", "name": "Bad", "duration": "once", "periods": 3, "amounts": {"XXX": 1},
        "percent": "5", "redeem_from": "2026-05-02", "redeem_until": "2026-05-01",
    }  # fmt: skip
    error = api.refused("POST", "/coupons", 400, json=body)
    assert {one["field"] for one in error["fields"]} == {
        "amounts.XXX", "percent", "periods", "redeem_until",
    }  # fmt: skip
