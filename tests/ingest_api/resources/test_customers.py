"""Customers and their tax profiles over HTTP."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.support.api import Api
from tests.support.bodies import tax_profile
from tests.support.factories.parties import gstin


def test_a_customer_is_created_read_and_changed(api: Api) -> None:
    body = {"code": "acme", "name": "Acme Retail", "email": "ap@acme.example"}
    created = api.post("/customers", body)
    assert created["type"] == "customer"
    assert created["attributes"] | body == created["attributes"]

    api.clock.advance(timedelta(hours=1))
    changed = api.call("PATCH", f"/api/v1/customers/{created['id']}", json={"name": "Acme"})
    assert changed.status_code == 200
    read = api.get(f"/customers/{created['id']}")
    assert read == changed.json()["data"]
    assert read["attributes"]["name"] == "Acme"
    assert read["attributes"]["email"] == "ap@acme.example"
    assert read["attributes"]["updated_at"] > read["attributes"]["created_at"]


def test_an_email_can_be_taken_away_but_a_name_cannot(api: Api) -> None:
    customer = api.post("/customers", {"code": "acme", "name": "Acme", "email": "a@b.example"})
    path = f"/api/v1/customers/{customer['id']}"
    cleared = api.call("PATCH", path, json={"email": None})
    assert cleared.json()["data"]["attributes"]["email"] is None
    assert api.call("PATCH", path, json={"name": None}).status_code == 400


def test_a_code_is_taken_once(api: Api, new_customer: Callable[[str], str]) -> None:
    new_customer("acme")
    error = api.refused("POST", "/customers", 409, json={"code": "acme", "name": "Other"})
    assert error["code"] == "code_taken"


def test_pages_hold_every_customer_once_and_end(
    api: Api, new_customer: Callable[[str], str]
) -> None:
    wanted = {new_customer(f"shop-{number}") for number in range(5)}
    seen: list[str] = []
    after = ""
    while True:
        answer = api.call("GET", f"/api/v1/customers?search=SHOP-&limit=2{after}").json()
        seen += [row["id"] for row in answer["data"]]
        if answer["meta"]["page"]["next"] is None:
            break
        after = f"&after={answer['meta']['page']['next']}"
    assert len(seen) == 5
    assert set(seen) == wanted


def test_search_takes_wildcards_as_letters(api: Api, new_customer: Callable[[str], str]) -> None:
    new_customer("acme")
    assert api.get("/customers?search=%25") == []


def test_tax_profiles_are_dated_and_kept(api: Api, new_customer: Callable[[str], str]) -> None:
    path = f"/customers/{new_customer('acme')}/tax-profiles"
    api.post(path, tax_profile())
    api.post(path, tax_profile(valid_from="2026-09-01", gstin=gstin("27"), state_code="27"))
    assert [row["attributes"]["valid_from"] for row in api.get(path)] == [
        "2026-09-01",
        "2026-04-01",
    ]
    error = api.refused("POST", path, 409, json=tax_profile())
    assert error["code"] == "tax_profile_exists"


def test_a_gstin_is_normalised_and_gives_the_state(
    api: Api, new_customer: Callable[[str], str]
) -> None:
    path = f"/customers/{new_customer('acme')}/tax-profiles"
    typed = gstin("29").lower()
    profile = api.post(path, tax_profile(gstin=f" {typed[:2]}-{typed[2:]}", state_code=None))
    assert profile["attributes"]["gstin"] == gstin("29")
    assert profile["attributes"]["state_code"] == "29"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"gstin": None}, "gstin"),
        ({"gstin": "29AAACO1234F1ZA"}, "gstin"),
        ({"state_code": "27"}, "state_code"),
        ({"state_code": "77"}, "state_code"),
        ({"tax_kind": "uin"}, "gstin"),
        ({"tax_kind": "overseas", "gstin": None}, "country"),
        ({"own_establishment": True}, "own_establishment"),
        ({"tax_kind": "overseas", "country": "US"}, "gstin"),
        ({"tax_kind": "unregistered", "gstin": None, "state_code": None}, "state_code"),
        ({"tax_kind": "unregistered"}, "gstin"),
        ({"country": "US"}, "country"),
        ({"postal_code": "0"}, "postal_code"),
    ],
)
def test_a_tax_profile_that_contradicts_itself_is_refused(
    api: Api, new_customer: Callable[[str], str], change: dict[str, str], field: str
) -> None:
    path = f"/customers/{new_customer('acme')}/tax-profiles"
    error = api.refused("POST", path, 400, json=tax_profile(**change))
    assert field in {wrong["field"] for wrong in error["fields"]}
    assert api.get(path) == []
