"""From the journal into the books: one transaction for a batch of stream entries.

Either all of it happens or nothing: keys, raw events, per-event debits, the ledger, the wallets,
what was refused, and the cursor that says how far the stream has been applied. Because the cursor
moves in the same transaction, no entry is applied twice, and none is passed over.

Everything is set-based, and the rows travel as bytes from the intake into COPY. A batch is first
taken for what it nearly always is, all new, and copied straight into its tables (`direct.py`). If
the database refuses that, nothing has happened, and the batch goes by way of a stage, where SQL
decides which rows are new (`incoming.verdict`):

* `new`: the key is unknown; the event gets the next `accept_seq`;
* `replay`: the key came from this very entry; nothing happens;
* `again`: the key is known with the same body. Redis had forgotten it and took the debit twice,
  so the second one is given back;
* `conflict`: the key is known with another body: kept for people, and the debit given back.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from enum import Enum, auto
from typing import Any
from uuid import UUID

import psycopg
from psycopg import Connection

from billing.failpoints import failpoint
from billing.usage.batch import (
    Applied,
    Batch,
    Compensation,
    CursorMovedError,
    JournalEntry,
    KeyRaceError,
    Position,
)
from billing.usage.counters import Advance, advance_counters, staged_advances
from billing.usage.days import KnownDays
from billing.usage.direct import NotDirectError, copy_new, cut
from billing.usage.posting import (
    UnknownWalletError,
    post_debits,
    staged_amounts,
    staged_without_wallet,
)
from billing.usage.refused import quarantine, record_refused
from billing.usage.row import COLUMNS, COPY_HEAD, COPY_TAIL
from billing.wallets.hold_store import record_holds
from billing.wallets.news_store import note_news

WATERMARK_CHANNEL = "usage_watermark"

_NAMES = ", ".join(name for name, _ in COLUMNS)
_TYPES = ", ".join(f"{name} {kind}" for name, kind in COLUMNS)

_STAGING = f"""
CREATE TEMP TABLE IF NOT EXISTS stage (
    ordinal bigint GENERATED ALWAYS AS IDENTITY (CACHE 1000), {_TYPES}
) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS incoming (
    ordinal bigint, {_TYPES}, stream_ms bigint, stream_seq bigint, place integer,
    received_at timestamptz, verdict text, accept_seq bigint
) ON COMMIT DELETE ROWS
"""

# A batch looks up few rows of large tables, always by their keys. The planner cannot know: the
# temporary tables have no statistics, and a plan made while the large ones were empty is kept.
# `billing.set_based` asks for the ledger's rules by statement instead of by row.
_BY_KEYS = """
SET enable_seqscan = off;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET billing.set_based = on
"""

_JUDGE = f"""
WITH located AS (
    SELECT s.*, width_bucket(s.ordinal - base.ordinal, %(firsts)s::bigint[]) AS entry,
        s.ordinal - base.ordinal AS offset_in_batch
    FROM pg_temp.stage s, (SELECT min(ordinal) AS ordinal FROM pg_temp.stage) base
), placed AS (
    SELECT l.*,
        (%(ms)s::bigint[])[l.entry] AS stream_ms,
        (%(seq)s::bigint[])[l.entry] AS stream_seq,
        ((%(places)s::bigint[])[l.entry] + l.offset_in_batch
            - (%(firsts)s::bigint[])[l.entry])::integer AS place,
        (%(received)s::timestamptz[])[l.entry] AS received_at
    FROM located l
), judged AS (
    SELECT p.*,
        CASE
            WHEN k.source IS NULL AND row_number() OVER same_key = 1 THEN 'new'
            WHEN (k.shard, k.epoch, k.stream_ms, k.stream_seq)
                    = (%(shard)s, %(epoch)s, p.stream_ms, p.stream_seq)
                AND k.body_hash = p.body_hash AND row_number() OVER same_key = 1 THEN 'replay'
            WHEN coalesce(k.body_hash, first_value(p.body_hash) OVER same_key) = p.body_hash
                THEN 'again'
            ELSE 'conflict'
        END AS verdict
    FROM placed p LEFT JOIN usage.event_key k USING (source, event_id)
    WINDOW same_key AS (PARTITION BY p.source, p.event_id ORDER BY p.ordinal)
)
INSERT INTO pg_temp.incoming
SELECT ordinal, {_NAMES}, stream_ms, stream_seq, place, received_at, verdict,
    CASE WHEN verdict = 'new' THEN
        %(accept_seq)s + row_number() OVER (PARTITION BY verdict ORDER BY ordinal) END
