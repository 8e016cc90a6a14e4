"""Comparing wallets in both stores while they are at work.

With c PostgreSQL's cursor, a wallet's balance in Redis is its balance in PostgreSQL, plus the
adjustments that Redis has and PostgreSQL's row does not (or minus the other way round), minus the
debits of the entries after c. A second debit that is on its way back makes a difference for a
moment, and another one each time; only a difference that stays the same is a drift.
"""

import struct
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol
from uuid import UUID

import structlog
from psycopg import Connection
from redis import Redis

from billing.clock import Clock
from billing.ids import new_id
from billing.usage.batch import JournalEntry, Position
from billing.usage.row import split_rows
from billing.usage.tables import ShardMode
from billing.wallets.journal import read_entry
from billing.wallets.keys import ShardKeys
from billing.wallets.ports import FencedError
from billing.wallets.scripts import AUDIT, FENCED

logger = structlog.get_logger(__name__)

WALLETS_AT_ONCE: Final = 50
SAME_TIMES: Final = 4
"""How often in a row a difference must be found, and be the same."""

_MOST_ENTRIES: Final = 200
_FIRST: Final = UUID(int=0)
_LENGTH: Final = struct.Struct(">i")
_AMOUNT: Final = struct.Struct(">iq")

_CUT = """
SELECT s.epoch, s.mode, s.cursor_ms, s.cursor_seq, w.id, w.balance_units, w.adjustment_seq
FROM usage.shard_state s JOIN billing.wallets w ON w.shard = s.shard
WHERE s.shard = %(shard)s AND (w.id = ANY (%(suspects)s) OR w.id IN (
    SELECT id FROM billing.wallets WHERE shard = %(shard)s AND id > %(after)s
    ORDER BY id LIMIT %(most)s
)) ORDER BY w.id
"""
_ADJUSTED = """
SELECT coalesce(sum(amount_units), 0)::bigint FROM billing.wallet_adjustments
WHERE wallet_id = %s AND seq > %s AND seq <= %s
"""
_DRIFT = """
INSERT INTO usage.wallet_drifts (id, wallet_id, shard, epoch, cursor_ms, cursor_seq,
    expected_units, found_units, found_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_ANNOUNCE = """
