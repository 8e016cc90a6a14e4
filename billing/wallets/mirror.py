"""Keeping Redis what PostgreSQL says: adjustments, limits, new wallets, second debits.

Redis is never above what PostgreSQL knows: every credit is committed there first and applied here
afterwards, once and in order, by its sequence number in the wallet.
"""

from collections.abc import Iterable, Sequence
from uuid import UUID

from billing.usage.batch import START, Compensation, Position
from billing.wallets.keys import ShardKeys
from billing.wallets.ports import RebuildNeededError, WalletRow, WriterPostgres, WriterRedis

_MOST_PER_CALL = 500


def require_current(redis: WriterRedis, keys: ShardKeys, cursor: Position) -> None:
    """Find out whether Redis holds this epoch, no older than PostgreSQL.

    Trimming always leaves the entry at the cursor, so an older copy of Redis gives itself away by
    not having it, even when new entries were admitted to that copy already.

    Raises:
        RebuildNeededError: if it does not.
    """
    if redis.epoch_text(keys.shard) != str(keys.epoch):
        raise RebuildNeededError("the epoch is another one")
    if cursor != START and not redis.has_entry(keys, cursor):
        raise RebuildNeededError(f"the entry {cursor} is not in the stream")


def sync_wallets(
    postgres: WriterPostgres,
    redis: WriterRedis,
    keys: ShardKeys,
    only: Sequence[UUID] | None = None,
) -> int:
    """Bring wallets in Redis up to PostgreSQL; returns how many were behind.

    Raises:
        RebuildNeededError: if a wallet is gone from Redis, ahead of PostgreSQL, or fenced off.
    """
    rows = postgres.wallets(keys.shard, only, arrived=True)
    behind = 0
    for row, found in zip(rows, redis.limits(keys, [row.id for row in rows]), strict=True):
        if found == (row.adjustment_seq, -row.credit_line_units, row.low_balance_units):
            continue
        if found is None:
            if not _is_here(postgres, keys, row):
                continue
            if postgres.has_usage(row.id) or redis.has_left(keys, postgres.account_of(row.id)):
                # it was there: debits that are still in the stream would be lost by loading it
                raise RebuildNeededError(f"wallet {row.id} is gone")
            redis.load(keys, row)
        elif found[0] > row.adjustment_seq:
            _require_not_ahead(postgres, keys, row, found[0])
        else:
            _adjust(postgres, redis, keys, row, found[0])
        behind += 1
    return behind


def _require_not_ahead(
    postgres: WriterPostgres, keys: ShardKeys, row: WalletRow, applied: int
) -> None:
    """Look again: the row may have been read before the adjustment was committed."""
    fresh = postgres.wallets(keys.shard, [row.id])
    if fresh and applied > fresh[0].adjustment_seq:
        raise RebuildNeededError(f"wallet {row.id} is ahead of PostgreSQL")


def _is_here(postgres: WriterPostgres, keys: ShardKeys, row: WalletRow) -> bool:
    """Look again: the row may have been read before its account was moved away."""
    return bool(postgres.wallets(keys.shard, [row.id], arrived=True))


def _adjust(
    postgres: WriterPostgres, redis: WriterRedis, keys: ShardKeys, row: WalletRow, applied: int
) -> None:
    while True:
        pending = postgres.adjustments(row.id, applied, _MOST_PER_CALL)
        try:
            applied = redis.adjust(keys, row, pending)
        except (LookupError, OverflowError) as error:
            if not _is_here(postgres, keys, row):
                return
            raise RebuildNeededError(f"wallet {row.id} cannot be adjusted: {error}") from error
        if len(pending) < _MOST_PER_CALL:
            return


def compensate(redis: WriterRedis, keys: ShardKeys, given: Iterable[Compensation]) -> None:
    """Give second debits back; those given back before are passed over.

    Raises:
        RebuildNeededError: if Redis is fenced off.
    """
    pending = list(given)
    for start in range(0, len(pending), _MOST_PER_CALL):
        redis.compensate(keys, pending[start : start + _MOST_PER_CALL])