FROM judged
"""

_COUNT = "SELECT count(*) FILTER (WHERE verdict = 'new'), count(*) FROM pg_temp.incoming"

# in key order, so that two shards that take the same keys wait for each other instead of locking up
_KEYS = """
INSERT INTO usage.event_key (source, event_id, body_hash, shard, accept_seq, epoch, stream_ms,
    stream_seq, account_id, occurred_at, received_at)
SELECT source, event_id, body_hash, %(shard)s, accept_seq, %(epoch)s, stream_ms, stream_seq,
    account_id, occurred_at, received_at
FROM pg_temp.incoming WHERE verdict = 'new' ORDER BY source, event_id
ON CONFLICT DO NOTHING
"""

_RAW = """
INSERT INTO usage.raw_events (occurred_at, shard, accept_seq, source, event_id, revision,
    account_id, event_type, quantity, dimensions, vendor_cost, voided, received_at, recorded_at)
SELECT occurred_at, %(shard)s, accept_seq, source, event_id, 1, account_id, event_type, quantity,
    dimensions, vendor_cost, false, received_at, %(now)s
FROM pg_temp.incoming WHERE verdict = 'new' ORDER BY ordinal
"""

_DEBITS = """
INSERT INTO usage.usage_debits (shard, accept_seq, wallet_id, amount_units, rate_id, card_version,
    counted_on, counted_micros, occurred_at)
SELECT %(shard)s, accept_seq, wallet_id, amount_units, rate_id, card_version, counted_on,
    counted_micros, occurred_at