SELECT pg_notify('billing_accounts', account_id::text) FROM billing.wallets WHERE id = %s
"""


@dataclass
class AuditCounts:
    """What the auditor of this process did since it started."""

    checked: int = 0
    passed_over: int = 0
    """Rounds in which too much was on its way to compare."""
    drifts: int = 0


COUNTS: Final = AuditCounts()


class Cut(NamedTuple):
    """Wallets in PostgreSQL at one instant."""

    epoch: int
    mode: ShardMode
    cursor: Position
    wallets: list[tuple[UUID, int, int]]
    """Id, balance, number of the last adjustment."""


class Held(NamedTuple):
    """A wallet in Redis."""

    balance: int
    applied: int


class AuditRedis(Protocol):
    """Redis, for the auditor."""

    def audit(
        self, keys: ShardKeys, cursor: Position, wallets: Sequence[UUID], most: int
    ) -> tuple[list[JournalEntry], list[Held | None]]:
        """The entries after the cursor, at most one more than asked for, and the wallets."""
        ...


class AuditPostgres(Protocol):
    """PostgreSQL, for the auditor."""

    def cut(self, shard: int, suspects: Sequence[UUID], after: UUID, most: int) -> Cut | None:
        """Some wallets and those after an id; None if there are none."""
        ...

    def adjusted(self, wallet: UUID, after: int, until: int) -> int:
        """The sum of adjustments whose numbers are in `(after, until]`."""
        ...

    def note_drift(self, keys: ShardKeys, cut: Cut, wallet: UUID, said: int, found: int) -> None:
        """Freeze a wallet until Redis is made anew."""
        ...


class Auditor:
    """Goes round the wallets of a shard, some at a time."""

    def __init__(
        self,
        postgres: AuditPostgres,
        redis: AuditRedis,
        keys: ShardKeys,
        counts: AuditCounts = COUNTS,
    ) -> None:
        self._postgres = postgres
        self._redis = redis
        self._keys = keys
        self._after = _FIRST
        self._counts = counts
        self._suspects: dict[UUID, tuple[int, int]] = {}
        """Difference by wallet, and how often it was found."""
        self._log = logger.bind(shard=keys.shard)

    def check(self) -> None:
        """Compare the next wallets, and those that differed before.

        Raises:
            FencedError: if Redis shows another epoch.
        """
        cut = self._postgres.cut(
            self._keys.shard, list(self._suspects), self._after, WALLETS_AT_ONCE
        )
        if cut is None:
            self._after = _FIRST
            return
        if (cut.epoch, cut.mode) != (self._keys.epoch, ShardMode.OPEN):
            return
        ids = [wallet for wallet, _, _ in cut.wallets]
        entries, held = self._redis.audit(self._keys, cut.cursor, ids, _MOST_ENTRIES)
        if len(entries) > _MOST_ENTRIES:
            self._counts.passed_over += 1
            return
        page = [wallet for wallet in ids if wallet > self._after][:WALLETS_AT_ONCE]
        self._after = page[-1] if len(page) == WALLETS_AT_ONCE else _FIRST
        try:
            spent = _spent(entries)
        except (ValueError, struct.error):  # the writer sets such a row aside, and gives it back
            self._counts.passed_over += 1
            return
        for (wallet, balance, last), there in zip(cut.wallets, held, strict=True):
            if there is not None:
                said = balance - spent[wallet] + self._adjusted(wallet, last, there.applied)
                self._compare(cut, wallet, said, there.balance)
        self._counts.checked += len(ids)

    def _adjusted(self, wallet: UUID, last: int, applied: int) -> int:
        if applied == last:
            return 0
        if applied > last:
            return self._postgres.adjusted(wallet, last, applied)
        return -self._postgres.adjusted(wallet, applied, last)

    def _compare(self, cut: Cut, wallet: UUID, said: int, found: int) -> None:
        difference = found - said
        before, times = self._suspects.pop(wallet, (0, 0))
        if not difference:
            return
        times = times + 1 if difference == before else 1
        self._suspects[wallet] = (difference, times)
        if times == SAME_TIMES:
            self._counts.drifts += 1
            self._postgres.note_drift(self._keys, cut, wallet, said, found)
            self._log.error("a wallet drifts", wallet=str(wallet), expected=said, found=found)


def _spent(entries: Iterable[JournalEntry]) -> Counter[UUID]:
    spent: Counter[UUID] = Counter()
    for entry in entries:
        if entry.broken is None:
            for row in split_rows(entry.rows):
                wallet, amount = row_debit(row)
                if wallet is not None:
                    spent[wallet] += amount
    return spent


def row_debit(row: bytes) -> tuple[UUID | None, int]:
    """The wallet and the amount of a row: its first and its fourth column."""
    (length,) = _LENGTH.unpack_from(row, 2)
    wallet = UUID(bytes=row[6:22]) if length > 0 else None
    at = 6 + max(length, 0)
    for _ in range(2):
        (length,) = _LENGTH.unpack_from(row, at)
        at += 4 + max(length, 0)
    return wallet, int(_AMOUNT.unpack_from(row, at)[1])


class RedisToAudit:
    """A Redis server."""

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis

    def audit(
        self, keys: ShardKeys, cursor: Position, wallets: Sequence[UUID], most: int
    ) -> tuple[list[JournalEntry], list[Held | None]]:
        """The entries after the cursor, and the wallets."""
        names = [keys.epoch_key, keys.stream, *(keys.wallet(one) for one in wallets)]
        answer: list[Any] = AUDIT.call(self._redis, names, [keys.epoch, str(cursor), most])
        if answer[0] == FENCED:
            raise FencedError("Redis is fenced off")
        entries = [
            read_entry(entry_id, dict(zip(fields[::2], fields[1::2], strict=True)))
            for entry_id, fields in answer[1]
        ]
        held = [
            Held(int(balance), int(applied)) if balance else None
            for balance, applied in zip(answer[2::2], answer[3::2], strict=True)
        ]
        return entries, held


class PostgresToAudit:
    """A PostgreSQL server, through a connection that is not inside a transaction."""

    def __init__(self, connection: Connection[Any], clock: Clock) -> None:
        self._connection = connection
        self._clock = clock

    def cut(self, shard: int, suspects: Sequence[UUID], after: UUID, most: int) -> Cut | None:
        """Some wallets and those after an id."""
        values = {"shard": shard, "suspects": list(suspects), "after": after, "most": most}
        rows = self._connection.execute(_CUT, values).fetchall()
        if not rows:
            return None
        epoch, mode, ms, seq = rows[0][:4]
        return Cut(epoch, ShardMode(mode), Position(ms, seq), [row[4:] for row in rows])

    def adjusted(self, wallet: UUID, after: int, until: int) -> int:
        """The sum of some adjustments."""
        row = self._connection.execute(_ADJUSTED, [wallet, after, until]).fetchone()
        return int(row[0]) if row is not None else 0

    def note_drift(self, keys: ShardKeys, cut: Cut, wallet: UUID, said: int, found: int) -> None:
        """Freeze a wallet until Redis is made anew."""
        place = [keys.shard, keys.epoch, *cut.cursor]
        with self._connection.transaction():
            self._connection.execute(
                _DRIFT, [new_id(), wallet, *place, said, found, self._clock.now()]
            )
            self._connection.execute(_ANNOUNCE, [wallet])
