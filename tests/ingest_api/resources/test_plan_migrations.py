"""Moving subscribers to another plan version: tried, done, reported and undone."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from billing.access.roles import Role
from billing.db.unit_of_work import unit_of_work
from billing.overrides.tables import PriceOverride, PriceOverrideTier
from tests.support.api import Api
from tests.support.bodies import (
    create_items,
    create_plan,
    draft,
    open_account,
    platform_charge,
    sms_charge,
)


@pytest.fixture
def world(api: Api, new_customer: Callable[[str], str]) -> dict[str, Any]:
    """Three subscribers of a plan's first version, one of them prepaid, and its second version."""
    create_items(api)
    first = create_plan(api, "small", platform_charge("310"), sms_charge())
    today = api.clock.now().date()
    begun = (today - timedelta(days=40)).isoformat()
    subscriptions, accounts = [], []
    for code, mode in (("one", "postpaid"), ("two", "postpaid"), ("three", "prepaid")):
        account = open_account(api, new_customer(code), code, billing_mode=mode)
        body = {"account_id": account["id"], "plan_code": "small", "starts_on": begun}
        subscriptions.append(api.post("/subscriptions", body)["id"])
        accounts.append(account["id"])
    plan = api.get(f"/plan-versions/{first}")["relationships"]["price_plan"]["id"]
    tiers = {"currency": "INR", "tiers": [{"up_to": "10"}, {"flat_amount": "5"}]}
    bands = sms_charge(tiers, price_model="stairstep")
    second = draft(api, plan, platform_charge("620"), bands)["id"]
    return {
        "plan": plan,
        "first": first,
        "second": second,
        "subscriptions": subscriptions,
        "accounts": accounts,
        "on": (today + timedelta(days=400)).replace(day=1).isoformat(),
    }


def versions_of(api: Api, subscription: str) -> list[str]:
    parts = api.get(f"/subscriptions/{subscription}")["attributes"]["segments"]
    return [part["plan_version_id"] for part in parts]


def test_all_are_tried_then_moved_and_who_cannot_stays(api: Api, world: dict[str, Any]) -> None:
    path = f"/plan-versions/{world['second']}/migrations"
    wish = {"when": world["on"]}
    refused = api.refused("POST", path, 409, json=wish)
    assert refused["code"] == "version_not_published"
    api.post(f"/plan-versions/{world['second']}/publish")
    one, two, three = world["subscriptions"]

    tried = api.post(f"{path}/preview", wish)["attributes"]
    assert (tried["moved"], tried["stayed"]) == (2, 1)
    found = {entry["subscription_id"]: entry for entry in tried["report"]}
    assert (found[one]["difference_minor"], found[one]["effective_on"]) == (310_00, world["on"])
    assert found[three]["code"] == "not_for_prepaid"
    assert api.get(path) == []

    done = api.post(path, wish)
    assert [entry["moved"] for entry in done["attributes"]["report"]] == [True, True, False]
    assert [row["id"] for row in api.get(path)] == [done["id"]]
    both = [world["first"], world["second"]]
    assert [versions_of(api, one), versions_of(api, two)] == [both, both]
    assert versions_of(api, three) == both[:1]
    again = api.post(path, wish)["attributes"]["report"]
    assert [entry["code"] for entry in again[:2]] == ["already_there", "already_there"]

    change = api.get(f"/subscriptions/{one}/changes")[-1]
    assert change["attributes"]["kind"] == "migrate"
    api.post(f"/subscriptions/{one}/changes/{change['id']}/undo")
    assert versions_of(api, one) == both[:1]


def test_one_moves_at_renewal_and_its_agreed_price_ends_with_it(
    api: Api, world: dict[str, Any]
) -> None:
    api.post(f"/plan-versions/{world['second']}/publish")
    one, two, _ = world["subscriptions"]
    with unit_of_work(api.engine) as session:
        override = PriceOverride(
            account_id=world["accounts"][0],
            number=1,
            plan_id=world["plan"],
            charge_code="platform",
            currency="INR",
            match={},
            starts_on=api.clock.now().date() - timedelta(days=30),
            reason="contract",
            created_at=api.clock.now(),
            updated_at=api.clock.now(),
            tiers=[PriceOverrideTier(ordinal=1, flat_amount=100)],
        )
        session.add(override)
        session.flush()
        override_id = override.id
    path = f"/plan-versions/{world['second']}/migrations"
    wish = {"subscription_ids": [one], "when": "renewal", "overrides": "drop"}
    (tried,) = api.post(f"{path}/preview", wish)["attributes"]["report"]
    (kept,) = api.post(f"{path}/preview", {**wish, "overrides": "keep"})["attributes"]["report"]
    assert (tried["difference_minor"], kept["difference_minor"]) == (520_00, 0)
    (moved,) = api.post(path, wish)["attributes"]["report"]
    assert moved["ended_overrides"] == [str(override_id)]
    with unit_of_work(api.engine) as session:
        ends_on = session.get_one(PriceOverride, override_id).ends_on
    assert ends_on is not None
    assert ends_on.isoformat() == moved["effective_on"]
    assert ends_on.day == 1
    assert versions_of(api, two) == [world["first"]]


def test_customers_do_not_see_migrations(api: Api, world: dict[str, Any]) -> None:
    path = f"/plan-versions/{world['first']}/migrations"
    assert api.refused("GET", path, 403, role=Role.CUSTOMER)["code"]
    assert api.refused("POST", f"{path}/preview", 403, role=Role.CUSTOMER, json={})["code"]
