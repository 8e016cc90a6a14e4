"""Keeping Redis what PostgreSQL says: adjustments, limits, new wallets, second debits.

Redis is never above what PostgreSQL knows: every credit is committed there first and applied here
afterwards, once and in order, by its sequence number in the wallet.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import Connection
from redis import Redis

from billing.failpoints import failpoint
from billing.usage.batch import START, Compensation, Position
from billing.wallets.keys import ShardKeys
from billing.wallets.scripts import ADJUST, COMPENSATE, FENCED, LOAD

_MOST_PER_CALL = 500

_WALLETS = """
SELECT id, balance_units, adjustment_seq, credit_line_units, low_balance_units
FROM billing.wallets WHERE shard = %s AND (%s::uuid[] IS NULL OR id = ANY (%s)) ORDER BY id
"""

_ADJUSTMENTS = """
SELECT seq, amount_units FROM billing.wallet_adjustments
WHERE wallet_id = %s AND seq > %s ORDER BY seq LIMIT %s
"""

_HAS_USAGE = "SELECT EXISTS (SELECT 1 FROM usage.usage_debits WHERE wallet_id = %s)"

_COMPENSATIONS = """
SELECT stream_ms, stream_seq, position, wallet_id, amount_units FROM usage.redis_compensations
WHERE shard = %s AND epoch = %s ORDER BY stream_ms, stream_seq, position
"""


class RebuildNeededError(Exception):
    """Redis does not hold what it should; it must be made anew from PostgreSQL."""


@dataclass(frozen=True, slots=True)
class WalletRow:
    """A wallet as PostgreSQL has it."""

    id: UUID
    balance_units: int
    adjustment_seq: int
    credit_line_units: int
    low_balance_units: int

    @property
    def fields(self) -> dict[str, int]:
        """As Redis holds it."""
        return {
            "bal": self.balance_units,
            "aseq": self.adjustment_seq,
            "floor": -self.credit_line_units,
            "low": self.low_balance_units,
        }


def wallet_rows(
    connection: Connection[Any], shard: int, only: Sequence[UUID] | None = None
) -> list[WalletRow]:
    """The shard's wallets, or some of them."""
    chosen = None if only is None else list(only)
    return [WalletRow(*row) for row in connection.execute(_WALLETS, [shard, chosen, chosen])]


def require_current(redis: Redis, keys: ShardKeys, cursor: Position) -> None:
    """Find out whether Redis holds this epoch, no older than PostgreSQL.

    Trimming always leaves the entry at the cursor, so an older copy of Redis gives itself away by
    not having it, even when new entries were admitted to that copy already.

    Raises:
        RebuildNeededError: if it does not.
    """
    if redis.get(keys.epoch_key) != str(keys.epoch).encode():
        raise RebuildNeededError("the epoch is another one")
    if cursor != START and not redis.xrange(keys.stream, str(cursor), str(cursor)):
        raise RebuildNeededError(f"the entry {cursor} is not in the stream")


def sync_wallets(
    connection: Connection[Any],
    redis: Redis,
    keys: ShardKeys,
    only: Sequence[UUID] | None = None,
) -> int:
    """Bring wallets in Redis up to PostgreSQL; returns how many were behind.

    Raises:
        RebuildNeededError: if a wallet is gone from Redis, ahead of PostgreSQL, or fenced off.
    """
    rows = wallet_rows(connection, keys.shard, only)
    with redis.pipeline(transaction=False) as pipe:
        for row in rows:
            pipe.hmget(keys.wallet(row.id), ["aseq", "floor", "low"])
        found = pipe.execute()
    behind = 0
    for row, (applied, floor, low) in zip(rows, found, strict=True):
        wanted = (row.fields["aseq"], row.fields["floor"], row.fields["low"])
        if applied is None:
            _load_new(connection, redis, keys, row)
            behind += 1
        elif int(applied) > row.adjustment_seq and _is_ahead(connection, keys, row.id, applied):
            raise RebuildNeededError(f"wallet {row.id} is ahead of PostgreSQL")
        elif (int(applied), int(floor), int(low)) != wanted:
            _adjust(connection, redis, keys, row, int(applied))
            behind += 1
    return behind


def _is_ahead(
    connection: Connection[Any], keys: ShardKeys, wallet_id: UUID, applied: bytes
) -> bool:
    """Look again: the row may have been read before the adjustment was committed."""
    fresh = wallet_rows(connection, keys.shard, [wallet_id])
    return not fresh or int(applied) > fresh[0].adjustment_seq


def _load_new(connection: Connection[Any], redis: Redis, keys: ShardKeys, row: WalletRow) -> None:
    has_usage = connection.execute(_HAS_USAGE, [row.id]).fetchone()
    if has_usage is None or has_usage[0]:
        # it was there: debits that are still in the stream would be lost by loading it
        raise RebuildNeededError(f"wallet {row.id} is gone")
    answer = LOAD.call(
        redis, [keys.epoch_key, keys.wallet(row.id)], [keys.epoch, *row.fields.values()]
    )
    _require_not_fenced(answer)


def _adjust(
    connection: Connection[Any], redis: Redis, keys: ShardKeys, row: WalletRow, applied: int
) -> None:
    failpoint("mirror.before_adjust")
    while True:
        pending = connection.execute(_ADJUSTMENTS, [row.id, applied, _MOST_PER_CALL]).fetchall()
        answer = ADJUST.call(
            redis,
            [keys.epoch_key, keys.wallet(row.id)],
            [
                keys.epoch,
                row.fields["floor"],
                row.fields["low"],
                *(value for pair in pending for value in pair),
            ],
        )
        failpoint("mirror.after_adjust")
        _require_not_fenced(answer)
        if answer[0] != 1:
            raise RebuildNeededError(f"wallet {row.id} cannot be adjusted: {answer}")
        applied = answer[1]
        if len(pending) < _MOST_PER_CALL:
            return


def compensate(redis: Redis, keys: ShardKeys, given: Iterable[Compensation]) -> None:
    """Give second debits back; those given back before are passed over.

    Raises:
        RebuildNeededError: if Redis is fenced off.
    """
    pending = list(given)
    for start in range(0, len(pending), _MOST_PER_CALL):
        part = pending[start : start + _MOST_PER_CALL]
        failpoint("mirror.before_compensate")
        answer = COMPENSATE.call(
            redis,
            [keys.epoch_key, keys.compensated, *(keys.wallet(one.wallet_id) for one in part)],
            [
                keys.epoch,
                *(
                    value
                    for one in part
                    for value in (f"{one.position}:{one.place}", one.amount_units)
                ),
            ],
        )
        failpoint("mirror.after_compensate")
        _require_not_fenced(answer)


def compensations_of(connection: Connection[Any], keys: ShardKeys) -> list[Compensation]:
    """All that this epoch owes to Redis, also what was given back already."""
    rows = connection.execute(_COMPENSATIONS, [keys.shard, keys.epoch])
    return [
        Compensation(Position(ms, seq), place, wallet, amount)
        for ms, seq, place, wallet, amount in rows
    ]


def _require_not_fenced(answer: list[Any]) -> None:
    if answer[0] == FENCED:
        raise RebuildNeededError("Redis is fenced off")
