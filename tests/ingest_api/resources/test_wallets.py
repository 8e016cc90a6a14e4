"""Wallets over HTTP: the PostgreSQL side, which Redis follows."""

from collections.abc import Callable
from typing import Any

import pytest

from billing.access.roles import Role
from tests.support.api import Api
from tests.support.bodies import open_account


@pytest.fixture
def wallet(api: Api, new_customer: Callable[[str], str]) -> Any:
    """An empty wallet of a prepaid account in rupees."""
    account = open_account(api, new_customer("acme"), "acme-main")
    return api.post("/wallets", {"account_id": account["id"], "low_balance_minor": 10_000})


def _payment(reference: str = "neft-1", **other: Any) -> dict[str, Any]:
    return {"amount_minor": 50_000, "tax_minor": 9_000, "reference": reference, **other}


def test_a_wallet_begins_empty_and_is_the_accounts_only_one(api: Api, wallet: Any) -> None:
    assert wallet["attributes"]["balance_units"] == 0
    assert wallet["attributes"]["status"] == "suspended"
    assert wallet["attributes"]["currency"] == "INR"
    again = {"account_id": wallet["relationships"]["account"]["id"]}
    assert api.refused("POST", "/wallets", 409, json=again)["code"] == "wallet_exists"


def test_a_postpaid_account_has_no_wallet(api: Api, new_customer: Callable[[str], str]) -> None:
    account = open_account(api, new_customer("acme"), "acme-post", billing_mode="postpaid")
    error = api.refused("POST", "/wallets", 409, json={"account_id": account["id"]})
    assert error["code"] == "not_prepaid"


def test_money_in_moves_the_balance_and_stands_in_the_movements(api: Api, wallet: Any) -> None:
    path = f"/wallets/{wallet['id']}"
    topped = api.post(f"{path}/top-ups", _payment())
    assert topped["attributes"]["balance"] == "500"
    assert topped["attributes"]["status"] == "active"
    api.post(f"{path}/grants", {"amount_minor": 1_000, "reference": "welcome"})
    correction = {"amount_units": -1, "reference": "t-1", "note": "Counted twice"}
    api.post(f"{path}/corrections", correction)

    first = api.call("GET", f"/api/v1{path}/movements?limit=2").json()
    assert [row["attributes"]["kind"] for row in first["data"]] == ["correction", "promotion"]
    rest = api.call(
        "GET", f"/api/v1{path}/movements?limit=2&after={first['meta']['page']['next']}"
    ).json()
    assert [row["attributes"]["amount_units"] for row in rest["data"]] == [500_000_000]
    assert rest["meta"]["page"]["next"] is None
    assert api.get(path)["attributes"]["balance_units"] == 509_999_999


def test_a_payment_is_credited_once_by_its_reference(api: Api, wallet: Any) -> None:
    path = f"/wallets/{wallet['id']}/top-ups"
    call = ("POST", f"/api/v1{path}", {"json": _payment()})
    answers = api.together(call, call, call)
    assert {answer.status_code for answer in answers} == {201}
    assert api.get(f"/wallets/{wallet['id']}")["attributes"]["balance"] == "500"
    other = _payment(amount_minor=1)
    assert api.refused("POST", path, 409, json=other)["code"] == "reference_reused"


def test_limits_are_set_by_finance_and_by_nobody_who_only_reads(api: Api, wallet: Any) -> None:
    path = f"/wallets/{wallet['id']}"
    limits = {"credit_line_minor": 5_000, "low_balance_minor": 20_000}
    changed = api.call("PATCH", f"/api/v1{path}", json=limits, role=Role.FINANCE_ADMIN)
    assert changed.json()["data"]["attributes"]["credit_line_units"] == 50_000_000
    assert changed.json()["data"]["attributes"]["status"] == "low"
    api.refused("PATCH", path, 403, json=limits, role=Role.SUPPORT)


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount_minor": 0},
        {"amount_minor": -5},
        {"amount_minor": 1.5},
        {"amount_minor": "many"},
        {"amount_minor": 10**16},
        {"tax_minor": -1},
        {"reference": ""},
        {"reference": "two words"},
        {"note": "x\x00y"},
        {"currency": "INR"},
    ],
)
def test_a_wrong_payment_changes_nothing(api: Api, wallet: Any, wrong: dict[str, Any]) -> None:
    path = f"/wallets/{wallet['id']}"
    error = api.refused("POST", f"{path}/top-ups", 400, json=_payment() | wrong)
    assert [found["field"] for found in error["fields"]] == list(wrong)
    assert api.get(f"{path}/movements") == []
