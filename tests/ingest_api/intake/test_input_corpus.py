"""Everything a sender may get wrong, with the answer that each case is promised.

The letters are those of the table in docs/events.md.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from starlette.datastructures import Headers
from starlette.types import Message

from billing.clock import ManualClock
from billing.usage.event import EventCheck, EventIn, Rejected, UsageEvent
from ingest_api.intake.http import Answer, Route
from tests.ingest_api.intake.conftest import Api
from tests.support.factories.usage import NOW

MICROSECOND = timedelta(microseconds=1)
ACCEPTED, REFUSED = 200, 400


def raw(api: Api, member: bytes) -> Any:
    """Send an event with one more member, written as it stands here."""
    event = json.dumps(api.event(api.sender())).encode()
    return api.client.post("/api/v1/events", content=event[:-1] + b", " + member + b"}")


NUMBERS: dict[str, tuple[bytes, int, str]] = {
    "zero": (b"0", ACCEPTED, "0"),
    "minus zero": (b"-0", ACCEPTED, "0"),
    "one": (b"1", ACCEPTED, "1"),
    "text": (b'"5"', ACCEPTED, "5"),
    "six places": (b'"0.000001"', ACCEPTED, "0.000001"),
    "zeros behind": (b'"1.500000"', ACCEPTED, "1.5"),
    "zeros before": (b'"007"', ACCEPTED, "7"),
    "the largest": (b"999999999999", ACCEPTED, "999999999999"),
    "one more": (b"1000000000000", REFUSED, ""),
    "a rounded largest": (b'"999999999999.9999999"', REFUSED, ""),
    "minus one": (b"-1", REFUSED, ""),
    "minus one as text": (b'"-1"', REFUSED, ""),
    "plus one": (b'"+1"', REFUSED, ""),
    "a fraction": (b"1.5", REFUSED, ""),
    "a whole float": (b"5.0", REFUSED, ""),
    "an exponent": (b"1e3", REFUSED, ""),
    "2^53 + 1": (b"9007199254740993", REFUSED, ""),
    "2^63": (b"9223372036854775808", REFUSED, ""),
    "2^64 + 1": (b"18446744073709551617", REFUSED, ""),
    "5,000 digits": (b"9" * 5000, REFUSED, ""),
    "5,000 digits as text": (b'"' + b"9" * 5000 + b'"', REFUSED, ""),
    "5,000 places": (b'"0.' + b"3" * 5000 + b'"', REFUSED, ""),
    "NaN": (b"NaN", REFUSED, ""),
    "NaN as text": (b'"NaN"', REFUSED, ""),
    "Infinity": (b"Infinity", REFUSED, ""),
    "1e400": (b"1e400", REFUSED, ""),
    "true": (b"true", REFUSED, ""),
    "null": (b"null", REFUSED, ""),
    "nothing": (b'""', REFUSED, ""),
    "a space": (b'" 1"', REFUSED, ""),
    "an underscore": (b'"1_000"', REFUSED, ""),
    "Arabic digits": ('"٣"'.encode(), REFUSED, ""),
    "a list": (b"[1]", REFUSED, ""),
    "a leading zero": (b"01", REFUSED, ""),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_e12_a_number_is_an_integer_or_a_decimal_as_text(api: Api, name: str) -> None:
    written, status, stored = NUMBERS[name]
    answer = raw(api, b'"quantity": ' + written)

    assert answer.status_code == status, answer.text
    if status == ACCEPTED:
        event_id = answer.json()["data"]["attributes"]["event_id"]
        quantity = api.one("SELECT quantity FROM usage.raw_events WHERE event_id = %s", event_id)
        assert quantity == Decimal(stored)


TEXTS: dict[str, tuple[bytes, int, str | None]] = {
    "plain": (b'"IN"', ACCEPTED, "IN"),
    "empty": (b'""', ACCEPTED, ""),
    "emoji of four bytes": ('"\U0001f9fe"'.encode(), ACCEPTED, "\U0001f9fe"),
    "emoji as two escapes": (b'"\\ud83e\\uddfe"', ACCEPTED, "\U0001f9fe"),
    "decomposed": ('"e\u0301"'.encode(), ACCEPTED, "é"),
    "right to left": ('"\u202eabc"'.encode(), ACCEPTED, "\u202eabc"),
    "a line end": (b'"a\\r\\nb"', ACCEPTED, "a\r\nb"),
    "256 letters": (b'"' + b"x" * 256 + b'"', ACCEPTED, "x" * 256),
    "257 letters": (b'"' + b"x" * 257 + b'"', REFUSED, None),
    "NUL": (b'"a\\u0000b"', REFUSED, None),
    "half a pair": (b'"\\ud800"', REFUSED, None),
    "a pair turned round": (b'"\\uddfe\\ud83e"', REFUSED, None),
    "bad UTF-8": (b'"\xff"', REFUSED, None),
    "half a letter": (b'"\xc3"', REFUSED, None),
    "a letter in too many bytes": (b'"\xc0\xaf"', REFUSED, None),
    "a bare line end": (b'"a\nb"', REFUSED, None),
    "an unknown escape": (b'"\\x41"', REFUSED, None),
}


@pytest.mark.parametrize("name", TEXTS)
def test_e13_text_is_stored_normalised_or_refused(api: Api, name: str) -> None:
    event = api.event(api.sender())
    written, status, stored = TEXTS[name]
    del event["dimensions"]
    body = json.dumps(event).encode()[:-1] + b', "dimensions": {"operator": ' + written + b"}}"
    answer = api.client.post("/api/v1/events", content=body)

    assert answer.status_code == status, answer.text
    if status == ACCEPTED:
        kept = api.one(
            "SELECT dimensions->>'operator' FROM usage.raw_events WHERE event_id = %s",
            event["event_id"],
        )
        assert kept == stored


JSON_SHAPES: dict[str, tuple[bytes, int]] = {
    "200,000 brackets": (b"[" * 200_000, 400),
    "200,000 closed brackets": (b"[" * 200_000 + b"]" * 200_000, 400),
    "100,000 nested objects": (b'{"a":' * 100_000, 400),
    "in a member that is unknown": (b'{"x":' + b"[" * 90_000 + b"]" * 90_000 + b"}", 400),
    "in a batch": (b'[{"x":' + b"[" * 90_000 + b"]" * 90_000 + b"}]", 400),
    "nothing": (b"", 400),
    "only spaces": (b" " * 1000, 400),
    "half an object": (b'{"source": "co', 400),
    "two objects": (b"{} {}", 400),
    "a byte order mark": (b"\xef\xbb\xbf{}", 400),
    "UTF-16": ("{}".encode("utf-16"), 400),
    "a key twice": (b'{"source": "a", "source": "b"}', 400),
    "45,000 keys, some written with escapes": (
        b'{"dimensions": {%s}}' % b",".join(b'"\\u0061%d": ""' % n for n in range(45_000)),
        400,
    ),
    "1 MB and one byte": (b" " * 1_000_001, 413),
}


@pytest.mark.parametrize("name", JSON_SHAPES)
def test_e10_e11_e14_a_body_that_is_no_batch_is_refused_whole(api: Api, name: str) -> None:
    body, status = JSON_SHAPES[name]
    for content_type in ("application/json", "application/cloudevents+json"):
        answer = api.client.post(
            "/api/v1/events", content=body, headers={"Content-Type": content_type}
        )
        assert answer.status_code == status, answer.text
        assert answer.json()["error"]["code"] != "unexpected"


@pytest.mark.parametrize(
    ("shift", "allowed"),
    [
        (timedelta(days=-35), True),
        (timedelta(days=-35) - MICROSECOND, False),
        (timedelta(days=-35) + MICROSECOND, True),
        (timedelta(minutes=5), True),
        (timedelta(minutes=5) + MICROSECOND, False),
        (timedelta(minutes=5) - MICROSECOND, True),
    ],
)
def test_e5_e6_the_window_of_time_ends_at_the_microsecond(
    shift: timedelta, *, allowed: bool
) -> None:
    sent = EventIn("core", "a", "otp.sms", NOW + shift, account_id="x")
    found = EventCheck(NOW)(sent)

    assert isinstance(found, UsageEvent if allowed else Rejected)


@pytest.mark.parametrize(
    ("written", "status"),
    [
        ("2026-06-30T23:59:60Z", REFUSED),
        ("NOW+05:30", ACCEPTED),
        ("NOW", REFUSED),
        ("NOWz", ACCEPTED),
        ("NOW+25:00", REFUSED),
        ("yesterday", REFUSED),
        ("", REFUSED),
    ],
)
def test_e7_a_time_has_an_offset_and_no_leap_second(api: Api, written: str, status: int) -> None:
    event = api.event(api.sender())
    zoned = event["occurred_at"].partition(".")[0]
    if written.endswith("+05:30"):  # the same digits lie earlier there
        assert status == ACCEPTED
    answer = api.send({**event, "occurred_at": written.replace("NOW", zoned)})

    assert answer.status_code == status, answer.text


def test_e3_the_same_id_of_another_source_is_another_event(api: Api) -> None:
    sender = api.sender()
    event = api.event(sender)
    answers = [api.send({**event, "source": source}) for source in ("core", "other")]

    assert [one.json()["data"]["attributes"]["status"] for one in answers] == ["accepted"] * 2
    assert api.balance(sender) == -240_000


def test_e4_any_order_of_events_gives_the_same_balance(api: Api) -> None:
    one, other = api.sender(), api.sender()
    for sender, order in ((one, 1), (other, -1)):
        countries = ["IN", "US", "FR", "IN", "IN", "US"][::order]
        events = [
            api.event(sender, dimensions={"country": country, "status": "sent"})
            for country in countries
        ]
        assert api.send(events).status_code == 200
    assert api.balance(one) == api.balance(other) < 0


def test_e9_one_bad_item_costs_only_itself_and_the_order_stays(api: Api) -> None:
    sender = api.sender()
    events = [api.event(sender) for _ in range(1000)]
    events[500]["quantity"] = "much"
    answer = api.send(events)

    found = [one["attributes"] for one in answer.json()["data"]]
    assert [one["event_id"] for one in found] == [one["event_id"] for one in events]
    assert [index for index, one in enumerate(found) if one["status"] != "accepted"] == [500]


def _messages(parts: list[Message]) -> Iterator[Message]:
    yield from parts


def _asked(parts: list[Message], headers: dict[str, str], seconds: float = 5) -> list[Message]:
    """What a hot route answers to these messages; after the last one, nothing comes any more."""
    left = _messages(parts)
    sent: list[Message] = []

    async def receive() -> Message:
        for part in left:
            return part
        await asyncio.Event().wait()
        raise AssertionError("nothing more comes")

    async def send(message: Message) -> None:
        sent.append(message)

    async def handle(_: Headers, body: bytes) -> Answer:
        return Answer({"bytes": len(body)})

    async def run() -> None:
        route = Route(
            handle, ManualClock(NOW), "/x", room=lambda _: nullcontext(), body_seconds=seconds
        )
        lines = [(name.encode(), value.encode()) for name, value in headers.items()]
        await route({"type": "http", "headers": lines}, receive, send)

    asyncio.run(run())
    return sent


def _part(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


@pytest.mark.parametrize(
    ("parts", "headers", "status", "code"),
    [
        ([_part(b"{"), _part(b"}", more=False)], {}, 200, None),
        ([_part(b"{")], {}, 408, "body_too_slow"),
        ([], {}, 408, "body_too_slow"),
        ([_part(b"x" * 600_000), _part(b"x" * 600_000)], {}, 413, "too_large"),
        ([_part(b"x")], {"content-length": "1000001"}, 413, "too_large"),
        ([_part(b"x")], {"content-length": "9" * 5000}, 413, "too_large"),
        ([_part(b"x"), {"type": "http.disconnect"}], {}, 400, "incomplete_body"),
    ],
    ids=["in pieces", "slow", "silent", "without end", "declared", "absurd", "cut off"],
)
def test_e10_a_body_has_an_end_a_size_and_a_time(
    parts: list[Message], headers: dict[str, str], status: int, code: str | None
) -> None:
    seconds = 0.05 if status == 408 else 5
    start, body = _asked(parts, headers, seconds)

    assert start["status"] == status
    if code is not None:
        assert json.loads(body["body"])["error"]["code"] == code
    assert ((b"connection", b"close") in start["headers"]) == (status == 408)
