"""Checking events, and reading them from bodies."""

import contextlib
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import connect

from billing.errors import InvalidError, TooLargeError
from billing.usage.body import read_events
from billing.usage.event import EventCheck, Rejected, UsageEvent
from billing.usage.row import COPY_HEAD, COPY_TAIL, encode_row, row_head, split_rows, uuid_field
from tests.support.factories.usage import NOW, make_event

NOW_ACCOUNT = UUID(int=5)

BASE: dict[str, Any] = {
    "source": "core",
    "event_id": "e1",
    "event_type": "otp.sms",
    "occurred_at": "2026-07-15T10:00:00+05:30",
    "alias": "acme",
}


def read(text: str | bytes) -> UsageEvent | Rejected:
    body = text.encode() if isinstance(text, str) else text
    items, _ = read_events(body, EventCheck(NOW))
    return items[0]


def body_hash(**changes: Any) -> bytes:
    item = read(json.dumps({**BASE, **changes}))
    assert isinstance(item, UsageEvent), item
    return item.body_hash


def test_spellings_of_one_event_have_one_hash() -> None:
    plain = body_hash()
    same: list[dict[str, Any]] = [
        {"quantity": 1},
        {"quantity": "1.000"},
        {"occurred_at": "2026-07-15T04:30:00Z"},
        {"occurred_at": "2026-07-15T04:30:00.000000+00:00"},
        {"dimensions": {}},
    ]
    assert {body_hash(**changes) for changes in same} == {plain}
    assert body_hash(dimensions={"a": "1", "b": "2"}) == body_hash(dimensions={"b": "2", "a": "1"})
    assert body_hash(dimensions={"a": "é"}) == body_hash(dimensions={"a": "e\u0301"})


def test_every_billable_field_changes_the_hash() -> None:
    hashes = [
        body_hash(**changes)
        for changes in (
            {},
            {"event_type": "otp.voice"},
            {"occurred_at": "2026-07-15T10:00:00.000001+05:30"},
            {"alias": "acme2"},
            {"quantity": 2},
            {"cost": 1},
            {"dimensions": {"a": "1"}},
            {"dimensions": {"a": "2"}},
        )
    ]
    assert len(set(hashes)) == len(hashes)


@pytest.mark.parametrize(
    ("shift", "accepted"),
    [
        (timedelta(days=-35), True),
        (timedelta(days=-35, microseconds=-1), False),
        (timedelta(minutes=5), True),
        (timedelta(minutes=5, microseconds=1), False),
    ],
)
def test_the_window_is_exact_to_the_microsecond(shift: timedelta, accepted: bool) -> None:
    item = read(json.dumps({**BASE, "occurred_at": (NOW + shift).isoformat()}))

    assert isinstance(item, UsageEvent) is accepted


@given(st.integers(0, 10**12 - 1), st.integers(0, 10**6 - 1))
def test_quantities_are_exact(whole: int, fraction: int) -> None:
    item = read(json.dumps({**BASE, "quantity": f"{whole}.{fraction:06}"}))

    assert isinstance(item, UsageEvent)
    assert item.quantity == Decimal(whole) + Decimal(fraction).scaleb(-6)


@given(st.binary(max_size=200))
def test_no_bytes_bring_the_reader_down(body: bytes) -> None:
    with contextlib.suppress(InvalidError, TooLargeError):
        read_events(body, EventCheck(NOW))


any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from([*BASE, "account_id", "quantity", "dimensions", "cost"]), any_json)
def test_any_value_in_any_field_is_taken_or_named(field: str, value: Any) -> None:
    try:
        item = read(json.dumps({**BASE, field: value}))
    except InvalidError:
        return
    if isinstance(item, Rejected):
        assert item.fields


@given(st.dictionaries(st.text(max_size=70), st.text(max_size=260), max_size=34))
def test_dimensions_that_are_taken_can_be_stored(dimensions: dict[str, str]) -> None:
    try:
        item = read(json.dumps({**BASE, "dimensions": dimensions}))
    except InvalidError:
        return
    if isinstance(item, UsageEvent):
        assert len(item.dimensions) <= 32
        assert "\x00" not in "".join([*item.dimensions, *item.dimensions.values()])
        assert json.loads(item.dimensions_json) == item.dimensions


@given(
    st.dictionaries(st.sampled_from(["a", "b", ":c"]), st.sampled_from([":x", '"', "y"])),
    st.booleans(),
    st.sampled_from(["", " ", "\n"]),
)
def test_a_repeated_key_is_found_however_it_is_written(
    dimensions: dict[str, str], repeat: bool, space: str
) -> None:
    members = [f"{json.dumps(k)}{space}:{json.dumps(v)}" for k, v in dimensions.items()]
    if repeat and members:
        members.append(members[0])
    text = json.dumps(BASE)[:-1] + ', "dimensions": {' + ",".join(members) + "}}"

    assert isinstance(read(text), Rejected) is (repeat and bool(members))


@pytest.mark.parametrize("counted", [False, True])
def test_a_row_is_what_postgresql_reads(database_url: str, counted: bool) -> None:
    event = make_event(
        "e1",
        NOW_ACCOUNT,
        quantity="12345.678901",
        occurred_at=datetime(2026, 7, 1, 1, 2, 3, 456789, tzinfo=UTC),
        dimensions={"country": "IN", "note": "é\u200f😀"},
    )
    row = encode_row(
        row_head(None, NOW_ACCOUNT),
        uuid_field(NOW_ACCOUNT),
        77,
        event,
        card_version=9,
        counted=(date(2026, 7, 1), 5_000_000) if counted else None,
    )
    assert list(split_rows(row + row)) == [row, row]
    with connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE TEMP TABLE t (wallet_id uuid, account_id uuid, rate_id uuid, amount bigint, "
            "card integer, counted_on date, counted bigint, source text, event_id text, "
            "body_hash bytea, event_type text, "
            "occurred_at timestamptz, quantity numeric, dimensions jsonb, cost numeric)"
        )
        with cursor.copy("COPY t FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(COPY_HEAD + row + COPY_TAIL)
        assert cursor.execute("SELECT * FROM t").fetchone() == (
            None,
            NOW_ACCOUNT,
            NOW_ACCOUNT,
            77,
            9,
            *((date(2026, 7, 1), 5_000_000) if counted else (None, None)),
            "core",
            "e1",
            event.body_hash,
            "otp.sms",
            event.occurred_at,
            event.quantity,
            event.dimensions,
            None,
        )
