"""Commands that are sent twice happen once."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from billing.access.roles import Role
from tests.support.api import Api
from tests.support.bodies import create_items, open_account, sms_charge, tax_profile

KEY = {"Idempotency-Key": "request-1"}


def _count(api: Api) -> int:
    return int(api.get("/audit?limit=1")[0]["id"])


def test_a_repeated_command_gives_the_first_result_and_does_nothing(api: Api) -> None:
    body = {"code": "acme", "name": "Acme"}
    first = api.post("/customers", body, headers=KEY)
    entries = _count(api)
    api.clock.advance(timedelta(days=1))
    assert api.post("/customers", body, headers=KEY) == first
    assert _count(api) == entries


def test_the_same_key_for_something_else_is_a_conflict(api: Api) -> None:
    api.post("/customers", {"code": "acme", "name": "Acme"}, headers=KEY)
    for path, body in (
        ("/customers", {"code": "other", "name": "Acme"}),
        ("/price-plans", {"code": "acme", "name": "Acme"}),
    ):
        error = api.refused("POST", path, 409, json=body, headers=KEY)
        assert error["code"] == "idempotency_key_reused"
    assert api.get("/price-plans") == []


def test_a_failed_command_leaves_its_key_free(api: Api) -> None:
    api.refused("POST", "/customers", 400, json={"code": "!", "name": "X"}, headers=KEY)
    api.post("/customers", {"code": "taken", "name": "X"})
    api.refused("POST", "/customers", 409, json={"code": "taken", "name": "Y"}, headers=KEY)
    assert api.post("/customers", {"code": "free", "name": "Z"}, headers=KEY)


def test_keys_of_different_callers_are_different_keys(api: Api) -> None:
    first = api.post("/customers", {"code": "acme", "name": "Acme"}, headers=KEY)
    other = api.post(
        "/customers", {"code": "other", "name": "Other"}, headers=KEY, role=Role.FINANCE_ADMIN
    )
    assert other["id"] != first["id"]


def test_of_many_at_once_with_one_key_one_happens_and_all_get_its_result(api: Api) -> None:
    call = ("POST", "/api/v1/customers", {"json": {"code": "acme", "name": "A"}, "headers": KEY})
    answers = api.together(*[call] * 6)
    assert [answer.status_code for answer in answers] == [201] * 6
    assert len({answer.json()["data"]["id"] for answer in answers}) == 1
    assert len(api.get("/audit?command=customer.create")) == 2  # and the test's key holder


def test_every_kind_of_result_can_be_given_again(
    api: Api, new_customer: Callable[[str], str]
) -> None:
    """Results are found by their primary key, which not always is one UUID."""
    create_items(api)
    customer = new_customer("acme")
    account = open_account(api, customer, "acme-main")["id"]
    plan = api.post("/price-plans", {"code": "starter", "name": "Starter"})["id"]
    rate = {"currency": "USD", "rate_date": "2026-07-01", "inr_per_unit": "88", "source": "RBI"}
    commands: list[tuple[str, Any]] = [
        ("/fx-rates", rate),
        (f"/customers/{customer}/tax-profiles", tax_profile()),
        (f"/accounts/{account}/suspend", None),
        (f"/accounts/{account}/aliases", {"alias": "acme", "valid_from": "2026-07-01"}),
        (f"/price-plans/{plan}/versions", {"charges": [sms_charge()]}),
        ("/wallets", {"account_id": account}),
    ]
    for number, (path, body) in enumerate(commands):
        headers = {"Idempotency-Key": f"k-{number}"}
        assert api.post(path, body, headers=headers) == api.post(path, body, headers=headers)
    wallet = api.get("/wallets")[0]["id"]
    payment = {"amount_minor": 100, "reference": "neft-1"}
    top_up = f"/wallets/{wallet}/top-ups"
    headers = {"Idempotency-Key": "k-topup"}
    assert api.post(top_up, payment, headers=headers) == api.post(top_up, payment, headers=headers)


@pytest.mark.parametrize("key", ["", "x" * 201, "two words", "tab\there", "ümlaut".encode()])
def test_a_key_that_is_no_plain_text_is_refused(api: Api, key: str | bytes) -> None:
    body = {"code": "acme", "name": "Acme"}
    error = api.refused("POST", "/customers", 400, json=body, headers={"Idempotency-Key": key})
    assert [wrong["field"] for wrong in error["fields"]] == ["Idempotency-Key"]
