"""CloudEvents in their three modes, and compressed bodies, through the door every event takes."""

import base64
import gzip
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.ingest_api.intake.conftest import Api
from tests.support.factories.usage import Sender

PRICE = 120_000
STRUCTURED = {"Content-Type": "application/cloudevents+json"}
BATCH = {"Content-Type": "application/cloudevents-batch+json; charset=UTF-8"}


def cloud_event(api: Api, sender: Sender, **changes: Any) -> dict[str, Any]:
    event = api.event(sender)
    told = {
        "specversion": "1.0",
        "id": event["event_id"],
        "source": "https://shop.example/otp",
        "type": event["event_type"],
        "time": event["occurred_at"],
        "subject": event["account_id"],
        "data": {"country": "IN", "status": "delivered"},
        **changes,
    }
    return {name: value for name, value in told.items() if value is not ...}


def post(api: Api, body: Any, headers: dict[str, str]) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body)
    return api.client.post("/api/v1/events", content=content, headers=headers)


def stored(api: Api, event_id: str) -> Any:
    return api.one(
        "SELECT e.quantity::text, e.dimensions, e.vendor_cost::text, e.occurred_at "
        "FROM usage.raw_events e WHERE event_id = %s",
        event_id,
    )


def alias_of(api: Api, sender: Sender, alias: str) -> None:
    api.connection.execute(
        "INSERT INTO billing.account_aliases (id, account_id, alias, valid_from) "
        "VALUES (gen_random_uuid(), %s, %s, '2020-01-01')",
        [sender.account.id, alias],
    )


def test_a_sender_written_for_another_meter_needs_only_url_and_key(api: Api) -> None:
    """The request as that meter's documentation shows it, with its spaces; only the day is new."""
    sender = api.sender()
    alias_of(api, sender, "customer-1")
    body = """
{
  "specversion" : "1.0",
  "type": "request",
  "id": "00001",
  "time": "NOW",
  "source": "service-0",
  "subject": "customer-1",
  "data": {
    "method": "GET",
    "route": "/hello",
    "duration_ms": 10
  }
}
"""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.001Z")
    answer = post(api, body.replace("NOW", now).encode(), STRUCTURED)

    assert (answer.status_code, answer.content) == (204, b"")
    assert "content-type" not in answer.headers
    quantity, dimensions, cost, _ = stored(api, "00001")
    assert (quantity, cost) == ("1.000000", None)
    assert dimensions == {"method": "GET", "route": "/hello", "duration_ms": "10"}


def test_a_structured_event_is_billed_like_any_other_and_counts_once(api: Api) -> None:
    sender = api.sender()
    event = cloud_event(api, sender)

    assert [post(api, event, STRUCTURED).status_code for _ in range(2)] == [204, 204]
    assert post(api, event, STRUCTURED).headers["Idempotent-Replay"] == "true"
    assert api.balance(sender) == -PRICE
    assert post(api, {**event, "data": {"country": "US"}}, STRUCTURED).status_code == 409


@pytest.mark.parametrize(
    ("data", "quantity", "dimensions", "cost"),
    [
        ({"quantity": 3}, "3.000000", {}, None),
        ({"value": "2.5"}, "2.500000", {}, None),
        ({"quantity": 0.1, "cost": 0.25}, "0.100000", {}, "0.250000"),
        (
            {"dimensions": {"country": "IN"}, "cost": "0.09"},
            "1.000000",
            {"country": "IN"},
            "0.090000",
        ),
        (
            {"country": "IN", "retries": 2, "resent": True, "note": None},
            "1.000000",
            {"country": "IN", "retries": "2", "resent": "true"},
            None,
        ),
        (None, "1.000000", {}, None),
        (..., "1.000000", {}, None),
    ],
)
def test_data_holds_quantity_cost_and_dimensions(
    api: Api, data: Any, quantity: str, dimensions: dict[str, str], cost: str | None
) -> None:
    event = cloud_event(api, api.sender(), data=data)

    assert post(api, event, STRUCTURED).status_code == 204
    assert stored(api, event["id"])[:3] == (quantity, dimensions, cost)


