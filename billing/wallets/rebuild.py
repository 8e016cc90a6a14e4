"""Making Redis anew from PostgreSQL, after it was away, emptied, restored to an older state, or
doubted.

A fence goes up first: every script compares the epoch and refuses. The shard is in direct mode
meanwhile, so that events are taken in by PostgreSQL alone. What the old journals still hold is
applied there, in direct mode too. Only then direct mode is closed, the wallets are written under
names that carry the new epoch, and the epoch is shown. Killed at any point, the shard stays in
direct mode or behind the fence, and the next attempt takes a yet higher epoch.

Keys of recent events are written when the shard is open again: one that Redis does not know yet is
debited twice and given back.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from billing.clock import Clock
from billing.failpoints import failpoint
from billing.usage.batch import START
from billing.usage.tables import ShardMode
from billing.wallets.keys import REBUILDING, ShardKeys
from billing.wallets.ports import JournalPoint, ShardRow, WriterPostgres, WriterRedis

PRELOAD: Final = timedelta(hours=48)
MOST_PRELOADED: Final = 500_000
"""Keys written ahead; older ones are still known to PostgreSQL, and compensated if they return."""

_DRAIN_ENTRIES: Final = 200
_MOST_EPOCHS_BEHIND: Final = 1_000


def rebuild(postgres: WriterPostgres, redis: WriterRedis, shard: int) -> ShardKeys:
    """Make a shard's Redis state anew and open it; the caller holds the shard's writer lock.

    `refill` is to follow, while the shard is at work.
    """
    row = postgres.shard(shard)
    seen = seen_epoch(redis, shard)
    redis.fence(shard, max(row.epoch, seen) + 1)
    failpoint("rebuild.fenced")
    if row.mode is not ShardMode.DIRECT:
        row = enter_direct(postgres, row, shard, seen)
    failpoint("rebuild.direct")
    _drain(postgres, redis, shard, row, seen)
    failpoint("rebuild.drained")
    keys = ShardKeys(shard, max(row.epoch, seen) + 1)
    redis.fence(shard, keys.epoch)
    postgres.leave_direct(shard, leaving=row.epoch, epoch=keys.epoch)
    failpoint("rebuild.epoch_raised")
    redis.write_gone(keys, postgres.moved_away(shard))
    redis.write_wallets(keys, postgres.wallets(shard, counters=True))
    redis.write_holds(keys, postgres.holds(shard))
    failpoint("rebuild.wallets_written")
    redis.show(keys)
    failpoint("rebuild.shown")
    postgres.open(shard, keys.epoch)
    failpoint("rebuild.announced")
    return keys


def refill(
    postgres: WriterPostgres,
    redis: WriterRedis,
    keys: ShardKeys,
    clock: Clock,
    is_cut_short: Callable[[], bool] = lambda: False,
) -> None:
    """Let recent events be known as duplicates again, and drop what old epochs left.

    Raises:
        RebuildNeededError: if another epoch is shown meanwhile.
    """
    for part in postgres.recent_keys(keys.shard, clock.now() - PRELOAD, MOST_PRELOADED):
        redis.write_marks(keys, part)
        if is_cut_short():
            return
    failpoint("rebuild.written")
    redis.forget(keys)


def enter_direct(postgres: WriterPostgres, row: ShardRow, shard: int, seen: int = 0) -> ShardRow:
    """Go to direct mode from the epoch of `row`.

    Args:
        seen: the epoch in Redis, which may be ahead of a PostgreSQL restored to a backup.

    Raises:
        CursorMovedError: if somebody else went on meanwhile.
    """
    epoch = max(row.epoch, seen) + 1
    postgres.enter_direct(shard, leaving=row.epoch, epoch=epoch)
    return postgres.shard(shard)


def seen_epoch(redis: WriterRedis, shard: int) -> int:
    """The epoch that Redis shows, or that a rebuild began; 0 for none."""
    text = redis.epoch_text(shard).removeprefix(REBUILDING)
    return int(text) if text.isdigit() else 0


def _drain(
    postgres: WriterPostgres, redis: WriterRedis, shard: int, row: ShardRow, seen: int
) -> None:
    """Apply what the journals still hold; where they end is noted with what is applied.

    After PostgreSQL was restored to a backup, Redis may be some epochs further: all are drained.
    """
    if row.undrained is None:
        raise LookupError(f"shard {shard} is not in direct mode")
    first, position = row.undrained
    for epoch in range(first, min(max(first, seen), first + _MOST_EPOCHS_BEHIND) + 1):
        keys = ShardKeys(shard, epoch)
        while entries := redis.entries(keys, position, count=_DRAIN_ENTRIES):
            position = entries[-1].position
            postgres.apply_direct(shard, row.epoch, entries, JournalPoint(epoch, position))
        position = START
