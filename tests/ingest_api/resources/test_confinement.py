"""A customer's key sees that customer's data and no trace of anybody else's."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from fastapi.routing import APIRoute, iter_route_contexts
from sqlalchemy import text

from billing.access.roles import Role
from billing.db.unit_of_work import unit_of_work
from tests.support.api import Api
from tests.support.bodies import create_items, create_plan, open_account, tax_profile

CANARY = "canary"
NEEDED = {"start": "2026-06-01", "end": "2026-07-01"}
"""What some routes must be told; others, the id of something."""

_USAGE = """
CREATE SCHEMA IF NOT EXISTS marts;
CREATE TABLE marts.fct_usage_daily (
    account_id uuid, customer_id uuid, usage_day date, event_type text, country text,
    channel text, status text, operator text, route text,
    traffic_type text, event_count bigint, quantity numeric, vendor_cost numeric
)
"""
_USED = """
INSERT INTO marts.fct_usage_daily VALUES
    (:account, :customer, '2026-07-01', :event_type, 'IN', 'sms', 'sent', 'unknown', 'direct',
     'otp', 3, 3, 0.33)
"""


@dataclass
class Shop:
    """A customer with everything, and a key confined to it."""

    customer: str
    account: str
    subscription: str
    wallet: str
    key: str


@pytest.fixture
def shops(api: Api, new_customer: Callable[[str], str]) -> tuple[Shop, Shop]:
    """The one who asks, and the one whose every name holds the canary."""
    create_items(api)
    create_plan(api)
    with unit_of_work(api.engine) as session:
        session.execute(text(_USAGE))
    return _shop(api, new_customer, "mine"), _shop(api, new_customer, CANARY)


def _shop(api: Api, new_customer: Callable[[str], str], name: str) -> Shop:
    customer = new_customer(name)
    account = open_account(api, customer, f"{name}-main")["id"]
    api.post(f"/accounts/{account}/aliases", {"alias": name, "valid_from": "2026-07-01"})
    api.post(f"/customers/{customer}/tax-profiles", tax_profile(legal_name=name))
    body = {"account_id": account, "plan_code": "starter", "starts_on": "2026-07-01"}
    subscription = api.post("/subscriptions", body)["id"]
    wallet = api.post("/wallets", {"account_id": account})["id"]
    payment = {"amount_minor": 100_00, "reference": f"{name}-1"}
    api.post(f"/wallets/{wallet}/top-ups", payment)
    with unit_of_work(api.engine) as session:
        session.execute(
            text(_USED), {"account": account, "customer": customer, "event_type": f"otp.{name}"}
        )
    key = api.key_for(Role.CUSTOMER, customer)
    return Shop(customer, account, subscription, wallet, key)


def test_every_list_and_every_resource_of_ones_own_is_there(
    api: Api, shops: tuple[Shop, Shop]
) -> None:
    mine, _ = shops
    for path, expected in (
        ("/customers", mine.customer),
        ("/accounts", mine.account),
        ("/subscriptions", mine.subscription),
        ("/wallets", mine.wallet),
    ):
        assert [row["id"] for row in api.get(path, key=mine.key)] == [expected]
        assert api.get(f"{path}/{expected}", key=mine.key)["id"] == expected
    assert len(api.get(f"/customers/{mine.customer}/tax-profiles", key=mine.key)) == 1
    assert len(api.get(f"/accounts/{mine.account}/aliases", key=mine.key)) == 1
    assert len(api.get(f"/wallets/{mine.wallet}/movements", key=mine.key)) == 1


def test_no_get_route_shows_a_trace_of_another_customer(api: Api, shops: tuple[Shop, Shop]) -> None:
    mine, theirs = shops
    ids = {
        "customer_id": theirs.customer,
        "account_id": theirs.account,
        "subscription_id": theirs.subscription,
        "wallet_id": theirs.wallet,
    }
    secrets = {CANARY, *vars(theirs).values()}
    seen = 0
    for route in iter_route_contexts(api.app.routes):
        path = str(route.path)
        if not isinstance(route.original_route, APIRoute) or "GET" not in (route.methods or ()):
            continue
        for name, value in ids.items():
            path = path.replace(f"{{{name}}}", value)
        asked = path.rpartition("/api")[2]
        needed = "?" + "&".join(
            f"{one.alias}={NEEDED.get(one.alias, UUID(int=0))}"
            for one in route.original_route.dependant.query_params
            if one.field_info.is_required()
        )
        for query in (needed, *(f"{needed}&{name}={value}" for name, value in ids.items())):
            answer = api.call("GET", path + query, key=mine.key)
            assert answer.status_code < 500, path
            if answer.is_success:
                shown = answer.text
                assert not [secret for secret in secrets if secret in shown], path + query
            elif any(value in asked for value in ids.values()):
                refusals = {403, 404} if query == needed else {400, 403, 404}
                assert answer.status_code in refusals, path
            seen += 1
    assert seen > 100


def test_a_customer_is_not_told_what_its_messages_cost_us(
    api: Api, shops: tuple[Shop, Shop]
) -> None:
    mine, _ = shops
    (own,) = api.get("/usage/daily", key=mine.key)
    assert own["attributes"]["vendor_cost"] is None
    assert own["attributes"]["quantity"] == "3"
    assert {row["attributes"]["vendor_cost"] for row in api.get("/usage/daily")} == {"0.33"}


def test_a_customer_writes_nothing(api: Api, shops: tuple[Shop, Shop]) -> None:
    mine, _ = shops
    attempts: list[tuple[str, str, Any]] = [
        ("PATCH", f"/customers/{mine.customer}", {"name": "Me"}),
        ("POST", f"/accounts/{mine.account}/close", None),
        ("POST", f"/subscriptions/{mine.subscription}/end", {"ends_on": "2026-08-01"}),
        ("POST", f"/wallets/{mine.wallet}/top-ups", {"amount_minor": 1, "reference": "free"}),
        ("POST", f"/wallets/{mine.wallet}/grants", {"amount_minor": 1, "reference": "free"}),
        ("PATCH", f"/wallets/{mine.wallet}", {"credit_line_minor": 9, "low_balance_minor": 0}),
    ]
    for method, path, body in attempts:
        api.refused(method, path, 403, json=body, key=mine.key)