def test_data_may_come_as_base64(api: Api) -> None:
    data = base64.b64encode(b'{"quantity": 4}').decode()
    event = cloud_event(api, api.sender(), data=..., data_base64=data)

    assert post(api, event, STRUCTURED).status_code == 204
    assert stored(api, event["id"])[0] == "4.000000"


def test_an_event_without_a_time_happened_now_and_can_still_be_sent_again(api: Api) -> None:
    event = cloud_event(api, api.sender(), time=...)
    before = datetime.now(UTC)

    assert post(api, event, STRUCTURED).status_code == 204
    assert post(api, event, STRUCTURED).status_code == 204
    assert before - timedelta(seconds=1) <= stored(api, event["id"])[3] <= datetime.now(UTC)


def test_a_subject_that_looks_like_an_id_of_ours_may_be_an_alias(api: Api) -> None:
    sender = api.sender()
    theirs = "7b0c8a5e-1f57-4a4e-9a4e-0d8b6a0e9c11"
    alias_of(api, sender, theirs)

    assert post(api, cloud_event(api, sender, subject=theirs), STRUCTURED).status_code == 204
    assert api.balance(sender) == -PRICE


def test_a_batch_that_is_durable_says_nothing(api: Api) -> None:
    sender = api.sender()
    events = [cloud_event(api, sender) for _ in range(3)]

    assert post(api, [*events, events[0]], BATCH).status_code == 204
    assert post(api, [], BATCH).status_code == 204
    assert api.balance(sender) == -3 * PRICE


def test_a_batch_with_anything_else_in_it_is_answered_item_by_item(api: Api) -> None:
    sender = api.sender()
    good = cloud_event(api, sender)
    answer = post(
        api,
        [
            good,
            {**good, "data": {"quantity": 2}},
            cloud_event(api, sender, subject="nobody"),
            cloud_event(api, sender, specversion="0.3"),
            cloud_event(api, sender, time="2020-01-01T00:00:00Z"),
            cloud_event(api, sender, data={"quantity": -1}),
            17,
        ],
        BATCH,
    )

    assert answer.status_code == 207
    found = [one["attributes"] for one in answer.json()["data"]]
    assert [one["status"] for one in found] == ["accepted", "conflict", *["rejected"] * 5]
    assert [one["fields"][0]["field"] for one in found[2:]] == [
        "subject",
        "specversion",
        "time",
        "data.quantity",
        "body",
    ]
    assert api.balance(sender) == -PRICE


def test_the_binary_mode_has_attributes_in_headers_and_data_in_the_body(api: Api) -> None:
    sender = api.sender()
    alias_of(api, sender, "héllo shop")
    headers = {
        "Content-Type": "application/json",
        "ce-specversion": "1.0",
        "ce-id": "binary-1",
        "ce-source": "/otp%20sender".replace("%20", "/"),
        "ce-type": "otp.sms",
        "ce-time": datetime.now(UTC).isoformat(),
        "ce-subject": "h%C3%A9llo%20shop",
        "ce-traceparent": "ignored",
    }
    body = {"country": "IN", "status": "delivered"}

    assert [post(api, body, headers).status_code for _ in range(2)] == [204, 204]
    assert api.balance(sender) == -PRICE
    assert post(api, b"", {**headers, "ce-id": "binary-2"}).status_code == 204
    for broken, field in (
        ({"ce-id": ""}, "id"),
        ({"ce-time": "yesterday"}, "time"),
        ({"ce-specversion": "2.0"}, "specversion"),
    ):
        answer = post(api, body, {**headers, **broken})
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["fields"][0]["field"] == field
    assert post(api, b"{", headers).status_code == 400


