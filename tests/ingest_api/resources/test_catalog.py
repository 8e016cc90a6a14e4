"""Items, plans, versions and their prices over HTTP."""

from typing import Any

import pytest

from tests.support.api import Api
from tests.support.bodies import (
    PLATFORM_ITEM,
    SMS_ITEM,
    create_items,
    create_plan,
    draft,
    platform_charge,
    rate,
    sms_charge,
)


@pytest.fixture
def plan_id(api: Api) -> str:
    """A plan without versions, and the items it may price."""
    create_items(api)
    return str(api.post("/price-plans", {"code": "starter", "name": "Starter"})["id"])


def _graduated(*tiers: dict[str, Any]) -> dict[str, Any]:
    return sms_charge({"currency": "INR", "tiers": list(tiers)}, price_model="graduated")


def test_an_item_counts_events_or_recurs(api: Api) -> None:
    assert api.post("/billable-items", SMS_ITEM)["attributes"]["event_filter"] == {
        "status": ["delivered", "sent"]
    }
    for wrong, field in (
        ({"event_type": None}, "event_type"),
        ({"kind": "recurring"}, "event_type"),
        ({"event_filter": {"colour": ["red"]}}, "event_filter.colour"),
        ({"sac": "99842"}, "sac"),
        ({"aggregation": "count", "property_name": "peak"}, "property_name"),
        ({"aggregation": "unique"}, "property_name"),
        (
            {"aggregation": "unique", "property_name": "user", "conversion": "sms_segments"},
            "conversion",
        ),
    ):
        error = api.refused("POST", "/billable-items", 400, json=SMS_ITEM | {"code": "x"} | wrong)
        assert [found["field"] for found in error["fields"]] == [field]
    fee = PLATFORM_ITEM | {"aggregation": "max"}
    assert api.refused("POST", "/billable-items", 400, json=fee)["code"] == "invalid"
    assert len(api.get("/billable-items")) == 1


def test_what_is_not_added_up_is_sold_beside_what_is_but_not_from_a_deck(
    api: Api, plan_id: str
) -> None:
    """Users and messages are two things of the same events; no wallet is debited for users."""
    users = SMS_ITEM | {"code": "users", "aggregation": "unique", "property_name": "user"}
    api.post("/billable-items", users)
    charge = sms_charge(code="users", item_code="users")
    draft(api, plan_id, sms_charge(), charge)
    path = f"/price-plans/{plan_id}/versions"
    for wrong, field in (
        ({"price_model": "dynamic"}, "charges.0.price_model"),
        (
            {"rates": [], "match_dimensions": [], "rate_deck": "sms-world"},
            "charges.0.rate_deck",
        ),
    ):
        error = api.refused("POST", path, 400, json={"charges": [charge | wrong]})
        assert field in {found["field"] for found in error["fields"]}


def test_a_draft_is_edited_published_and_then_never_changes(api: Api, plan_id: str) -> None:
    version = draft(api, plan_id)
    path = f"/plan-versions/{version['id']}"
    assert version["attributes"]["status"] == "draft"
    edited = api.call("PUT", f"/api/v1{path}/charges", json={"charges": [sms_charge(rate("0.20"))]})
    assert edited.status_code == 200, edited.text
    published = api.post(f"{path}/publish")
    assert published["attributes"]["status"] == "active"
    (tier,) = published["attributes"]["charges"][0]["rates"][0]["tiers"]
    assert (tier["up_to"], tier["unit_price"], tier["flat_amount"]) == (None, "0.2", "0")
    assert api.get(path) == published
    body = {"charges": [sms_charge(rate("0.10"))]}
    assert api.refused("PUT", f"{path}/charges", 409, json=body)["code"] == "version_published"
    assert api.refused("POST", f"{path}/publish", 409)["code"] == "version_published"
    assert api.get(path) == published


def test_publishing_archives_the_version_before(api: Api, plan_id: str) -> None:
    first, second = draft(api, plan_id), draft(api, plan_id, sms_charge())
    api.post(f"/plan-versions/{first['id']}/publish")
    api.post(f"/plan-versions/{second['id']}/publish")
    listed = api.get(f"/price-plans/{plan_id}/versions")
    assert [(row["attributes"]["version"], row["attributes"]["status"]) for row in listed] == [
        (2, "active"),
        (1, "archived"),
    ]


def test_two_drafts_at_once_get_numbers_of_their_own(api: Api, plan_id: str) -> None:
    call = (
        "POST",
        f"/api/v1/price-plans/{plan_id}/versions",
        {"json": {"charges": [sms_charge()]}},
    )
    answers = api.together(call, call, call)
    assert [answer.status_code for answer in answers] == [201] * 3
    numbers = {answer.json()["data"]["attributes"]["version"] for answer in answers}
    assert numbers == {1, 2, 3}


