"""The two ends of the journal: what an admission call sends, and what a stream entry holds."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from redis import Redis

from billing.rating.cumulative import CumulativePrice
from billing.usage.batch import JournalEntry, Position
from billing.usage.event import EPOCH, microseconds
from billing.wallets.keys import (
    COUNTER_SECONDS,
    DEDUPE_SECONDS,
    REMEMBER_SECONDS,
    ShardKeys,
    day_before,
)

_HEAD: Final = struct.Struct(">16s8sHQI")
_RECEIVED_END: Final = 7
_MS_END: Final = 13
"""Where in a mark, behind the hash, the time and the first part of the entry end; see admit.lua."""

_COUNTER: Final = struct.Struct(">H")
_COUNTED: Final = 0x8000
"""Added to the number of a wallet: see admit.lua."""
FORMAT: Final = b"2"


@dataclass(frozen=True, slots=True)
class Count:
    """What an event adds to a counter of its period, which decides its price."""

    rate_id: UUID
    counted_on: date
    """First local day of the days that are counted together."""
    quantity: int
    """Millionths of a unit."""
    price: CumulativePrice


@dataclass(slots=True)
class Admission:
    """One event on its way in."""

    digest: bytes
    body_hash: bytes
    wallet_id: UUID | None
    amount_units: int
    row: bytes
    count: Count | None = None
    """If set, the debit is worked out, and written into the row, by admit.lua."""
    hold: str = ""
    """The name of the hold it captures, if that is open."""
    quotas: tuple[tuple[str, int], ...] = ()
    """The quotas it counts for, with millionths of a unit."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """Redis' answer to one call."""

    position: Position | None
    """Of the new stream entry; None if nothing was admitted."""
    letters: str
    """One for each event: see admit.lua."""
    marks: list[tuple[datetime, Position]]
    """For each `d`: when the first one was received, and its entry."""


def admit_call(
    keys: ShardKeys, admissions: Sequence[Admission], received_at: datetime
) -> tuple[list[str], list[Any]]:
    """Keys and arguments of one call of admit.lua."""
    wallets: dict[UUID, int] = {}
    counters = _Counters(keys)
    heads = []
    for one in admissions:
        number = 0
        if one.wallet_id is not None:
            number = wallets.setdefault(one.wallet_id, len(wallets) + 1)
        if one.count is None or one.wallet_id is None:
            rest = (number, one.amount_units, len(one.row))
            heads.append(_HEAD.pack(one.digest, one.body_hash, *rest))
        else:
            rest = (number + _COUNTED, one.count.quantity, len(one.row))
            heads.append(_HEAD.pack(one.digest, one.body_hash, *rest))
            heads.append(_COUNTER.pack(counters.number(one.wallet_id, one.count)))
    today = received_at.astimezone(UTC).date()
    return (
        [keys.epoch_key, keys.stream, *(keys.wallet(wallet) for wallet in wallets)],
        [
            keys.epoch,
            microseconds(received_at),
            keys.buckets(today),
            keys.buckets(day_before(today)),
            DEDUPE_SECONDS,
            b"".join(heads),
            b"".join([one.row for one in admissions]),
            counters.packed(),
            COUNTER_SECONDS,
            _effects(keys, admissions),
        ],
    )


def _effects(keys: ShardKeys, admissions: Sequence[Admission]) -> bytes:
    """What some of the events do besides; nothing for most calls."""
    found = [
        (number, one.hold, one.quotas)
        for number, one in enumerate(admissions, 1)
        if one.hold or one.quotas
    ]
    if not found:
        return b""
    places = (keys.open_holds, keys.holds, keys.wallets, keys.quotas, REMEMBER_SECONDS)
    return msgspec.msgpack.encode((places, found))


class _Counters:
    """The counters of one call, each named once, with their prices."""

    def __init__(self, keys: ShardKeys) -> None:
        self._keys = keys
        self._numbers: dict[tuple[UUID, date, UUID], int] = {}
        self._counters: list[tuple[str, str, int]] = []
        self._prices: dict[CumulativePrice, int] = {}

    def number(self, wallet_id: UUID, count: Count) -> int:
        """The counter's place in the list, from 1."""
        name = (wallet_id, count.counted_on, count.rate_id)
        found = self._numbers.get(name)
        if found is None:
            price = self._prices.setdefault(count.price, len(self._prices) + 1)
            key = self._keys.counters(wallet_id, count.counted_on)
            self._counters.append((key, count.rate_id.hex, price))
            found = self._numbers[name] = len(self._counters)
        return found

    def packed(self) -> bytes:
        """As admit.lua reads it."""
        if not self._counters:
            return b""
        prices = [(price.free, price.size, price.steps) for price in self._prices]
        return msgspec.msgpack.encode((self._counters, prices))


def read_answer(answer: list[Any]) -> Admitted | None:
    """What admit.lua says; None when it was fenced."""
    if answer[0] != 1:
        return None
    _, entry_id, letters, marks = answer
    return Admitted(
        Position.parse(entry_id.decode()) if entry_id else None,
        letters.decode(),
        [_read_mark(mark) for mark in marks],
    )


def dedupe_field(body_hash: bytes, received_at: datetime) -> bytes:
    """The mark of an event that PostgreSQL has, as a rebuild writes it."""
    return (
        body_hash
        + microseconds(received_at).to_bytes(_RECEIVED_END)
        + bytes(_MS_END - _RECEIVED_END)
    )


def _read_mark(mark: bytes) -> tuple[datetime, Position]:
    received_us = int.from_bytes(mark[:_RECEIVED_END])
    position = Position(int.from_bytes(mark[_RECEIVED_END:_MS_END]), int.from_bytes(mark[_MS_END:]))
    return EPOCH + timedelta(microseconds=received_us), position


def read_entry(entry_id: bytes, fields: dict[bytes, bytes]) -> JournalEntry:
    """A stream entry, or a broken one that says why."""
    position = Position.parse(entry_id.decode())
    if fields.get(b"v") != FORMAT:
        return JournalEntry(position, EPOCH, 0, repr(fields).encode(), broken="unknown format")
    try:
        received_at = EPOCH + timedelta(microseconds=int(fields[b"r"]))
        rows, holds = fields[b"p"], fields.get(b"h", b"")
        return JournalEntry(position, received_at, int(fields[b"n"]), rows, holds=holds)
    except (KeyError, ValueError, OverflowError) as error:
        return JournalEntry(position, EPOCH, 0, repr(fields).encode(), broken=repr(error))


def read_entries(
    redis: Redis, keys: ShardKeys, after: Position, *, count: int, block_ms: int | None = None
) -> list[JournalEntry]:
    """The entries that follow a position; waits up to `block_ms` for the first."""
    found: Any = redis.xread({keys.stream: str(after)}, count=count, block=block_ms)
    if not found:
        return []
    entries = found[keys.stream.encode()][0] if isinstance(found, dict) else found[0][1]
    return [read_entry(entry_id, fields) for entry_id, fields in entries]


def utc_day(instant: datetime) -> date:
    """The UTC day whose buckets an event received then is in."""
    return instant.astimezone(UTC).date()