def test_cloudevents_sent_as_plain_json_are_recognised(api: Api) -> None:
    sender = api.sender()
    one, other = cloud_event(api, sender), cloud_event(api, sender)

    assert api.send(one).status_code == 204
    assert api.send([one, other]).status_code == 204
    assert api.balance(sender) == -2 * PRICE


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no id": ({"id": ...}, "id"),
    "no subject": ({"subject": ...}, "subject"),
    "null subject": ({"subject": None}, "subject"),
    "id with a space": ({"id": "a b"}, "id"),
    "source with a space": ({"source": "a b"}, "source"),
    "upper-case type": ({"type": "SMS"}, "type"),
    "naive time": ({"time": "2026-07-01T00:00:00"}, "time"),
    "an exponent": ({"data": {"quantity": 1e30}}, "data.quantity"),
    "true as quantity": ({"data": {"quantity": True}}, "data.quantity"),
    "seven places": ({"data": {"value": "0.1234567"}}, "data.value"),
    "cost as an object": ({"data": {"cost": {}}}, "data.cost"),
    "a nested member": ({"data": {"geo": {"lat": 1}}}, "data.geo"),
    "a nested dimension": ({"data": {"dimensions": {"geo": [1]}}}, "data.dimensions.geo"),
    "a dimension said twice": (
        {"data": {"country": "IN", "dimensions": {"country": "US"}}},
        "data.country",
    ),
    "a list as data": ({"data": [1]}, "data"),
    "XML": ({"datacontenttype": "application/xml", "data": "<a/>"}, "datacontenttype"),
    "no base64": ({"data": ..., "data_base64": "?"}, "data_base64"),
    "NUL": ({"data": {"country": "I\x00"}}, "data.country"),
    "lone surrogate": ({"data": {"country": "\ud800"}}, "body"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_named_in_the_senders_own_words(api: Api, name: str) -> None:
    changes, field = BAD[name]
    answer = post(api, cloud_event(api, api.sender(), **changes), STRUCTURED)

    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["fields"][0]["field"] == field


def test_a_key_that_comes_twice_is_refused(api: Api) -> None:
    text = json.dumps(cloud_event(api, api.sender()))
    for wrong in ('{"id": "x", ' + text[1:], text.replace('"country"', '"status": "x", "country"')):
        assert post(api, wrong.encode(), STRUCTURED).status_code == 400


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-www-form-urlencoded",
        "application/xml",
        "text/plain",
        "application/cloudevents+avro",
        "application/json; charset=utf-16",
        "nonsense",
    ],
)
def test_another_content_type_is_answered_with_those_there_are(api: Api, content_type: str) -> None:
    answer = post(api, api.event(api.sender()), {"Content-Type": content_type})

    assert answer.status_code == 415
    error = answer.json()["error"]
    assert error["code"] == "unsupported_content_type"
    assert "application/cloudevents+json" in error["details"]["accepted"]


def compressed(api: Api, body: bytes, **headers: str) -> httpx.Response:
    sent = {"Content-Type": "application/json", "Content-Encoding": "gzip", **headers}
    return post(api, body, sent)


def test_a_gzip_body_is_the_same_body(api: Api) -> None:
    sender = api.sender()
    events = json.dumps([api.event(sender) for _ in range(1000)]).encode()
    packed = gzip.compress(events)
    halves = gzip.compress(events[:100]) + gzip.compress(events[100:])

    assert compressed(api, packed).json()["meta"]["counts"]["accepted"] == 1000
    assert compressed(api, halves).json()["meta"]["counts"]["duplicate"] == 1000
    assert compressed(api, gzip.compress(b"[]"), **BATCH).status_code == 204
    assert api.balance(sender) == -1000 * PRICE


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (gzip.compress(b" " * 1_000_001), 413, "too_large"),
        (gzip.compress(bytes(10**8)), 413, "too_large"),
        (gzip.compress(b"[]" * 100)[:-9], 400, "invalid_gzip"),
        (gzip.compress(b"[]")[:5], 400, "invalid_gzip"),
        (gzip.compress(b"[]") + b"more", 400, "invalid_gzip"),
        (gzip.compress(b"") * 20_000, 400, "invalid_gzip"),
        (b"[]", 400, "invalid_gzip"),
        (b"", 400, "invalid_gzip"),
    ],
    ids=["one too many", "bomb", "cut off", "only a head", "a tail", "parts", "plain", "nothing"],
)
def test_a_gzip_body_has_the_limits_of_any_other(
    api: Api, body: bytes, status: int, code: str
) -> None:
    answer = compressed(api, body)

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_another_compression_is_refused_and_the_known_ones_are_named(api: Api) -> None:
    for encoding in ("br", "deflate", "gzip, gzip"):
        answer = compressed(api, b"x", **{"Content-Encoding": encoding})

        assert answer.status_code == 415
        assert answer.json()["error"]["code"] == "unsupported_encoding"
        assert answer.headers["Accept-Encoding"] == "gzip, identity"
