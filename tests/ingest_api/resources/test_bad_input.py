"""Wrong input is the caller's mistake: named by field, never our failure, and nothing is kept."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.routing import APIRoute, iter_route_contexts

from ingest_api.gateway import MAX_BODY_BYTES
from tests.support.api import Api
from tests.support.bodies import (
    SMS_ITEM,
    create_items,
    create_plan,
    open_account,
    platform_charge,
    rate,
    sms_charge,
    tax_profile,
)

NUL = "a\x00b"
NOBODY = "01a1fd27-bde0-703b-a3de-4bcb27aa1eb3"
JSON = {"Content-Type": "application/json"}

WRONG_VALUES: list[Any] = [
    None,
    17,
    -1,
    1.5,
    True,
    [],
    {},
    "",
    NUL,
    "x" * 10_000,
    "\U0001f9fe" * 50,
]


@pytest.fixture
def good(api: Api, new_customer: Callable[[str], str]) -> dict[str, dict[str, Any]]:
    """A body that every command would take, by path."""
    create_items(api)
    create_plan(api)
    customer = new_customer("acme")
    account = open_account(api, customer, "acme-main")["id"]
    prepaid = open_account(api, customer, "acme-two")["id"]
    wallet = api.post("/wallets", {"account_id": account})["id"]
    plan = api.post("/price-plans", {"code": "next", "name": "Next"})["id"]
    started = {"account_id": account, "plan_code": "starter", "starts_on": "2026-07-01"}
    subscription = api.post("/subscriptions", started)["id"]
    payment = {"amount_minor": 100, "reference": "neft-1", "note": "Bank transfer"}
    return {
        "/customers": {"code": "other", "name": "Other", "email": "a@b.example"},
        f"/customers/{customer}/tax-profiles": tax_profile(),
        "/accounts": {
            "customer_id": customer,
            "code": "acme-three",
            "name": "Three",
            "billing_mode": "prepaid",
            "currency": "INR",
            "zone": "Asia/Kolkata",
            "payment_terms_days": 15,
        },
        f"/accounts/{account}/aliases": {"alias": "acme", "valid_from": "2026-07-01"},
        "/billable-items": SMS_ITEM | {"code": "another"},
        "/price-plans": {"code": "third", "name": "Third"},
        f"/price-plans/{plan}/versions": {"grace_days": 3, "charges": [sms_charge()]},
        "/subscriptions": started | {"account_id": prepaid, "anchor_day": 5, "quantity": "1"},
        f"/subscriptions/{subscription}/change": {
            "plan_code": "starter",
            "from_day": "2026-08-01",
            "quantity": "2",
        },
        f"/subscriptions/{subscription}/end": {"ends_on": "2026-09-01"},
        "/wallets": {"account_id": prepaid, "credit_line_minor": 0, "low_balance_minor": 0},
        f"/wallets/{wallet}/top-ups": payment | {"tax_minor": 18},
        f"/wallets/{wallet}/grants": payment,
        f"/wallets/{wallet}/corrections": {
            "amount_units": 5,
            "reference": "t-1",
            "note": "Counted twice",
        },
        "/fx-rates": {
            "currency": "USD",
            "rate_date": "2026-07-01",
            "inr_per_unit": "88.1",
            "source": "RBI",
        },
        "/api-keys": {"name": "core", "role": "sender", "expires_at": "2027-01-01T00:00:00Z"},
    }


def _entries(api: Api) -> int:
    return int(api.get("/audit?limit=1")[0]["id"])


def test_no_value_in_no_field_of_no_command_is_our_failure(
    api: Api, good: dict[str, dict[str, Any]]
) -> None:
    """Each field in turn gets each wrong value, or is left out; what is taken is undone by no one,
    so only the answer's status and its fields are judged."""
    before = _entries(api)
    accepted = 0
    for path, body in good.items():
        changed = [(name, {**body, name: value}) for name in body for value in WRONG_VALUES]
        changed += [(name, {k: v for k, v in body.items() if k != name}) for name in body]
        changed += [("extra", {**body, "extra": 1})]
        calls = [("POST", f"/api/v1{path}", {"json": wrong}) for _, wrong in changed]
        for (name, wrong), answer in zip(changed, api.together(*calls), strict=True):
            shown = f"{path} {name}={str(wrong.get(name))[:40]} -> {answer.text[:300]}"
            assert answer.status_code in {201, 200, 400, 404, 409}, shown
            accepted += answer.is_success
            if answer.status_code == 400:
                fields = [found["field"] for found in answer.json()["error"]["fields"]]
                assert fields, shown
    # A few changes are no mistakes, such as an optional field left out.
    assert _entries(api) - before == accepted
    assert api.get("/audit/verification")["attributes"]["intact"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "0.1", "1E+2"])
