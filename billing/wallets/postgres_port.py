"""PostgreSQL as the writer and the rebuild use it: `billing.wallets.ports` filled in."""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from psycopg import Connection

from billing.clock import Clock
from billing.usage.apply import WATERMARK_CHANNEL, apply_batch, prepare_connection
from billing.usage.batch import (
    Applied,
    Batch,
    Compensation,
    CursorMovedError,
    JournalEntry,
    KeyRaceError,
    Position,
)
from billing.usage.counters import Advance, advance_of
from billing.usage.days import KnownDays
from billing.usage.event import microseconds
from billing.usage.row import AMOUNT_AT, split_rows
from billing.usage.tables import ShardMode
from billing.wallets import hold_store
from billing.wallets.holds import Asked, Hold, HoldAnswer
from billing.wallets.keys import COUNTER_SECONDS, ShardKeys
from billing.wallets.ports import (
    Adjustment,
    Counted,
    JournalPoint,
    NotDirectError,
    RecentKey,
    ShardRow,
    WalletRow,
)

_KEYS_PER_PART: Final = 5_000
_AMOUNT: Final = struct.Struct(">q")
_TOO_MUCH: Final = 2**62
"""Set aside by `apply_batch`, since no wallet can pay it."""

_STATE = """
SELECT epoch, cursor_ms, cursor_seq, mode, session, undrained_epoch, undrained_ms, undrained_seq
FROM usage.shard_state WHERE shard = %s
"""
_NEW_SHARD = """
INSERT INTO usage.shard_state (shard, epoch, cursor_ms, cursor_seq, accept_seq, mode)
VALUES (%s, 1, 0, 0, 0, 'open') ON CONFLICT DO NOTHING
"""
_ENTER_DIRECT = """
UPDATE usage.shard_state SET mode = 'direct', epoch = %(epoch)s, cursor_ms = 0, cursor_seq = 0,
    undrained_epoch = epoch, undrained_ms = cursor_ms, undrained_seq = cursor_seq
WHERE shard = %(shard)s AND epoch = %(leaving)s AND mode <> 'direct'
"""
_LEAVE_DIRECT = """
UPDATE usage.shard_state SET mode = 'rebuilding', epoch = %(epoch)s, cursor_ms = 0,
    cursor_seq = 0, undrained_epoch = NULL, undrained_ms = NULL, undrained_seq = NULL
WHERE shard = %(shard)s AND epoch = %(leaving)s AND mode = 'direct'
"""
_TAKE_UP = "UPDATE usage.shard_state SET session = session + 1 WHERE shard = %s"
_ANNOUNCE = """
SELECT pg_notify(%s, concat_ws(' ', shard, epoch, session, '0-0', '0-0', ''))
FROM usage.shard_state WHERE shard = %s
"""
_OPEN = "UPDATE usage.shard_state SET mode = 'open' WHERE shard = %s AND epoch = %s"
_DRAINED = """
UPDATE usage.shard_state SET undrained_epoch = %s, undrained_ms = %s, undrained_seq = %s
WHERE shard = %s
"""
_SETTLE_DRIFTS = """
WITH settled AS (
    UPDATE usage.wallet_drifts SET settled_at = %s WHERE shard = %s AND settled_at IS NULL
    RETURNING wallet_id
)
SELECT pg_notify('billing_accounts', w.account_id::text)
FROM billing.wallets w JOIN settled s ON s.wallet_id = w.id
"""

_WALLETS = """
SELECT id, balance_units, adjustment_seq, credit_line_units, low_balance_units,
    CASE WHEN %(counters)s THEN (
        SELECT json_agg(json_build_array(c.rate_id, c.counted_on, c.quantity_micros))
        FROM usage.price_counters c WHERE c.wallet_id = w.id AND c.updated_at >= %(since)s
    ) END
FROM billing.wallets w
WHERE shard = %(shard)s AND (%(only)s::uuid[] IS NULL OR id = ANY (%(only)s))
    AND NOT (%(arrived)s AND EXISTS (
        SELECT 1 FROM billing.account_moves m WHERE m.account_id = w.account_id
            AND m.moved_at IS NOT NULL AND m.arrived_at IS NULL))
ORDER BY id
"""
_MOVED_AWAY = """
SELECT DISTINCT a.id FROM billing.account_moves m JOIN billing.accounts a ON a.id = m.account_id
WHERE m.from_shard = %(shard)s AND m.moved_at IS NOT NULL AND a.shard <> %(shard)s
"""
_ADJUSTMENTS = """
SELECT seq, amount_units, counter_changes FROM billing.wallet_adjustments
WHERE wallet_id = %s AND seq > %s ORDER BY seq LIMIT %s
"""
_COUNTERS = """
SELECT wallet_id, rate_id, counted_on, quantity_micros FROM usage.price_counters
WHERE wallet_id = ANY (%s)
"""
_HAS_USAGE = "SELECT EXISTS (SELECT 1 FROM usage.usage_debits WHERE wallet_id = %s)"
_ACCOUNT_OF = "SELECT account_id FROM billing.wallets WHERE id = %s"
_COMPENSATIONS = """
SELECT stream_ms, stream_seq, position, wallet_id, amount_units, rate_id, counted_on,
    counted_micros
FROM usage.redis_compensations WHERE shard = %s AND epoch = %s
ORDER BY stream_ms, stream_seq, position
"""
_RECENT_KEYS = """
SELECT source, event_id, body_hash, received_at FROM (
    SELECT source, event_id, body_hash, received_at FROM usage.event_key
    WHERE shard = %s ORDER BY accept_seq DESC LIMIT %s
) newest WHERE received_at >= %s
"""


