"""Prices previewed over HTTP, and the published examples of other systems through that door."""

from typing import Any

import pytest

from billing.access.roles import Role
from tests.support.api import Api
from tests.support.bodies import (
    PLATFORM_ITEM,
    SMS_ITEM,
    create_items,
    platform_charge,
    rate,
    sms_charge,
)

TIERS = [
    {"up_to": "100", "unit_price": "0.20"},
    {"up_to": "500", "unit_price": "0.15"},
    {"unit_price": "0.10"},
]
BANDS = [{"up_to": "5", "flat_amount": "100"}, {"flat_amount": "150"}]
USERS = SMS_ITEM | {"code": "users", "aggregation": "unique", "property_name": "user"}


OF_A_PERIOD = {"charge": platform_charge(), "quantity": "1"}
SCARCE = sms_charge(rate("1", currency="USD"), code="users", item_code="users")


def _together(**other: Any) -> dict[str, Any]:
    """Messages or users, whichever is more; and what else the messages have."""
    users = sms_charge(code="users", item_code="users", dearest_of="traffic")
    messages = sms_charge(dearest_of="traffic") | other
    return {"charge": messages, "quantity": "1", "beside": [{"charge": users, "quantity": "1"}]}


def _seats(*tiers: dict[str, Any], **other: Any) -> dict[str, Any]:
    """Three seats, and five on the two days after."""
    rates = [{"currency": "INR", "tiers": list(tiers)}]
    charge = platform_charge() | {"item_code": "seat", "price_model": "licence", "rates": rates}
    return {
        "charge": charge | {"tier_mode": "graduated"} | other,
        "held": [{"quantity": "3", "days": 1}, {"quantity": "5", "days": 2}],
    }


def _charge(model: str, *tiers: dict[str, Any], **other: Any) -> dict[str, Any]:
    body = {"currency": "INR", "tiers": list(tiers)}
    return sms_charge(body, price_model=model, match_dimensions=[], **other)


@pytest.mark.parametrize(
    ("charge", "quantity", "amount"),
    [
        (_charge("per_unit", {"unit_price": "0.1175"}), "4125", "484.6875"),
        (_charge("graduated", *TIERS), "600", "90"),
        (_charge("volume", *TIERS), "600", "60"),
        (_charge("volume", *TIERS), "500", "75"),
        (_charge("stairstep", *BANDS), "5.5", "150"),
        (_charge("package", {"unit_price": "8"}, package_size="100", free_units="20"), "245", "24"),
        (platform_charge("999"), "3", "2997"),
    ],
)  # fmt: skip
def test_every_price_model_is_previewed(
    api: Api, charge: dict[str, Any], quantity: str, amount: str
) -> None:
    create_items(api)
    found = api.post("/pricing/preview", {"charge": charge, "quantity": quantity})["attributes"]
    assert found["amount"] == amount
    assert sum(line["amount_minor"] for line in found["lines"]) == found["amount_minor"]


def test_events_are_filtered_counted_and_matched_and_nothing_is_stored(api: Api) -> None:
    create_items(api)
    charge = sms_charge(rate("0.22", country="IN"))
    events = [
        {"dimensions": {"country": "IN", "status": "delivered"}, "quantity": "2"},
        {"dimensions": {"country": "IN", "status": "failed"}},
        {"dimensions": {"country": "US", "status": "sent"}},
    ]
    body = {"charge": charge, "events": events}
    found = api.post("/pricing/preview", body, role=Role.PRODUCT_ANALYST)["attributes"]
    assert (found["amount"], found["lines"][0]["quantity"]) == ("0.44", "2")
    assert [usage["dimensions"]["country"] for usage in found["unpriced"]] == ["US"]
    assert api.get("/price-plans") == []