def test_a_price_is_an_exact_finite_decimal(api: Api, number: str) -> None:
    create_items(api)
    plan = api.post("/price-plans", {"code": "next", "name": "Next"})["id"]
    text = json.dumps({"charges": [platform_charge("PRICE")]})
    path = f"/api/v1/price-plans/{plan}/versions"
    bare = api.call("POST", path, content=text.replace('"PRICE"', number), headers=JSON)
    assert bare.status_code == 400, bare.text
    quoted = api.call("POST", path, content=text.replace("PRICE", number), headers=JSON)
    assert quoted.status_code == (201 if number in {"0.1", "1E+2"} else 400), quoted.text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"17",
        b'{"code": "x-1", "name": "\xff"}',
        b'{"code": "x-1", "name": "\\ud800"}',
        b'{"code": "x-1", "name": "a\\u0000b"}',
        b'{"code": "x-1", "name": ' + b"[" * 50_000,
        b"\xef\xbb\xbf{}",
    ],
)
def test_a_body_that_is_no_object_of_text_is_refused(api: Api, content: bytes) -> None:
    before = _entries(api)
    response = api.call("POST", "/api/v1/customers", content=content, headers=JSON)
    assert response.status_code == 400, response.text
    assert response.json()["error"]["fields"]
    assert _entries(api) == before


@pytest.mark.parametrize("declared", [True, False])
def test_a_huge_body_is_refused_whether_or_not_it_says_its_size(
    api: Api, *, declared: bool
) -> None:
    body = b'{"name": "' + b"x" * MAX_BODY_BYTES + b'"}'

    async def piece_by_piece() -> Any:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    content = body if declared else piece_by_piece()
    response = api.call("POST", "/api/v1/customers", content=content, headers=JSON)
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "too_large"


def test_no_query_parameter_of_no_list_is_our_failure(api: Api) -> None:
    """NUL, quotes, floods and wrong types in every parameter that the API describes."""
    values = [
        "%00",
        "'%22;--",
        "x" * 5_000,
        "-1",
        "99999999999999999999",
        "NaN",
        "%F0%9F%A7%BE",
        "",
    ]
    paths = api.app.openapi()["paths"]
    asked = 0
    for path, operations in paths.items():
        parameters = operations.get("get", {}).get("parameters", [])
        for parameter in parameters:
            if parameter["in"] != "query":
                continue
            target = path
            for name in (found["name"] for found in parameters if found["in"] == "path"):
                target = target.replace(f"{{{name}}}", NOBODY)
            calls = [("GET", f"{target}?{parameter['name']}={value}", {}) for value in values]
            for call, answer in zip(calls, api.together(*calls), strict=True):
                assert answer.status_code in {200, 400, 404}, (call, answer.text)
                asked += 1
    assert asked > 150


@pytest.mark.parametrize(
    "segment", ["not-a-uuid", "%00", "x" * 3000, "%F0%9F%A7%BE", "..", "' OR 1"]
)
def test_no_path_segment_is_our_failure(api: Api, segment: str) -> None:
    for route in iter_route_contexts(api.app.routes):
        path = str(route.path)
        if isinstance(route.original_route, APIRoute) and "{" in path:
            parts = [segment if part.startswith("{") else part for part in path.split("/")]
            method = min(route.methods or ())
            answer = api.call(method, "/".join(parts), json={})
            assert answer.status_code in {400, 404, 405}, (path, answer.text)


def test_a_wrong_charge_is_named_by_its_whole_path(api: Api) -> None:
    create_items(api)
    plan = api.post("/price-plans", {"code": "next", "name": "Next"})["id"]
    charges = [platform_charge(), sms_charge(rate("0.2"), rate("cheap", country="IN"))]
    path = f"/price-plans/{plan}/versions"
    error = api.refused("POST", path, 400, json={"charges": charges})
    assert [wrong["field"] for wrong in error["fields"]] == ["charges.1.rates.1.tiers.0.unit_price"]


def test_a_query_parameter_that_a_route_does_not_know_is_refused(api: Api) -> None:
    paths = api.call("GET", "/openapi.json", role=None).json()["paths"]
    asked = [
        path.removeprefix("/api/v1")
        for path, operations in paths.items()
        if path.startswith("/api/v1") and "{" not in path and "get" in operations
    ]
    assert "/invoices" in asked

    for path in asked:
        error = api.refused("GET", f"{path}?colour=red", 400)
        assert "colour" in [one["field"] for one in error["fields"]], path


def test_a_misspelt_filter_is_told_what_there_is(api: Api) -> None:
    error = api.refused("GET", "/invoices?statuss=due&limit=5", 400)

    (wrong,) = error["fields"]
    assert wrong["field"] == "statuss"
    assert "status" in wrong["message"].split(": ")[1].split(", ")


def test_an_amount_beyond_every_wallet_is_refused_by_its_field(api: Api) -> None:
    limits = {"credit_line_minor": 0, "low_balance_minor": 2**53}
    top_up = {"amount_minor": 2**53, "reference": "neft-1"}

    for method, path, body, field in (
        ("PATCH", f"/wallets/{NOBODY}", limits, "low_balance_minor"),
        ("POST", f"/wallets/{NOBODY}/top-ups", top_up, "amount_minor"),
    ):
        error = api.refused(method, path, 400, json=body)
        assert [one["field"] for one in error["fields"]] == [field]