UNSELLABLE = (
    (sms_charge(item_code="nothing"), "charges.0.item_code"),
    (sms_charge(price_model="flat"), "charges.0.price_model"),
    (sms_charge(prorated=True), "charges.0.prorated"),
    (sms_charge(timing="advance"), "charges.0.timing"),
    (sms_charge(match_dimensions=["country", "moon"]), "charges.0.match_dimensions"),
    (sms_charge(match_dimensions=["country", "country"]), "charges.0.match_dimensions"),
    (sms_charge(rate("1", currency="EUR")), "charges.0.rates.0.currency"),
    (sms_charge(rate("0.0000001")), "charges.0.rates.0.tiers.0.unit_price"),
    (sms_charge(rate("1.23456", currency="IDR")), "charges.0.rates.0.tiers.0.unit_price"),
    (sms_charge(rate("1", channel="sms")), "charges.0.rates.0.match.channel"),
    (
        sms_charge({"currency": "INR", "tiers": [{"unit_price": "1", "flat_amount": "1"}]}),
        "charges.0.rates.0.tiers.0.flat_amount",
    ),
    (
        sms_charge({"currency": "INR", "tiers": [{"up_to": "5", "unit_price": "1"}]}),
        "charges.0.rates.0.tiers",
    ),
    (_graduated({"up_to": "10", "unit_price": "1"}), "charges.0.rates.0.tiers"),
    (_graduated({"unit_price": "1"}, {"unit_price": "2"}), "charges.0.rates.0.tiers"),
    (_graduated({"up_to": "0"}, {"unit_price": "2"}), "charges.0.rates.0.tiers"),
    (
        _graduated({"up_to": "20"}, {"up_to": "10"}, {"unit_price": "2"}),
        "charges.0.rates.0.tiers",
    ),
    (
        _graduated({"up_to": "10"}, {"up_to": "10"}, {"unit_price": "2"}),
        "charges.0.rates.0.tiers",
    ),
    (platform_charge() | {"free_units": "5"}, "charges.0.free_units"),
    (
        platform_charge() | {"rates": [{"currency": "INR", "tiers": [{"unit_price": "9"}]}]},
        "charges.0.rates.0.tiers.0.unit_price",
    ),
)
"""Charges that cannot be sold, and the field that says why."""


def test_prices_that_cannot_be_sold_are_named_by_their_path(api: Api, plan_id: str) -> None:
    path = f"/price-plans/{plan_id}/versions"
    for charge, field in UNSELLABLE:
        error = api.refused("POST", path, 400, json={"charges": [charge]})
        assert field in {wrong["field"] for wrong in error["fields"]}, (field, error)
    assert api.get(path) == []


MATCHES: tuple[tuple[dict[str, str], dict[str, str], bool], ...] = (
    ({}, {}, True),
    ({"country": "IN"}, {"country": "IN"}, True),
    ({"country": "IN"}, {"channel": "sms"}, True),
    ({"country": "IN", "channel": "sms"}, {"country": "IN", "status": "sent"}, True),
    ({"country": "IN"}, {"country": "US"}, False),
    ({"country": "IN"}, {}, False),
    ({"country": "IN", "channel": "sms"}, {"channel": "sms"}, False),
    ({"country": "IN", "channel": "sms"}, {"country": "US", "status": "sent"}, False),
)
"""What two rates match, and whether one event could match both equally well."""


def test_rates_that_one_event_could_match_equally_well_are_refused(api: Api, plan_id: str) -> None:
    for one, other, ambiguous in MATCHES:
        charge = sms_charge(
            rate("1", **one), rate("2", **other), match_dimensions=["country", "channel", "status"]
        )
        response = api.call(
            "POST", f"/api/v1/price-plans/{plan_id}/versions", json={"charges": [charge]}
        )
        if not ambiguous:
            assert response.status_code == 201, (one, other, response.text)
            continue
        fields = {wrong["field"] for wrong in response.json()["error"]["fields"]}
        assert fields == {"charges.0.rates.1.match"}, (one, other)


def test_the_same_match_in_two_currencies_is_no_ambiguity(api: Api, plan_id: str) -> None:
    draft(api, plan_id, sms_charge(rate("1"), rate("0.01", currency="USD")))


def test_every_charge_is_priced_in_every_currency_of_the_version(api: Api, plan_id: str) -> None:
    charges = [platform_charge(), sms_charge(rate("1"), rate("0.01", currency="USD"))]
    error = api.refused("POST", f"/price-plans/{plan_id}/versions", 400, json={"charges": charges})
    assert error["fields"] == [{"field": "charges.0.rates", "message": "there is no rate in USD"}]