FROM pg_temp.incoming WHERE verdict = 'new' AND wallet_id IS NOT NULL ORDER BY ordinal
"""

_STATE = """
SELECT epoch, cursor_ms, cursor_seq, accept_seq, session FROM usage.shard_state
WHERE shard = %s FOR UPDATE
"""

# the announcement goes out when, and only if, this commits
_ADVANCE = """
UPDATE usage.shard_state SET cursor_ms = %s, cursor_seq = %s, accept_seq = %s WHERE shard = %s
RETURNING pg_notify(%s, %s)
"""

_POISON = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.errors.InternalError_,
    psycopg.errors.ProgramLimitExceeded,
    psycopg.errors.ProtocolViolation,
    UnknownWalletError,
)
"""Errors that lie in the data: they come back however often the batch is tried."""

_NOT_ALL_NEW = (*_POISON, NotDirectError, psycopg.errors.DeadlockDetected)
"""How a batch shows that it is not to be copied as it stands."""


class _Way(Enum):
    """How the rows get into their tables."""

    DIRECT = auto()
    STAGED = auto()
    CAREFUL = auto()
    """Staged, and looking for the rows that are at fault, by halves within savepoints."""


def prepare_connection(connection: Connection[Any]) -> None:
    """Give a connection the temporary tables and the settings that `apply_batch` works with."""
    with connection.transaction():
        connection.execute(_STAGING)
        connection.execute(_BY_KEYS)


def apply_batch(
    connection: Connection[Any], batch: Batch, *, now: datetime, days: KnownDays
) -> Applied:
    """Apply a batch in one transaction and announce the new cursor.

    Args:
        connection: prepared by `prepare_connection`, not inside a transaction.
        now: when the rows are written.
        days: the daily partitions known to exist.

    Raises:
        CursorMovedError: if the shard does not stand at `batch.after` in `batch.epoch`.
        KeyRaceError: if another shard took one of the keys at the same moment.
    """
    try:
        return _attempt(connection, batch, now, days, _Way.DIRECT)
    except _NOT_ALL_NEW:
        days.forget_all()  # one that was archived meanwhile refuses its rows like bad data
    try:
        return _attempt(connection, batch, now, days, _Way.STAGED)
    except _POISON:
        days.forget_all()
        return _attempt(connection, batch, now, days, _Way.CAREFUL)


def _attempt(
    connection: Connection[Any], batch: Batch, now: datetime, days: KnownDays, way: _Way
) -> Applied:
    work = _Work(connection, batch, now, days, way)
    try:
        with connection.transaction():
            applied = work.run()
            failpoint("writer.before_commit")
    except BaseException:
        days.forget_new()
        raise
    days.keep_new()
    return applied


class _Work:
    """One run of `apply_batch`."""

    def __init__(
        self, connection: Connection[Any], batch: Batch, now: datetime, days: KnownDays, way: _Way
    ) -> None:
        self.way = way
        self.connection = connection
        self.batch = batch
        self.now = now
        self.days = days
        self.accept_seq = 0
        self.session = 0
        self.new = 0
        self.accounts: set[UUID] = set()
        """That may be in another shard: what was applied is news there."""
        self.compensations: list[Compensation] = []
        self.exceptional: set[Position] = set()

    def run(self) -> Applied:
        batch = self.batch
        state = self.connection.execute(_STATE, [batch.shard]).fetchone()
        if state is None or tuple(state[:3]) != (batch.epoch, *batch.after):
            raise CursorMovedError(f"shard {batch.shard} stands at {state}, not at {batch.after}")
        self.accept_seq, self.session = state[3:]
        readable = [entry for entry in batch.entries if entry.broken is None and entry.count]
        for entry in batch.entries:
            if entry.broken is not None:
                self.set_aside(entry, entry.broken)
        if readable:
            self.post_readable(readable)
        if any(entry.holds for entry in batch.entries):
            self.accounts |= record_holds(self.connection, batch.entries)
        if self.accounts:
            note_news(self.connection, self.accounts, not_in=batch.shard, now=self.now)
        cursor = batch.entries[-1].position if batch.entries else batch.after
        said = [WATERMARK_CHANNEL, self.announcement(cursor)]
        self.connection.execute(_ADVANCE, [*cursor, self.accept_seq, batch.shard, *said])
        return Applied(
            cursor,
            self.accept_seq,
            self.new,
            tuple(self.compensations),
            frozenset(self.exceptional),
        )

    def post_readable(self, entries: Sequence[JournalEntry]) -> None:
        match self.way:
            case _Way.DIRECT:
                self.post_directly(entries)
            case _Way.STAGED:
                self.post_together(entries)
            case _Way.CAREFUL:
                self.post(entries)

    def post_directly(self, entries: Sequence[JournalEntry]) -> None:
        pieces = cut(self.batch, entries, self.accept_seq + 1, self.now)
        self.days.ensure(self.connection, pieces.utc_days)
        copy_new(self.connection, pieces)
        self.finish_new(pieces.events, pieces.amounts, pieces.advances)
        self.accounts |= pieces.without_wallet

    def post(self, entries: Sequence[JournalEntry]) -> None:
        """Post entries; if the data of one row is at fault, halve until that row stands alone."""
        before = (self.accept_seq, self.new, list(self.compensations), set(self.exceptional))
        try:
            with self.connection.transaction():
                self.post_together(entries)
        except _POISON as error:
            self.accept_seq, self.new, self.compensations, self.exceptional = before
            self.post_apart(entries, error)

    def post_apart(self, entries: Sequence[JournalEntry], error: Exception) -> None:
        if len(entries) == 1 and entries[0].count == 1:
            self.set_aside(entries[0], str(error))
            return
        if len(entries) == 1:
            try:
                entries = list(entries[0].apart())
            except ValueError as unreadable:
                self.set_aside(entries[0], str(unreadable))
                return
            if len(entries) == 1:
                self.post(entries)
                return
        middle = len(entries) // 2
        self.post(entries[:middle])
        self.post(entries[middle:])

    def post_together(self, entries: Sequence[JournalEntry]) -> None:
        connection = self.connection
        scope = {
            "shard": self.batch.shard,
            "epoch": self.batch.epoch,
            "now": self.now,
        }
        if self.way is _Way.CAREFUL:
            connection.execute("TRUNCATE pg_temp.stage, pg_temp.incoming")
        with connection.cursor() as cursor:
            with cursor.copy(f"COPY pg_temp.stage ({_NAMES}) FROM STDIN (FORMAT BINARY)") as copy:
                copy.write(COPY_HEAD + b"".join(entry.rows for entry in entries) + COPY_TAIL)
            copied = cursor.rowcount
        if copied != sum(entry.count for entry in entries):
            raise psycopg.DataError("an entry does not hold as many rows as it says")
        connection.execute(_JUDGE, {**scope, "accept_seq": self.accept_seq, **_places(entries)})
        new, all_rows = connection.execute(_COUNT).fetchone() or (0, 0)
        if new:
            self.write_new(new, scope)
        if new < all_rows:
            refused = record_refused(connection, now=self.now, **_identity(self.batch))
            self.compensations += refused.compensations
            self.exceptional |= refused.entries

    def write_new(self, new: int, scope: dict[str, Any]) -> None:
        connection = self.connection
        self.days.ensure(connection, _days(connection))
        if connection.execute(_KEYS, scope).rowcount != new:
            raise KeyRaceError("another shard took a key of this batch")
        failpoint("writer.after_keys")
        connection.execute(_RAW, scope)
        if connection.execute(_DEBITS, scope).rowcount < new:
            self.accounts |= staged_without_wallet(connection)
        self.finish_new(new, staged_amounts(connection), staged_advances(connection))

    def finish_new(
        self, new: int, amounts: Mapping[UUID, int], advances: Sequence[Advance]
    ) -> None:
        if advances:
            advance_counters(self.connection, advances, now=self.now)
        if amounts:
            reference = f"usage:{self.batch.shard}:{self.accept_seq + 1}"
            shard = self.batch.shard
            self.accounts |= post_debits(
                self.connection, shard, amounts, advances, reference=reference, now=self.now
            )
        failpoint("writer.after_ledger")
        self.accept_seq += new
        self.new += new

    def set_aside(self, entry: JournalEntry, reason: str) -> None:
        given_back = quarantine(
            self.connection, entry, reason, now=self.now, **_identity(self.batch)
        )
        if given_back is not None:
            self.compensations.append(given_back)
        self.exceptional.add(entry.position)

    def announcement(self, cursor: Position) -> str:
        """What the intake is told: from where to where, and which entries need a look."""
        batch = self.batch
        exceptional = ",".join(str(position) for position in sorted(self.exceptional))
        if len(exceptional) > 7000:  # a notification holds 8,000 bytes
            exceptional = "*"
        place = f"{batch.shard} {batch.epoch} {self.session}"
        return f"{place} {batch.after} {cursor} {exceptional}"


def _identity(batch: Batch) -> dict[str, int]:
    return {"shard": batch.shard, "epoch": batch.epoch}


def _places(entries: Sequence[JournalEntry]) -> dict[str, Any]:
    firsts, next_first = [], 0
    for entry in entries:
        firsts.append(next_first)
        next_first += entry.count
    return {
        "firsts": firsts,
        "ms": [entry.position.ms for entry in entries],
        "seq": [entry.position.seq for entry in entries],
        "places": [entry.first for entry in entries],
        "received": [entry.received_at for entry in entries],
    }


def _days(connection: Connection[Any]) -> list[date]:
    rows = connection.execute(
        "SELECT DISTINCT (occurred_at AT TIME ZONE 'UTC')::date FROM pg_temp.incoming "
        "WHERE verdict = 'new'"
    )
    return [row[0] for row in rows]
