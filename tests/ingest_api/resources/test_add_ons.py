"""Add-ons over HTTP: beside a plan, in its periods, with quantities and ends of their own."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from billing.db.unit_of_work import unit_of_work
from tests.support.api import Api
from tests.support.bodies import (
    SMS_ITEM,
    create_items,
    create_plan,
    draft,
    open_account,
    platform_charge,
    sms_charge,
)
from tests.support.factories.events import store_event


def number_charge(code: str = "number") -> dict[str, Any]:
    return {**platform_charge("62"), "code": code, "name": "Dedicated number"}


def create_add_on(api: Api, code: str, *charges: dict[str, Any], **terms: Any) -> None:
    plan = api.post("/price-plans", {"code": code, "name": code.title(), "is_add_on": True})
    assert plan["attributes"]["is_add_on"]
    version = draft(api, plan["id"], *charges, **terms)
    api.post(f"/plan-versions/{version['id']}/publish")


def create_calls(api: Api) -> None:
    """An add-on with a price for calls."""
    api.post("/billable-items", {**SMS_ITEM, "code": "voice", "event_type": "otp.voice"})
    create_add_on(api, "calls", sms_charge(code="calls", item_code="voice"))


@pytest.fixture
def path(api: Api, new_customer: Callable[[str], str]) -> str:
    """The path of a subscription at ₹310 a month from the 1st of May, and an add-on for ₹62."""
    create_items(api)
    create_plan(api, "small", platform_charge("310"), sms_charge())
    create_plan(api, "large", platform_charge("620"), sms_charge())
    create_add_on(api, "number", number_charge())
    account = open_account(api, new_customer("acme"), "acme-main", billing_mode="postpaid")
    body = {"account_id": account["id"], "plan_code": "small", "starts_on": "2026-05-01"}
    return f"/subscriptions/{api.post('/subscriptions', body)['id']}"


def segments(found: Any) -> list[tuple[bool, str, str, str | None, str]]:
    """Whether of an add-on, phase, days and quantity."""
    return [
        (
            one["add_on_id"] is not None,
            one["phase"],
            one["starts_on"],
            one["ends_on"],
            one["quantity"],
        )
        for one in found["attributes"]["segments"]
    ]


def billed(api: Api, path: str, **wish: Any) -> dict[str, int]:
    """What the period would bill after a wish, by charge."""
    after = api.post(f"{path}/preview", wish)["attributes"]["after"]
    found: dict[str, int] = {}
    for line in after["lines"]:
        found[line["charge_code"]] = found.get(line["charge_code"], 0) + line["amount_minor"]
    return found


def test_an_add_on_is_billed_by_its_days_changes_and_ends_by_itself(api: Api, path: str) -> None:
    wish = {"plan_code": "number", "from_day": "2026-05-11", "quantity": "2"}
    assert billed(api, path, action="add_on", **wish) == {"platform": 310_00, "number": 84_00}
    added = api.post(f"{path}/add-ons", wish)
    add_on = added["attributes"]["segments"][1]["add_on_id"]
    seats = {"add_on_id": add_on, "quantity": "1", "from_day": "2026-05-21"}
    # 10 days of two numbers, 11 days of one
    assert billed(api, path, action="seats", **seats) == {"platform": 310_00, "number": 62_00}
    api.post(f"{path}/seats", seats)
    end = {"add_on_id": add_on, "ends_on": "2026-05-26"}
    assert billed(api, path, action="end", **end)["number"] == 50_00
    ended = api.post(f"{path}/end", end)
    assert ended["attributes"]["status"] == "active"
    assert segments(ended) == [
        (False, "active", "2026-05-01", None, "1"),
        (True, "active", "2026-05-11", "2026-05-21", "2"),
        (True, "active", "2026-05-21", "2026-05-26", "1"),
    ]
    kinds = [one["attributes"]["kind"] for one in api.get(f"{path}/changes")]
    assert kinds == ["start", "add_on", "seats", "remove_add_on"]
    for change in reversed(api.get(f"{path}/changes")[1:]):
        undone = api.post(f"{path}/changes/{change['id']}/undo")
    assert segments(undone) == [(False, "active", "2026-05-01", None, "1")]


def test_add_ons_pause_and_end_with_the_plan_and_outlive_its_changes(api: Api, path: str) -> None:
    wish = {"plan_code": "number", "from_day": "2026-05-01"}
    api.post(f"{path}/add-ons", wish)
    api.post(f"{path}/change", {"plan_code": "large", "from_day": "2026-05-11"})
    api.post(f"{path}/pause", {"from_day": "2026-05-16", "resume_on": "2026-06-01"})
    resumed = api.get(path)
    assert [one for one in segments(resumed) if one[0]] == [
        (True, "active", "2026-05-01", "2026-05-16", "1"),
        (True, "paused", "2026-05-16", "2026-06-01", "1"),
        (True, "active", "2026-06-01", None, "1"),
    ]
    assert billed(api, path, action="end", ends_on="2026-06-16") == {
        "platform": 310_00, "number": 31_00,
    }  # fmt: skip
    ended = api.post(f"{path}/end", {"ends_on": "2026-06-16"})
    assert [one[3] for one in segments(ended)[-2:]] == ["2026-06-16", "2026-06-16"]


def test_usage_of_an_add_on_is_billed_from_its_first_day(api: Api, path: str) -> None:
    create_calls(api)
    account = UUID(api.get(path)["relationships"]["account"]["id"])
    with unit_of_work(api.engine) as session:
        for day in (10, 11, 20):
            at = datetime(2026, 5, day, 12, tzinfo=UTC)
            said = {"country": "IN", "status": "sent"}
            store_event(session, account, at, event_type="otp.voice", dimensions=said)
            store_event(session, account, at, dimensions=said)
    wish = {"plan_code": "calls", "from_day": "2026-05-11"}
    # 22 paise each: three texts of the plan, two calls
    assert billed(api, path, action="add_on", **wish) == {
        "platform": 310_00,
        "sms": 66,
        "calls": 44,
    }


def test_prepaid_an_add_on_is_sold_if_its_usage_can_be_debited(
    api: Api, new_customer: Callable[[str], str], path: str
) -> None:
    create_calls(api)
    bands = {"currency": "INR", "tiers": [{"up_to": "10"}, {"flat_amount": "5"}]}
    steps = sms_charge(bands, code="steps", item_code="voice", price_model="stairstep")
    create_add_on(api, "steps", steps)
    account = open_account(api, new_customer("purse"), "purse")
    body = {"account_id": account["id"], "plan_code": "small", "starts_on": "2026-05-01"}
    path = f"/subscriptions/{api.post('/subscriptions', body)['id']}/add-ons"
    wish = {"plan_code": "steps", "from_day": "2026-05-11"}
    assert api.refused("POST", path, 409, json=wish)["code"] == "not_for_prepaid"
    api.post(path, wish | {"plan_code": "calls"})


def test_what_does_not_go_together_is_refused(api: Api, path: str) -> None:
    create_add_on(api, "same-code", number_charge("platform"))
    create_add_on(api, "yearly", number_charge("yearly"), interval="year")
    create_add_on(api, "same-events", sms_charge(code="texts"))
    may = {"from_day": "2026-05-11"}
    for code, refused in (
        ("small", "not_an_add_on"),
        ("same-code", "charge_code_taken"),
        ("same-events", "events_priced_twice"),
        ("yearly", "other_interval"),
    ):
        wish = {"plan_code": code, **may}
        assert api.refused("POST", f"{path}/add-ons", 409, json=wish)["code"] == refused
    wish = {"plan_code": "number", **may}
    assert api.refused("POST", f"{path}/change", 409, json=wish)["code"] == "is_add_on"
    api.post(f"{path}/add-ons", wish)
    assert api.refused("POST", f"{path}/add-ons", 409, json=wish)["code"] == "charge_code_taken"
    create_plan(api, "same", number_charge(), sms_charge())
    other = {"plan_code": "same", **may}
    assert api.refused("POST", f"{path}/change", 409, json=other)["code"] == "charge_code_taken"
    (small,) = {one["plan_version_id"] for one in api.get(path)["attributes"]["segments"][:1]}
    small_plan = api.get(f"/plan-versions/{small}")["relationships"]["price_plan"]["id"]
    newer = draft(api, small_plan, number_charge(), sms_charge())["id"]
    api.post(f"/plan-versions/{newer}/publish")
    (stays,) = api.post(f"/plan-versions/{newer}/migrations/preview", {"when": "2026-05-11"})[
        "attributes"
    ]["report"]
    assert stays["code"] == "charge_code_taken"
    create_calls(api)
    api.post(f"{path}/add-ons", {"plan_code": "calls", **may})
    create_plan(api, "with-calls", sms_charge(code="talk", item_code="voice"))
    other = {"plan_code": "with-calls", **may}
    assert api.refused("POST", f"{path}/change", 409, json=other)["code"] == "events_priced_twice"
    plan = api.post("/price-plans", {"code": "annual", "name": "Annual"})
    version = draft(api, plan["id"], platform_charge("3000"), interval="year")
    api.post(f"/plan-versions/{version['id']}/publish")
    longer = {"plan_code": "annual", "from_day": "2026-06-01"}
    assert api.refused("POST", f"{path}/change", 409, json=longer)["code"] == "has_add_ons"
    unknown = {"add_on_id": plan["id"], "ends_on": "2026-06-01"}
    api.refused("POST", f"{path}/end", 404, json=unknown)
