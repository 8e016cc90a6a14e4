"""The quick way into the books: rows from the journal by COPY straight into their tables.

Almost every batch holds nothing but new events. So the rows are not staged and judged first: they
are copied into `event_key`, `raw_events` and `usage_debits` as they stand, cut from the bytes that
the intake made. The primary key of `event_key` is the judge: a key that is known, or comes twice,
fails the transaction, and the batch is applied anew by way of the stage.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from psycopg import Connection

from billing.failpoints import failpoint
from billing.usage.batch import Batch, JournalEntry
from billing.usage.counters import Advance
from billing.usage.event import microseconds
from billing.usage.row import COLUMNS, COPY_HEAD, COPY_TAIL, POSTGRES_EPOCH_DAY, POSTGRES_EPOCH_US

_KEYS: Final = """
COPY usage.event_key (shard, accept_seq, epoch, stream_ms, stream_seq, received_at, account_id,
    source, event_id, body_hash, occurred_at) FROM STDIN (FORMAT BINARY)
"""
_RAW: Final = """
COPY usage.raw_events (shard, accept_seq, revision, voided, received_at, recorded_at, account_id,
    source, event_id, event_type, occurred_at, quantity, dimensions, vendor_cost)
FROM STDIN (FORMAT BINARY)
"""
_DEBITS: Final = """
COPY usage.usage_debits (shard, accept_seq, wallet_id, rate_id, amount_units, card_version,
    counted_on, counted_micros, occurred_at) FROM STDIN (FORMAT BINARY)
"""

# wallet, account, rate, amount and version of the card with their lengths, the lengths of the two
# columns of a counter (nearly always absent), and the length of the source
_HEAD: Final = struct.Struct(">hi16si16si16siqiiiii")
_PRICED: Final = struct.Struct(">iqiii")
_COUNTED: Final = struct.Struct(">iiq")
_ABSENT: Final = -1
_LENGTH: Final = struct.Struct(">i")
_HASH_TYPE: Final = struct.Struct(">i8si")
_TIME: Final = struct.Struct(">iqi")
_UUID: Final = 16
_SHAPE: Final = (len(COLUMNS), 16, 8, 8, 8)
"""Columns of a row; lengths of account, amount, hash and time."""
_NO_ROWS: Final = 2
"""Head and tail alone."""
_START: Final = struct.Struct(">hiii")
"""Number of columns, then a shard, then the length of an accept_seq."""
_SEQ: Final = struct.Struct(">q")
_KEY_ENTRY: Final = struct.Struct(">iqiqiqiq")
_RAW_ENTRY: Final = struct.Struct(">iii?iqiq")
_DAY_US: Final = 86_400_000_000


class NotDirectError(Exception):
    """The rows cannot be cut as they should; by way of the stage it will be seen why."""


@dataclass(slots=True)
class Pieces:
    """What goes into each table, in pieces, and what it adds up to."""

    keys: list[bytes] = field(default_factory=lambda: [COPY_HEAD])
    raw: list[bytes] = field(default_factory=lambda: [COPY_HEAD])
    debits: list[bytes] = field(default_factory=lambda: [COPY_HEAD])
    days: set[int] = field(default_factory=set)
    """UTC days of the events, counted from PostgreSQL's epoch."""
    spent: dict[bytes, int] = field(default_factory=dict)
    """Wallet units by wallet."""
    counted: dict[tuple[bytes, bytes, int], int] = field(default_factory=dict)
    """Millionths of a unit by wallet, rate and day of the counter."""
    unpaid: set[bytes] = field(default_factory=set)
    """Accounts of events without a wallet."""
    events: int = 0

    @property
    def without_wallet(self) -> set[UUID]:
        """Whose events are without a wallet."""
        return {UUID(bytes=account) for account in self.unpaid}

    @property
    def utc_days(self) -> list[date]:
        """The days as dates."""
        return [POSTGRES_EPOCH_DAY + timedelta(days=number) for number in self.days]

    @property
    def amounts(self) -> dict[UUID, int]:
        """What is taken from each wallet."""
        return {UUID(bytes=wallet): amount for wallet, amount in self.spent.items()}

    @property
    def advances(self) -> list[Advance]:
        """What is added to each counter."""
        return [
            Advance(
                UUID(bytes=wallet),
                UUID(bytes=rate),
                POSTGRES_EPOCH_DAY + timedelta(days=day),
                micros,
            )
            for (wallet, rate, day), micros in self.counted.items()
        ]


def cut(batch: Batch, entries: Sequence[JournalEntry], first_seq: int, now: datetime) -> Pieces:
    """Make of the journal's rows the rows of the tables, numbered from `first_seq` on.

    Raises:
        NotDirectError: if the rows are not as they should be.
    """
    pieces = Pieces()
    recorded = microseconds(now) - POSTGRES_EPOCH_US
    try:
        for entry in entries:
            before = pieces.events
            _cut_entry(pieces, batch, entry, first_seq + before, recorded)
            if pieces.events - before != entry.count:
                raise NotDirectError("an entry does not hold as many rows as it says")
    except struct.error as error:
        raise NotDirectError(str(error)) from error
    for rows in (pieces.keys, pieces.raw, pieces.debits):
        rows.append(COPY_TAIL)
    return pieces


