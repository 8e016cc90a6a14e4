"""Rate decks and agreed prices over HTTP: uploaded, compared, published, charged."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from billing.access.roles import Role
from billing.db.unit_of_work import unit_of_work
from billing.wallets.card_loader import load_account
from tests.support.api import Api
from tests.support.bodies import (
    SMS_ITEM,
    create_items,
    create_plan,
    open_account,
    sms_charge,
)

DECK = """currency,country,operator,channel,traffic_type,unit_price
INR,IN,404-45,sms,otp,0.1150
INR,IN,*,sms,otp,0.13
INR,IN,*,*,*,0.20
INR,*,*,*,*,4.5
"""
_MART = """
CREATE SCHEMA IF NOT EXISTS marts;
CREATE TABLE marts.fct_usage_daily (
    account_id uuid, customer_id uuid, usage_day date, event_type text, country text,
    channel text, status text, operator text, route text,
    traffic_type text, event_count bigint, quantity numeric, vendor_cost numeric
)
"""


def deck_charge(**other: Any) -> dict[str, Any]:
    return sms_charge() | {"match_dimensions": [], "rates": [], "rate_deck": "world"} | other


def upload(api: Api, deck_id: str, csv: str = DECK, day: str = "2026-01-01") -> Any:
    return api.post(f"/rate-decks/{deck_id}/versions", {"effective_from": day, "csv": csv})


@pytest.fixture
def deck_id(api: Api) -> str:
    """A deck with a published version, and the items that plans may price."""
    create_items(api)
    deck = api.post("/rate-decks", {"code": "world", "name": "Worldwide"})
    version = upload(api, deck["id"])
    api.post(f"/rate-deck-versions/{version['id']}/publish")
    return str(deck["id"])


@pytest.fixture
def account_id(api: Api, deck_id: str, new_customer: Callable[..., str]) -> str:
    """A prepaid account on a plan that uses the deck."""
    create_plan(api, "world", deck_charge())
    account = open_account(api, new_customer("acme"), "acme")
    body = {"account_id": account["id"], "plan_code": "world", "starts_on": "2026-01-01"}
    api.post("/subscriptions", body)
    return str(account["id"])


def priced(api: Api, account_id: str, day: date, **dimensions: str) -> str | None:
    """What the wallet path takes for one message."""
    with unit_of_work(api.engine) as session:
        account = load_account(session, UUID(account_id))
    assert account is not None
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    price = account.price(
        "otp.sms",
        {"status": "sent", **dimensions},
        (noon - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1),
    )
    return str(price.one_units) if price.rate_id else None


def test_everything_wrong_in_a_file_is_named_by_line_and_column(api: Api, deck_id: str) -> None:
    lines = [
        "currency,country,operator,channel,traffic_type,unit_price",
        "INR,in,*,*,*,0.1",
        "EUR,*,*,*,*,1",
        "INR,IN,404 45,sms,otp,-1",
        "INR,IN,*,sms,*,0.1234567",
        "INR,IN,*,sms,*",
        "INR,IN,*,*,otp,1",
        "INR,IN,*,voice,*,1",
        "INR,IN,*,*,otp,2",
    ]
    body = {"effective_from": "2026-12-01", "csv": "\n".join(lines)}
    error = api.refused("POST", f"/rate-decks/{deck_id}/versions", 400, json=body)
    assert error["code"] == "deck_invalid"
    assert [found["field"] for found in error["fields"]] == [
        "lines.2.country",
        "lines.3.currency",
        "lines.4.operator",
        "lines.4.unit_price",
        "lines.5.unit_price",
        "lines.6",
        "lines.8",
        "lines.9",
    ]
    for csv in ("country,unit_price\nIN,1\n", "currency,unit_price,colour\nINR,1,red\n", DECK[:57]):
        api.refused("POST", f"/rate-decks/{deck_id}/versions", 400, json={**body, "csv": csv})
    assert len(api.get(f"/rate-decks/{deck_id}/versions")) == 1


def test_a_draft_is_compared_and_published_and_then_never_changes(api: Api, deck_id: str) -> None:
    day = "2027-01-01"
    other = DECK.replace("0.13\n", "0.14\n").replace("INR,IN,*,*,*,0.20\n", "INR,US,*,*,*,0.8\n")
    version = upload(api, deck_id, other, day)
    path = f"/rate-deck-versions/{version['id']}"
    diff = api.get(f"{path}/diff")["attributes"]
    assert (diff["against_version"], diff["added"], diff["removed"], diff["changed"]) == (
        1,
        1,
        1,
        1,
    )
    assert diff["changes"][0] == {
        "kind": "changed",
        "currency": "INR",
        "match": {"country": "IN", "operator": "*", "channel": "sms", "traffic_type": "otp"},
        "before": "0.13",
        "after": "0.14",
    }
    file = api.call("GET", f"/api/v1{path}/rows.csv").text
    assert api.call("PUT", f"/api/v1{path}/rows", json={"csv": file}).status_code == 200
    again = api.get(path)["attributes"]
    assert again["content_hash"] == version["attributes"]["content_hash"]
    published = api.post(f"{path}/publish")
    assert published["attributes"]["status"] == "published"
    assert (
        api.refused("PUT", f"{path}/rows", 409, json={"csv": DECK})["code"] == "version_published"
    )
    for change in (
        "UPDATE billing.rate_deck_rows SET unit_price = 0",
        "DELETE FROM billing.rate_deck_rows",
        "DELETE FROM billing.rate_deck_versions",
    ):
        with pytest.raises(DBAPIError, match="never change"), unit_of_work(api.engine) as session:
            session.execute(text(change))
    late = upload(api, deck_id, DECK, "2026-12-31")
    error = api.refused("POST", f"/rate-deck-versions/{late['id']}/publish", 409)
    assert error["code"] == "deck_day_passed"


def test_a_charge_has_rates_or_a_deck_with_prices(api: Api, deck_id: str) -> None:
    plan = api.post("/price-plans", {"code": "other", "name": "Other"})
    api.post("/rate-decks", {"code": "empty", "name": "Empty"})
    for wrong, field in (
        ({"rate_deck": None}, "charges.0.rates"),
        ({"rate_deck": "none"}, "charges.0.rate_deck"),
        ({"free_units": "5"}, "charges.0.rate_deck"),
        ({"match_dimensions": ["country"]}, "charges.0.rates"),
    ):
        body = {"charges": [deck_charge(**wrong)]}
        error = api.refused("POST", f"/price-plans/{plan['id']}/versions", 400, json=body)
        assert [found["field"] for found in error["fields"]] == [field]
    body = {"charges": [deck_charge(rate_deck="empty")]}
    version = api.post(f"/price-plans/{plan['id']}/versions", body)
    error = api.refused("POST", f"/plan-versions/{version['id']}/publish", 409)
    assert error["code"] == "deck_without_prices"
    body = {
        "charge": deck_charge(),
        "events": [
            {"dimensions": {"status": "sent", "country": "IN", "operator": "40445",
                            "channel": "sms", "traffic_type": "otp"}},
            {"dimensions": {"status": "sent", "country": "FR"}, "quantity": "2"},
        ],
    }  # fmt: skip
    preview = api.post("/pricing/preview", body)["attributes"]
    assert preview["amount"] == "9.115"


def test_an_agreement_comes_before_the_deck_while_it_holds(api: Api, account_id: str) -> None:
    jio = {"country": "IN", "operator": "40445", "channel": "sms", "traffic_type": "otp"}
    body = {
        "account_id": account_id,
        "deck_code": "world",
        "match": {"country": "IN"},
        "tiers": [{"unit_price": "0.10"}],
        "starts_on": "2026-08-10",
        "reason": "Contract 7",
    }
    made = api.post("/price-overrides", body)
    assert [priced(api, account_id, date(2026, 8, day), **jio) for day in (9, 10)] == [
        "115000",
        "100000",
    ]
    clash = body | {"match": {"channel": "sms"}, "starts_on": "2026-09-01"}
    assert api.refused("POST", "/price-overrides", 409, json=clash)["code"] == "agreement_overlaps"
    ended = api.post(f"/price-overrides/{made['id']}/end", {"ends_on": "2026-08-20"})
    assert ended["attributes"]["ends_on"] == "2026-08-20"
    assert priced(api, account_id, date(2026, 8, 20), **jio) == "115000"
    api.post("/price-overrides", clash)
    charge = {name: value for name, value in body.items() if name != "deck_code"} | {
        "plan_code": "world",
        "charge_code": "sms",
        "starts_on": "2026-11-01",
        "match": {},
    }
    api.post("/price-overrides", charge)
    assert priced(api, account_id, date(2026, 11, 1), country="FR") == "100000"
    assert priced(api, account_id, date(2026, 10, 31), country="FR") == "4500000"
    wrong = body | {"tiers": [{"flat_amount": "1"}], "starts_on": "2027-01-01"}
    error = api.refused("POST", "/price-overrides", 400, json=wrong)
    assert [found["field"] for found in error["fields"]] == ["tiers.0.flat_amount"]
    assert len(api.get(f"/price-overrides?account_id={account_id}")) == 3
    assert api.get("/price-overrides", role=Role.SUPPORT)


def test_a_deck_prices_the_segments_of_a_message(
    api: Api, deck_id: str, new_customer: Callable[..., str]
) -> None:
    segments = SMS_ITEM | {"code": "segments", "conversion": "sms_segments"}
    api.post("/billable-items", segments)
    create_plan(api, "segments", deck_charge(item_code="segments"))
    account = open_account(api, new_customer("long"), "long")
    body = {"account_id": account["id"], "plan_code": "segments", "starts_on": "2026-01-01"}
    api.post("/subscriptions", body)

    jio = {"country": "IN", "operator": "40445", "channel": "sms", "traffic_type": "otp"}
    for length, encoding, units in (("160", "gsm7", "115000"), ("161", "gsm7", "230000"),
                                    ("135", "ucs2", "345000"), ("160", "utf8", None)):  # fmt: skip
        said = jio | {"message_length": length, "encoding": encoding}
        assert priced(api, account["id"], date(2026, 6, 1), **said) == units

    version = upload(api, deck_id, day="2027-01-01")
    error = api.refused("GET", f"/rate-deck-versions/{version['id']}/impact?month=2026-06-15", 409)
    assert error["code"] == "impact_unknown"


def test_a_later_version_prices_from_its_day_and_its_impact_is_seen_before(
    api: Api, deck_id: str, account_id: str
) -> None:
    with unit_of_work(api.engine) as session:
        session.execute(text(_MART))
        customer = session.scalar(
            text("SELECT customer_id FROM billing.accounts WHERE id = :id"), {"id": account_id}
        )
        for country, operator, events in (
            ("IN", "40445", 100),
            ("IN", "unknown", 10),
            ("FR", "x", 2),
        ):
            session.execute(
                text(
                    "INSERT INTO marts.fct_usage_daily VALUES (:account, :customer, '2026-06-05', "
                    "'otp.sms', :country, 'sms', 'sent', :operator, 'unknown', 'otp', :n, :n, 0)"
                ),
                {"account": account_id, "customer": customer, "country": country,
                 "operator": operator, "n": events},
            )  # fmt: skip
    other = DECK.replace("0.1150", "0.12").replace("INR,*,*,*,*,4.5\n", "")
    version = upload(api, deck_id, other, "2027-01-01")
    path = f"/rate-deck-versions/{version['id']}"
    impact = api.get(f"{path}/impact?month=2026-06-15")["attributes"]
    assert (impact["from_day"], impact["replaced_version"]) == ("2026-06-01", 1)
    assert impact["totals"] == [
        {"name": "all", "currency": "INR", "events": 110, "before": "12.8", "after": "13.3",
         "difference": "0.5"}
    ]  # fmt: skip
    assert [found["name"] for found in impact["accounts"]] == ["acme"]
    assert [(one["account_code"], one["events"]) for one in impact["unpriced"]] == [("acme", 2)]
    api.post(f"{path}/publish")
    jio = {"country": "IN", "operator": "40445", "channel": "sms", "traffic_type": "otp"}
    days = (date(2026, 12, 31), date(2027, 1, 1))
    assert [priced(api, account_id, day, **jio) for day in days] == ["115000", "120000"]
    assert priced(api, account_id, date(2027, 1, 1), country="FR") is None