@pytest.mark.parametrize(
    ("read", "amount"),
    [
        ({"aggregation": "max", "property_name": "peak"}, "30"),
        ({"aggregation": "latest", "property_name": "peak"}, "7"),
        ({"aggregation": "latest"}, "2"),
        ({"aggregation": "unique", "property_name": "user"}, "2"),
        ({"aggregation": "sum", "property_name": "peak"}, "49"),
        ({"aggregation": "sum", "conversion": "sms_segments"}, "9"),
        ({"aggregation": "max", "conversion": "sms_segments", "property_name": "peak"}, "2"),
    ],
)
def test_an_item_reads_its_events(api: Api, read: dict[str, str], amount: str) -> None:
    create_items(api)
    item = api.post("/billable-items", SMS_ITEM | read | {"code": "read"})["attributes"]
    assert {name: item[name] for name in read} == read
    said = [
        {"peak": "12", "user": "a", "message_length": "160", "encoding": "gsm7"},
        {"peak": "30", "user": "b", "message_length": "161", "encoding": "gsm7"},
        {"peak": "7", "user": "a", "message_length": "135", "encoding": "ucs2"},
        {"message_length": "long", "encoding": "gsm7"},
    ]
    events = [
        {"quantity": quantity, "dimensions": one | {"status": "sent"}}
        for quantity, one in zip("1122", said, strict=True)
    ]
    charge = _charge("per_unit", {"unit_price": "1"}, item_code="read")
    found = api.post("/pricing/preview", {"charge": charge, "events": events})["attributes"]
    assert found["amount"] == amount
    silent = [usage["event_count"] for usage in found["unpriced"]]
    assert silent == ([] if read == {"aggregation": "latest"} else [1])


def test_rounding_and_the_tier_that_priced_everything_are_told(api: Api) -> None:
    create_items(api)
    charge = _charge("volume", {"up_to": "10", "unit_price": "0.333"}, {"unit_price": "0.111"})
    found = api.post("/pricing/preview", {"charge": charge, "quantity": "11"})["attributes"]
    assert (found["amount"], found["amount_minor"], found["rounding"]) == ("1.221", 122, "-0.001")
    assert found["lines"][0]["tier_breakdown"] == [
        {
            "from": "10",
            "to": None,
            "units": "11",
            "unit_price": "0.111",
            "flat_amount": "0",
            "amount": "1.221",
        }
    ]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"charge": sms_charge(item_code="nothing"), "quantity": "1"}, "charge.item_code"),
        (
            {"charge": _charge("stairstep", {"unit_price": "1"}), "quantity": "1"},
            "charge.rates.0.tiers.0.unit_price",
        ),
        (
            {"charge": _charge("volume", {"up_to": "5", "unit_price": "1"}), "quantity": "1"},
            "charge.rates.0.tiers",
        ),
        ({"charge": sms_charge(), "quantity": "1", "currency": "USD"}, "currency"),
        (
            {"charge": sms_charge(rate("1"), rate("1", currency="USD")), "quantity": "1"},
            "currency",
        ),
        ({"charge": platform_charge(), "events": []}, "events"),
        ({"charge": sms_charge(), "quantity": "-1"}, "quantity"),
        ({"charge": sms_charge(dearest_of="g"), "quantity": "1"}, "charge.dearest_of"),
        ({"charge": platform_charge() | {"dearest_of": "g"}, "quantity": "1"}, "charge.dearest_of"),
        (_together(limits=[{"currency": "INR", "minimum": "5"}]), "charge.limits.0.minimum"),
        ({"charge": sms_charge(tier_mode="volume"), "quantity": "1"}, "charge.tier_mode"),
        ({"charge": sms_charge(), "held": [{"quantity": "1", "days": 1}]}, "held"),
        (_seats({"up_to": "5", "unit_price": "1"}), "charge.rates.0.tiers"),
        (_seats({"package_size": "5"}), "charge.rates.0.tiers.0.package_size"),
        (_seats({"unit_price": "1"}, tier_mode=None), "charge.rates.0.tiers.0.unit_price"),
        (_seats({}, {}, tier_mode=None), "charge.rates.0.tiers"),
        (_seats({}) | {"days": {"billed": 4, "full": 30}}, "days.billed"),
        (_seats({}) | {"held": [{"quantity": "1", "days": 366}] * 2}, "days.billed"),
        (_together(free_pool="pool", free_units="5"), "charge.free_pool"),
        (_together(code="users"), "beside.0.charge.code"),
        (_together() | {"beside": [OF_A_PERIOD]}, "beside.0.charge.price_model"),
        (_together() | {"beside": [{"charge": SCARCE, "quantity": "1"}]}, "currency"),
    ],
)
def test_what_could_not_be_published_or_used_is_named(
    api: Api, body: dict[str, Any], path: str
) -> None:
    create_items(api)
    error = api.refused("POST", "/pricing/preview", 400, json=body)
    assert path in {wrong["field"] for wrong in error["fields"]}


