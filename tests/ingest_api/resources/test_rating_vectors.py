"""Worked amounts of other billing systems, through the preview of prices and the other doors.

Every row is equal through one of them, or listed in `tests.support.rating_vectors` with what is
against it.
"""

from decimal import Decimal
from typing import Any

from tests.support.api import Api
from tests.support.bodies import create_items
from tests.support.rating_vectors import (
    BY_ID,
    CASES,
    FLAWED,
    OTHER_DOORS,
    VECTORS,
    body_of,
    changes_of,
    comes_to,
    is_priced,
    other_items,
    priced_cases,
    seats_body,
    sliced,
    tiers_of,
)


def batched(calls: list[Any]) -> list[list[Any]]:
    """As many at once as there are connections."""
    return [calls[start : start + 8] for start in range(0, len(calls), 8)]


def test_every_row_has_a_door_or_is_listed_and_the_list_does_not_grow() -> None:
    listed = [*FLAWED, *OTHER_DOORS]
    assert len(set(listed)) == len(listed)
    assert set(listed) <= set(BY_ID)
    priced = [row for row in VECTORS if is_priced(row)]
    assert {row["model"] for row in priced} == set(CASES)
    assert (len(priced), len(OTHER_DOORS), len(FLAWED)) == (190, 13, 6)


def test_every_row_that_a_price_can_say_is_previewed_as_published(api: Api) -> None:
    create_items(api)
    for item in other_items():
        api.post("/billable-items", item)
    cases = priced_cases()
    calls = [
        ("POST", "/api/v1/pricing/preview", {"json": body})
        for case in cases.values()
        for _, body in case
    ]
    answers = (answer for batch in batched(calls) for answer in api.together(*batch))
    wrong = {}
    for number, case in cases.items():
        found = []
        for sign, _ in case:
            answer = next(answers)
            assert answer.status_code == 200, (number, answer.text)
            one = answer.json()["data"]["attributes"]
            found.append((sign, Decimal(one["amount"]), one["amount_minor"], one["currency"]))
        got = comes_to(BY_ID[number], found)
        if got != Decimal(BY_ID[number]["expected_amount"]):
            wrong[number] = got
    assert not wrong


def test_a_last_tier_with_an_end_is_refused(api: Api) -> None:
    create_items(api)
    row = BY_ID["v066"]
    body = body_of("graduated", tiers_of(row["params"]), row["usage"])
    error = api.refused("POST", "/pricing/preview", 400, json=body)
    assert [found["field"] for found in error["fields"]] == ["charge.rates.0.tiers"]


def test_slices_of_a_period_add_up_to_the_whole(api: Api) -> None:
    """The published amount for the second slice is 20, so that 2,700 units would bill 40."""
    create_items(api)
    row = BY_ID["v236"]
    size = {"package_size": row["params"]["divide_by"]}
    tiers = [{"unit_price": row["params"]["unit_amount"]}]
    amounts = [
        Decimal(api.post("/pricing/preview", body)["attributes"]["amount"])
        for _, body in sliced(row["usage"], lambda used: body_of("package", tiers, used, **size))
    ]
    assert amounts == [30, 20]


def test_a_quantity_between_whole_bounds_is_never_free(api: Api) -> None:
    """The source of v096 has a gap between 99 and 100 that bills nothing."""
    create_items(api)
    body = body_of("volume", tiers_of(BY_ID["v096"]["params"]), "99.5")
    assert api.post("/pricing/preview", body)["attributes"]["amount"] == "49.75"


def test_the_noise_of_a_float_is_refused(api: Api) -> None:
    """The source rounds 17.9699999999999988631316 credits to 17.97."""
    create_items(api)
    body = body_of("per_unit", [{"unit_price": "1"}], BY_ID["v340"]["usage"]["credits"])
    error = api.refused("POST", "/pricing/preview", 400, json=body)
    assert [found["field"] for found in error["fields"]] == ["quantity"]


def test_seats_that_nobody_has_are_not_given_back(api: Api) -> None:
    """The source of v248 bills nothing for 95 seats fewer than none, not even the first tier."""
    for item in other_items():
        api.post("/billable-items", item)
    row = BY_ID["v248"]
    held, full = changes_of(row["usage"])
    assert [seats for seats, _ in held] == [5, -95]
    tiers = tiers_of(row["params"])
    body = seats_body("graduated", tiers, held, full)
    error = api.refused("POST", "/pricing/preview", 400, json=body)
    assert [found["field"] for found in error["fields"]] == ["held.1.quantity"]
    all_back = seats_body("graduated", tiers, [(5, 2), (0, 10)], full)
    assert api.post("/pricing/preview", all_back)["attributes"]["amount_minor"] == 10333