class PostgresPort:
    """A server, through one connection that is not inside a transaction."""

    def __init__(self, connection: Connection[Any], clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self._days = KnownDays()
        self._prepared = False

    def shard(self, shard: int) -> ShardRow:
        """The shard's row; made if there is none."""
        row = self._connection.execute(_STATE, [shard]).fetchone()
        if row is None:
            self._connection.execute(_NEW_SHARD, [shard])
            return self.shard(shard)
        return _shard_row(row)

    def apply(self, batch: Batch) -> Applied:
        """Apply a batch and announce the cursor."""
        self._prepare()
        while True:
            try:
                return apply_batch(self._connection, batch, now=self._clock.now(), days=self._days)
            except KeyRaceError:
                continue

    def apply_direct(
        self,
        shard: int,
        epoch: int,
        entries: Sequence[JournalEntry],
        drained_to: JournalPoint | None = None,
        counted: Sequence[Counted] = (),
    ) -> Applied:
        """Apply entries in direct mode, in positions of their own.

        Args:
            counted: rows of the only entry that are to be priced by the counters as they are.
        """
        self._prepare()
        while True:
            try:
                with self._connection.transaction():
                    applied = self._apply_locked(shard, epoch, entries, counted)
                    if drained_to is not None:
                        values = [drained_to.epoch, *drained_to.position, shard]
                        self._connection.execute(_DRAINED, values)
            except KeyRaceError:
                self._days = KnownDays()
            except BaseException:
                self._days = KnownDays()  # those made in it may have come to nothing
                raise
            else:
                return applied

    def _apply_locked(
        self,
        shard: int,
        epoch: int,
        entries: Sequence[JournalEntry],
        counted: Sequence[Counted],
    ) -> Applied:
        row = self._lock_direct(shard, epoch)
        if counted:
            entries = [self._price(entries[0], counted)]
        now = self._clock.now()
        first = max(Position(microseconds(now) // 1000, 0), _next(row.cursor))
        placed = tuple(
            replace(entry, position=Position(first.ms, first.seq + offset))
            for offset, entry in enumerate(entries)
        )
        batch = Batch(shard, epoch, row.cursor, placed)
        return apply_batch(self._connection, batch, now=now, days=self._days)

    def _lock_direct(self, shard: int, epoch: int) -> ShardRow:
        """The row stays locked until the transaction ends: several processes take turns."""
        found = self._connection.execute(f"{_STATE} FOR UPDATE", [shard]).fetchone()
        row = None if found is None else _shard_row(found)
        if row is None or (row.epoch, row.mode) != (epoch, ShardMode.DIRECT):
            raise NotDirectError(f"shard {shard} is not in direct mode of epoch {epoch}: {row}")
        return row

    def decide_holds(self, shard: int, epoch: int, asked: Sequence[Asked]) -> list[HoldAnswer]:
        """Answer what is asked of holds in direct mode."""
        with self._connection.transaction():
            self._lock_direct(shard, epoch)
            return hold_store.decide(self._connection, shard, asked, self._clock.now())

    def holds(self, shard: int) -> dict[str, Hold]:
        """All holds of the shard's accounts that are open or remembered, by name."""
        return hold_store.holds_of_shard(self._connection, shard, self._clock.now())

    def _price(self, entry: JournalEntry, counted: Sequence[Counted]) -> JournalEntry:
        """Write into the rows what they cost where the counters stand now.

        An event that turns out to be known makes those after it dearer or cheaper than they are
        by what it was counted; the true-up settles that, as it does for Redis.
        """
        rows = list(split_rows(entry.rows))
        found = self._connection.execute(_COUNTERS, [[one.wallet_id for one in counted]])
        counters = {tuple(key): quantity for *key, quantity in found}
        for place, wallet, count in counted:
            key = (wallet, count.rate_id, count.counted_on)
            before = counters.get(key, 0)
            try:
                amount = count.price.between(before, count.quantity)
            except OverflowError:
                amount = _TOO_MUCH
            counters[key] = before + count.quantity
            row = rows[place]
            rows[place] = row[:AMOUNT_AT] + _AMOUNT.pack(amount) + row[AMOUNT_AT + 8 :]
        return replace(entry, rows=b"".join(rows))

    def enter_direct(self, shard: int, *, leaving: int, epoch: int) -> None:
        """From an epoch with a journal to direct mode."""
        self._move(_ENTER_DIRECT, shard, leaving, epoch)

    def leave_direct(self, shard: int, *, leaving: int, epoch: int) -> None:
        """Close direct mode for an epoch with a journal that nobody may use yet."""
        self._move(_LEAVE_DIRECT, shard, leaving, epoch)

    def open(self, shard: int, epoch: int) -> None:
        """Let an epoch be used that Redis shows, and announce it."""
        with self._connection.transaction():
            self._connection.execute(_OPEN, [shard, epoch])
            self._connection.execute(_SETTLE_DRIFTS, [self._clock.now(), shard])
            self._announce(shard)

    def _move(self, statement: str, shard: int, leaving: int, epoch: int) -> None:
        with self._connection.transaction():
            values = {"shard": shard, "leaving": leaving, "epoch": epoch}
            if self._connection.execute(statement, values).rowcount != 1:
                raise CursorMovedError(f"shard {shard} left epoch {leaving} already")
            self._announce(shard)

    def _announce(self, shard: int) -> None:
        self._connection.execute(_ANNOUNCE, [WATERMARK_CHANNEL, shard])

    def take_up(self, shard: int) -> None:
        """Say that entries come from a connection that was opened before this."""
        self._connection.execute(_TAKE_UP, [shard])

    def wallets(
        self,
        shard: int,
        only: Sequence[UUID] | None = None,
        *,
        counters: bool = False,
        arrived: bool = False,
    ) -> list[WalletRow]:
        """The shard's wallets, or some of them, of one instant."""
        values = {
            "shard": shard,
            "only": None if only is None else list(only),
            "counters": counters,
            "arrived": arrived,
            "since": self._clock.now() - timedelta(seconds=COUNTER_SECONDS),
        }
        return [
            WalletRow(wallet, balance, seq, credit_line, low, _counters(wallet, held or []))
            for wallet, balance, seq, credit_line, low, held in self._connection.execute(
                _WALLETS, values
            )
        ]

    def moved_away(self, shard: int) -> list[UUID]:
        """The accounts that were in this shard and are in another one."""
        return [row[0] for row in self._connection.execute(_MOVED_AWAY, {"shard": shard})]

    def adjustments(self, wallet: UUID, after: int, most: int) -> list[Adjustment]:
        """The adjustments that follow a number."""
        rows = self._connection.execute(_ADJUSTMENTS, [wallet, after, most])
        return [
            Adjustment(seq, amount, _counters(wallet, changes or []))
            for seq, amount, changes in rows
        ]

    def has_usage(self, wallet: UUID) -> bool:
        """Whether an event was ever debited."""
        row = self._connection.execute(_HAS_USAGE, [wallet]).fetchone()
        return row is not None and bool(row[0])

    def account_of(self, wallet: UUID) -> UUID:
        """Whose it is."""
        ((account,),) = self._connection.execute(_ACCOUNT_OF, [wallet]).fetchall()
        return UUID(str(account))

    def compensations(self, keys: ShardKeys) -> list[Compensation]:
        """All that this epoch owes to Redis, also what was given back already."""
        rows = self._connection.execute(_COMPENSATIONS, [keys.shard, keys.epoch])
        return [
            Compensation(
                Position(ms, seq), place, wallet, amount, advance_of(wallet, rate, day, micros)
            )
            for ms, seq, place, wallet, amount, rate, day, micros in rows
        ]

    def recent_keys(self, shard: int, since: datetime, most: int) -> Iterator[list[RecentKey]]:
        """The newest events first, in parts."""
        with (
            self._connection.transaction(),
            self._connection.cursor(name="recent_keys", binary=True) as recent,
        ):
            recent.execute(_RECENT_KEYS, [shard, most, since])
            while part := recent.fetchmany(_KEYS_PER_PART):
                yield [RecentKey(*row) for row in part]

    def _prepare(self) -> None:
        if not self._prepared:
            prepare_connection(self._connection)
            self._prepared = True


def _counters(wallet: UUID, found: Iterable[Sequence[Any]]) -> tuple[Advance, ...]:
    return tuple(
        Advance(wallet, UUID(rate), date.fromisoformat(day), micros) for rate, day, micros in found
    )


def _next(position: Position) -> Position:
    return Position(position.ms, position.seq + 1)


def _shard_row(row: tuple[Any, ...]) -> ShardRow:
    epoch, ms, seq, mode, session, *undrained = row
    point = None
    if undrained[0] is not None:
        point = JournalPoint(undrained[0], Position(undrained[1], undrained[2]))
    return ShardRow(epoch, Position(ms, seq), ShardMode(mode), point, session)