def test_an_event_is_counted_by_one_charge(api: Api, plan_id: str) -> None:
    api.post("/billable-items", SMS_ITEM | {"code": "sent", "event_filter": {"status": ["sent"]}})
    api.post(
        "/billable-items", SMS_ITEM | {"code": "failed", "event_filter": {"status": ["failed"]}}
    )
    path = f"/price-plans/{plan_id}/versions"
    twice = [sms_charge(), sms_charge(code="again", item_code="sent")]
    error = api.refused("POST", path, 400, json={"charges": twice})
    assert [wrong["field"] for wrong in error["fields"]] == ["charges.1.item_code"]
    apart = [sms_charge(), sms_charge(code="failed", item_code="failed")]
    assert api.post(path, {"charges": apart})["attributes"]["status"] == "draft"


def test_of_hundreds_of_rates_the_one_that_repeats_another_is_named(api: Api, plan_id: str) -> None:
    rates = [rate("0.10", country=f"C{number}") for number in range(499)]
    body = {"charges": [sms_charge(*rates, rate("0.20", country="C17"))]}
    error = api.refused("POST", f"/price-plans/{plan_id}/versions", 400, json=body)
    assert error["fields"] == [
        {
            "field": "charges.0.rates.499.match",
            "message": "an event could match this and rate 17 equally well",
        }
    ]


def test_the_difference_between_versions_is_told_path_by_path(api: Api, plan_id: str) -> None:
    older = draft(api, plan_id)["id"]
    newer = draft(
        api, plan_id, sms_charge(rate("3.90"), rate("0.20", country="IN"), rate("1", country="AE"))
    )["id"]
    diff = api.get(f"/plan-versions/{newer}/diff?against={older}")["attributes"]["changes"]
    told = {(change["path"], change["kind"], change["before"], change["after"]) for change in diff}
    price = "charges.sms.rates.INR[country={}].tiers.1.unit_price"
    assert (price.format("IN"), "changed", "0.22", "0.2") in told
    assert (price.format("AE"), "added", None, "1") in told
    assert ("charges.platform.item", "removed", "platform", None) in told
    assert not any(change[0].startswith("charges.sms.rates.INR[]") for change in told)
    assert api.get(f"/plan-versions/{newer}/diff?against={newer}")["attributes"]["changes"] == []


def test_how_seats_choose_a_tier_is_told_with_the_difference(api: Api, plan_id: str) -> None:
    api.post("/billable-items", PLATFORM_ITEM | {"code": "seat", "kind": "licence"})
    rates = [{"currency": "INR", "tiers": [{"up_to": "5", "unit_price": "9"}, {}]}]
    seats = platform_charge() | {"item_code": "seat", "price_model": "licence", "rates": rates}
    older = draft(api, plan_id, seats | {"tier_mode": "graduated"})["id"]
    newer = draft(api, plan_id, seats | {"tier_mode": "volume"})
    assert newer["attributes"]["charges"][0]["tier_mode"] == "volume"
    diff = api.get(f"/plan-versions/{newer['id']}/diff?against={older}")["attributes"]["changes"]
    path = "charges.platform.tier_mode"
    assert diff == [{"path": path, "kind": "changed", "before": "graduated", "after": "volume"}]


def test_charges_of_which_the_dearest_is_billed_are_told_with_their_group(
    api: Api, plan_id: str
) -> None:
    users = {"code": "users", "aggregation": "unique", "property_name": "user"}
    api.post("/billable-items", SMS_ITEM | users)
    both = sms_charge(), sms_charge(code="users", item_code="users")
    older = draft(api, plan_id, *both)["id"]
    newer = draft(api, plan_id, *(charge | {"dearest_of": "traffic"} for charge in both))
    assert {one["dearest_of"] for one in newer["attributes"]["charges"]} == {"traffic"}
    diff = api.get(f"/plan-versions/{newer['id']}/diff?against={older}")["attributes"]["changes"]
    assert diff == [
        {"path": path, "kind": "changed", "before": "none", "after": "traffic"}
        for path in ("charges.sms.dearest_of", "charges.users.dearest_of")
    ]


def test_unknown_plans_and_versions_are_not_found(api: Api) -> None:
    nobody = "01a1fd27-bde0-703b-a3de-4bcb27aa1eb3"
    api.refused("GET", f"/price-plans/{nobody}", 404)
    api.refused("GET", f"/price-plans/{nobody}/versions", 404)
    api.refused("GET", f"/plan-versions/{nobody}", 404)
    api.refused("POST", f"/plan-versions/{nobody}/publish", 404)
    create_items(api)
    body = {"charges": [sms_charge()]}
    api.refused("POST", f"/price-plans/{nobody}/versions", 404, json=body)
    assert create_plan(api)