def test_usage_is_given_once(api: Api) -> None:
    create_items(api)
    for usage in ({}, {"quantity": "1", "events": []}):
        api.refused("POST", "/pricing/preview", 400, json={"charge": sms_charge(), **usage})


def test_of_charges_in_a_group_the_dearest_is_billed_and_the_first_of_equal_ones(api: Api) -> None:
    create_items(api)
    api.post("/billable-items", USERS)
    group = {"dearest_of": "traffic", "match_dimensions": []}
    body = {
        "charge": sms_charge(rate("0.10"), **group),
        "quantity": "50",
        "beside": [
            {
                "charge": sms_charge(rate("5"), code="users", item_code="users", **group),
                "events": [
                    {"dimensions": {"user": name, "status": "sent"}, "quantity": "9"}
                    for name in ("a", "b", "a")
                ],
            }
        ],
    }
    billed = {}
    for quantity in ("50", "100", "101"):
        found = api.post("/pricing/preview", body | {"quantity": quantity})["attributes"]
        billed[quantity] = {one["charge_code"]: one["amount"] for one in found["lines"]}
    assert billed == {
        "50": {"sms": "0", "users": "10"},
        "100": {"sms": "10", "users": "0"},
        "101": {"sms": "10.1", "users": "0"},
    }
    left_out = next(one for one in found["lines"] if one["charge_code"] == "users")
    assert left_out["tier_breakdown"][-1] == {"kind": "dearest", "charge": "SMS", "amount": "-10"}


def test_charges_that_share_free_units_are_previewed_together(api: Api) -> None:
    create_items(api)
    api.post("/billable-items", USERS)
    pool = {"free_pool": "pool", "free_units": "60", "match_dimensions": []}
    users = sms_charge(rate("5"), code="users", item_code="users", **pool)
    body = {
        "charge": sms_charge(rate("0.10"), **pool),
        "quantity": "50",
        "beside": [{"charge": users, "quantity": "12"}],
    }
    assert api.post("/pricing/preview", body)["attributes"]["amount"] == "10"


def test_the_days_of_seats_in_tiers_are_told_and_a_tier_bills_once(api: Api) -> None:
    api.post("/billable-items", PLATFORM_ITEM | {"code": "seat", "kind": "licence"})
    tiers = [{"up_to": "2", "unit_price": "30"}, {"unit_price": "3", "flat_amount": "7"}]
    body = _seats(*tiers) | {"days": {"billed": 3, "full": 30}}
    lines = api.post("/pricing/preview", body)["attributes"]["lines"]
    assert [(line["amount"], line["unit_price"]) for line in lines] == [
        ("9.1", None),
        ("4.6", None),
    ]
    assert lines[1]["tier_breakdown"] == [
        {"from": "0", "to": "2", "units": "2", "unit_price": "30", "flat_amount": "0",
         "amount": "4", "days": "2", "full_days": "30"},
        {"from": "2", "to": None, "units": "3", "unit_price": "3", "flat_amount": "0",
         "amount": "0.6", "days": "2", "full_days": "30"},
    ]  # fmt: skip
