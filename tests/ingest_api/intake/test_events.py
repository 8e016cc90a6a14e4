"""Sending events to the real API, with its writer, PostgreSQL and Redis."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing.access.roles import Role
from tests.ingest_api.intake.conftest import Api

PRICE = 120_000


def statuses(response: Any) -> list[str]:
    assert response.status_code == 200, response.text
    return [one["attributes"]["status"] for one in response.json()["data"]]


def test_an_answered_event_is_in_the_books(api: Api) -> None:
    sender = api.sender()
    event = api.event(sender)
    answer = api.send(event)

    assert answer.status_code == 200, answer.text
    attributes = answer.json()["data"]["attributes"]
    assert attributes["status"] == "accepted"
    stored = api.one(
        "SELECT k.received_at, e.quantity, e.dimensions, d.amount_units FROM usage.event_key k "
        "JOIN usage.raw_events e USING (shard, accept_seq) "
        "JOIN usage.usage_debits d USING (shard, accept_seq) WHERE k.event_id = %s",
        event["event_id"],
    )
    assert stored == (
        datetime.fromisoformat(attributes["accepted_at"]),
        1,
        event["dimensions"],
        PRICE,
    )
    assert api.balance(sender) == -PRICE


def test_the_same_event_again_gets_the_same_answer_and_counts_once(api: Api) -> None:
    sender = api.sender()
    event = api.event(sender)
    first = api.send(event)
    with ThreadPoolExecutor(10) as pool:
        later = list(pool.map(lambda _: api.send(event), range(30)))

    accepted_at = first.json()["data"]["attributes"]["accepted_at"]
    for answer in later:
        attributes = answer.json()["data"]["attributes"]
        assert (attributes["status"], attributes["accepted_at"]) == ("duplicate", accepted_at)
        assert answer.headers["Idempotent-Replay"] == "true"
    assert api.balance(sender) == -PRICE


def test_many_at_once_with_one_id_are_one_event(api: Api) -> None:
    sender = api.sender()
    event = api.event(sender)
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: api.send(event), range(40)))

    found = [one.json()["data"]["attributes"]["status"] for one in answers]
    assert sorted(set(found)) == ["accepted", "duplicate"]
    assert found.count("accepted") == 1
    assert api.balance(sender) == -PRICE


def test_a_known_id_with_another_body_is_a_conflict_and_changes_nothing(api: Api) -> None:
    sender = api.sender()
    event = api.event(sender)
    api.send(event)
    answer = api.send({**event, "quantity": 2})

    assert answer.status_code == 409
    error = answer.json()["error"]
    assert error["code"] == "event_conflict"
    stored = api.one("SELECT body_hash FROM usage.event_key WHERE event_id = %s", event["event_id"])
    assert error["details"]["stored_hash"] == stored.hex()[:8] != error["details"]["sent_hash"]
    assert api.balance(sender) == -PRICE


def test_every_conflict_is_kept_once_however_often_it_is_sent(api: Api) -> None:
    sender = api.sender()
    event = api.event(sender)
    api.send(event)
    for quantity in (2, 2, 3):
        assert api.send({**event, "quantity": quantity}).status_code == 409
    assert statuses(api.send([{**event, "quantity": 4}, event])) == ["conflict", "duplicate"]

    kept = api.connection.execute(
        "SELECT payload->>'quantity', payload->>'account_id' FROM usage.event_conflicts "
        "WHERE source = 'core' AND event_id = %s ORDER BY 1",
        [event["event_id"]],
    ).fetchall()
    assert kept == [(number, str(sender.account.id)) for number in ("2", "3", "4")]


def test_each_item_of_a_batch_is_answered_for_itself_in_order(api: Api) -> None:
    sender = api.sender()
    good, known = api.event(sender), api.event(sender)
    api.send(known)
    answer = api.send(
        {
            "events": [
                good,
                good,
                known,
                {**known, "quantity": 3},
                api.event(sender, event_id="no spaces"),
                api.event(sender, colour="red"),
                api.event(sender, account_id="00000000-0000-7000-8000-000000000000"),
            ]
        }
    )

    assert statuses(answer) == [
        "accepted",
        "duplicate",
        "duplicate",
        "conflict",
        "rejected",
        "rejected",
        "rejected",
    ]
    assert answer.json()["meta"]["counts"]["rejected"] == 3
    wrong = [one["attributes"].get("fields") for one in answer.json()["data"]][4:]
    assert [fields[0]["field"] for fields in wrong] == ["event_id", "colour", "account_id"]
    assert api.balance(sender) == -2 * PRICE


def test_a_thousand_events_are_one_request_and_one_more_is_too_many(api: Api) -> None:
    sender = api.sender()
    events = [api.event(sender) for _ in range(1001)]

    assert set(statuses(api.send(events[:1000]))) == {"accepted"}
    assert api.send(events).status_code == 413
    assert api.balance(sender) == -1000 * PRICE


def test_an_alias_names_the_account_of_the_day_the_event_happened(api: Api) -> None:
    old, new = api.sender(), api.sender()
    today = datetime.now(UTC).date()
    api.connection.execute(
        "INSERT INTO billing.account_aliases (id, account_id, alias, valid_from, valid_to) VALUES "
        "(gen_random_uuid(), %s, 'shop', '2026-01-01', %s), "
        "(gen_random_uuid(), %s, 'shop', %s, NULL)",
        [old.account.id, today - timedelta(days=3), new.account.id, today - timedelta(days=3)],
    )
    by_alias = {"account_id": None, "alias": "shop"}
    recent = {**api.event(new), **by_alias}
    earlier = {
        **api.event(old, occurred_at=(datetime.now(UTC) - timedelta(days=5)).isoformat()),
        **by_alias,
    }
    for event in (recent, earlier):
        del event["account_id"]
        assert api.send(event).status_code == 200
    assert (api.balance(old), api.balance(new)) == (-PRICE, -PRICE)


def test_usage_is_recorded_without_a_price_when_nothing_covers_it(api: Api) -> None:
    unsubscribed, postpaid = api.sender(unsubscribed=True), api.sender(prepaid=False)
    sender = api.sender()
    answer = api.send(
        [
            api.event(unsubscribed),
            api.event(postpaid),
            api.event(sender, dimensions={"country": "FR", "status": "delivered"}),
            api.event(sender, dimensions={"country": "IN", "status": "failed"}),
        ]
    )

    assert set(statuses(answer)) == {"accepted"}
    assert (api.balance(unsubscribed), api.balance(sender)) == (0, 0)


def test_only_a_key_that_may_send_is_let_in(api: Api) -> None:
    event = api.event(api.sender())

    assert api.send(event, headers={"Authorization": "Bearer nonsense"}).status_code == 401
    assert api.send(event, headers={"Authorization": ""}).status_code == 401
    assert api.send(event, headers=api.key(Role.SUPPORT)).status_code == 403


# A time is written as its distance from now, which is taken when the test runs.
BAD_EVENTS: dict[str, tuple[dict[str, Any], str]] = {
    "no source": ({"source": ...}, "source"),
    "empty id": ({"event_id": ""}, "event_id"),
    "id with a line end": ({"event_id": "a\n"}, "event_id"),
    "id too long": ({"event_id": "a" * 129}, "event_id"),
    "homoglyph in the id": ({"event_id": "еvent"}, "event_id"),
    "naive time": ({"occurred_at": "2026-07-01T00:00:00"}, "occurred_at"),
    "leap second": ({"occurred_at": "2026-06-30T23:59:60Z"}, "occurred_at"),
    "number as time": ({"occurred_at": 1_751_328_000}, "occurred_at"),
    "too old": ({"occurred_at": timedelta(days=-35, seconds=-5)}, "occurred_at"),
    "in the future": ({"occurred_at": timedelta(minutes=6)}, "occurred_at"),
    "the year one": ({"occurred_at": "0001-01-01T00:00:00+14:00"}, "occurred_at"),
    "negative": ({"quantity": -1}, "quantity"),
    "a float": ({"quantity": 1.5}, "quantity"),
    "an exponent": ({"quantity": "1e3"}, "quantity"),
    "seven places": ({"quantity": "0.1234567"}, "quantity"),
    "true": ({"quantity": True}, "quantity"),
    "NaN as text": ({"quantity": "NaN"}, "quantity"),
    "2^64 + 1": ({"quantity": 2**64 + 1}, "quantity"),
    "Arabic digits": ({"quantity": "١"}, "quantity"),
    "null": ({"quantity": None}, "quantity"),
    "cost below zero": ({"cost": "-1"}, "cost"),
    "NUL": ({"dimensions": {"country": "I\x00N"}}, "dimensions.country"),
    "nested": ({"dimensions": {"country": {"a": "b"}}}, "dimensions"),
    "33 dimensions": ({"dimensions": {f"d{n}": "x" for n in range(33)}}, "dimensions"),
    "long value": ({"dimensions": {"country": "x" * 257}}, "dimensions.country"),
    "no name": ({"dimensions": {"": "x"}}, "dimensions."),
    "two accounts": ({"alias": "shop"}, "account_id"),
    "no account": ({"account_id": ...}, "account_id"),
    "account is no id": ({"account_id": "shop"}, "account_id"),
    "unknown field": ({"amount": 5}, "amount"),
}


@pytest.mark.parametrize("name", list(BAD_EVENTS))
def test_a_wrong_field_is_named_and_nothing_is_written(api: Api, name: str) -> None:
    changes, field = BAD_EVENTS[name]
    sender = api.sender()
    event = {
        name: (datetime.now(UTC) + value).isoformat() if isinstance(value, timedelta) else value
        for name, value in api.event(sender, **changes).items()
        if value is not ...
    }
    answer = api.send(event)

    assert answer.status_code == 400, answer.text
    problem = answer.json()["error"]
    assert any(one["field"].startswith(field) for one in problem["fields"]), problem
    assert "reference" in problem
    good = api.event(sender)
    assert statuses(api.send([event, good])) == ["rejected", "accepted"]
    assert (
        api.one("SELECT count(*) FROM usage.raw_events WHERE account_id = %s", sender.account.id)
        == 1
    )


EVENT_TEXT = json.dumps(
    {
        "source": "core",
        "event_id": "raw",
        "event_type": "otp.sms",
        "occurred_at": "2026-07-01T00:00:00Z",
        "alias": "x",
    }
)

BAD_BODIES: dict[str, tuple[bytes, int]] = {
    "nothing": (b"", 400),
    "half a body": (EVENT_TEXT[:-5].encode(), 400),
    "no list": (b'"text"', 400),
    "empty list": (b"[]", 400),
    "list of numbers": (b'{"events": 5}', 400),
    "200,000 brackets": (b"[" * 200_000, 400),
    "deep value": (EVENT_TEXT[:-1].encode() + b', "x":' + b"[" * 5000 + b"]" * 5000 + b"}", 400),
    "bad UTF-8": (EVENT_TEXT.replace("raw", "r\xe4w").encode("latin-1"), 400),
    "NaN": (EVENT_TEXT[:-1].encode() + b', "quantity": NaN}', 400),
    "infinity": (EVENT_TEXT[:-1].encode() + b', "quantity": 1e400}', 400),
    "5,000 digits": (EVENT_TEXT[:-1].encode() + b', "quantity": ' + b"9" * 5000 + b"}", 400),
    "lone surrogate": (EVENT_TEXT[:-1].encode() + b', "dimensions": {"a": "\\ud800"}}', 400),
    "a key twice": (EVENT_TEXT[:-1].encode() + b', "source": "other"}', 400),
    "a key twice, spelt otherwise": (EVENT_TEXT[:-1].encode() + b', "sourc\\u0065": "o"}', 400),
    "a dimension twice": (
        EVENT_TEXT[:-1].encode() + b', "dimensions": {"a": "1", "a" : ":2"}}',
        400,
    ),
    "events twice": (b'{"events": [], "events": [' + EVENT_TEXT.encode() + b"]}", 400),
    "too long": (b" " * 1_000_001, 413),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_body_that_cannot_be_read_is_refused_whole(api: Api, name: str) -> None:
    body, status = BAD_BODIES[name]
    before = api.one("SELECT sum(accept_seq) FROM usage.shard_state")
    answer = api.client.post("/api/v1/events", content=body)

    assert answer.status_code == status, answer.text
    assert answer.json()["status"] == "error"
    assert api.one("SELECT sum(accept_seq) FROM usage.shard_state") == before


def test_a_body_without_a_declared_length_is_limited_too(api: Api) -> None:
    answer = api.client.post("/api/v1/events", content=iter([b" " * 300_000] * 5))

    assert answer.status_code == 413


def test_a_price_no_wallet_can_hold_rejects_the_event(api: Api) -> None:
    with_sum = api.sender()
    api.connection.execute(
        "UPDATE billing.billable_items SET aggregation = 'sum' "
        "WHERE id IN (SELECT item_id FROM billing.charges WHERE plan_version_id = %s)",
        [api.version.id],
    )
    try:
        answer = api.send(api.event(with_sum, quantity="999999999999"))
    finally:
        api.connection.execute("UPDATE billing.billable_items SET aggregation = 'count'")

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "out_of_range"


def test_only_the_permission_to_backfill_opens_the_past(api: Api) -> None:
    sender = api.sender()
    old = api.event(sender, occurred_at=(datetime.now(UTC) - timedelta(days=60)).isoformat())

    assert api.send(old).status_code == 400
    assert api.send(old, headers=api.as_admin).status_code == 200
    assert (
        api.one("SELECT count(*) FROM usage.raw_events WHERE event_id = %s", old["event_id"]) == 1
    )