def _cut_entry(
    pieces: Pieces, batch: Batch, entry: JournalEntry, accept_seq: int, recorded: int
) -> None:
    # one long loop on purpose: a call for each event and table would double its time
    ours = [_START.pack(columns, 4, batch.shard, 8) for columns in (11, 14, 9)]
    key_start, raw_start, debit_start = ours
    received = microseconds(entry.received_at) - POSTGRES_EPOCH_US
    key_entry = _KEY_ENTRY.pack(
        8, batch.epoch, 8, entry.position.ms, 8, entry.position.seq, 8, received
    )
    raw_entry = _RAW_ENTRY.pack(4, 1, 1, False, 8, received, 8, recorded)
    add_key, add_raw, add_debit = pieces.keys.extend, pieces.raw.extend, pieces.debits.extend
    days, spent, length_at = pieces.days, pieces.spent, _LENGTH.unpack_from
    rows, at, end, number = entry.rows, 0, len(entry.rows), accept_seq
    while at < end:
        columns, in_wallet, wallet, in_account, _, in_rate, _, *priced, in_day, _, in_source = (
            _HEAD.unpack_from(rows, at)
        )
        eight, amount = priced[:2]
        account_at, rate_at, source_at = at + 22, at + 42, at + 90
        if in_wallet != _UUID or in_rate != _UUID or in_day != _ABSENT:
            in_wallet, wallet, in_account, eight, amount, in_source, *places = _uncommon(
                pieces, rows, at
            )
            account_at, rate_at, source_at = places
        id_at = source_at + 4 + in_source
        hash_at = id_at + 4 + length_at(rows, id_at)[0]
        in_hash, _, in_type = _HASH_TYPE.unpack_from(rows, hash_at)
        time_at = hash_at + 16 + in_type
        in_time, occurred, in_quantity = _TIME.unpack_from(rows, time_at)
        json_at = time_at + 16 + in_quantity
        cost_at = json_at + 4 + length_at(rows, json_at)[0]
        after = cost_at + 4 + max(length_at(rows, cost_at)[0], 0)
        if (columns, in_account, eight, in_hash, in_time) != _SHAPE:
            raise NotDirectError("a row has another shape")
        if not at < id_at < hash_at < time_at < json_at < cost_at < after <= end:
            raise NotDirectError("a row is cut off")
        seq, account, time = (
            _SEQ.pack(number),
            rows[account_at:rate_at],
            rows[time_at : time_at + 12],
        )
        name_and_hash, name = rows[source_at : hash_at + 12], rows[source_at:hash_at]
        add_key((key_start, seq, key_entry, account, name_and_hash, time))
        add_raw((raw_start, seq, raw_entry, account, name, rows[hash_at + 12 : after]))
        if in_wallet == _UUID:
            add_debit((debit_start, seq, rows[at + 2 : at + 22], rows[rate_at:source_at], time))
            spent[wallet] = spent.get(wallet, 0) + amount
        days.add(occurred // _DAY_US)
        number += 1
        at = after
    pieces.events += number - accept_seq


def _uncommon(pieces: Pieces, rows: bytes, at: int) -> tuple[Any, ...]:
    """The head of a row without a wallet or a rate, or with a counter, as `_cut_entry` needs it."""
    (in_wallet,) = _LENGTH.unpack_from(rows, at + 2)
    account_at = at + 6 + max(in_wallet, 0)
    (in_account,) = _LENGTH.unpack_from(rows, account_at)
    rate_at = account_at + 20
    (in_rate,) = _LENGTH.unpack_from(rows, rate_at)
    amount_at = rate_at + 4 + max(in_rate, 0)
    eight, amount, _, _, in_day = _PRICED.unpack_from(rows, amount_at)
    if in_wallet != _UUID:
        pieces.unpaid.add(rows[account_at + 4 : rate_at])
    wallet, rate = rows[at + 6 : account_at], rows[rate_at + 4 : amount_at]
    source_at = amount_at + 28
    if in_day != _ABSENT:
        day, in_micros, micros = _COUNTED.unpack_from(rows, amount_at + 24)
        if (in_wallet, in_rate, in_day, in_micros) != (_UUID, _UUID, 4, 8):
            raise NotDirectError("a counter has another shape")
        counter = (wallet, rate, day)
        pieces.counted[counter] = pieces.counted.get(counter, 0) + micros
        source_at = amount_at + 40
    (in_source,) = _LENGTH.unpack_from(rows, source_at)
    return in_wallet, wallet, in_account, eight, amount, in_source, account_at, rate_at, source_at


def copy_new(connection: Connection[Any], pieces: Pieces) -> None:
    """Copy the rows into their tables.

    Raises:
        psycopg.Error: whatever PostgreSQL finds wrong, such as a key that is known already.
    """
    with connection.cursor() as cursor:
        for statement, rows in (
            (_KEYS, pieces.keys),
            (_RAW, pieces.raw),
            (_DEBITS, pieces.debits),
        ):
            if len(rows) > _NO_ROWS:
                with cursor.copy(statement) as copy:
                    copy.write(b"".join(rows))
            if rows is pieces.keys:
                failpoint("writer.after_keys")
