"""Making Redis anew from PostgreSQL, after it was emptied, restored to an older state, or doubted.

First a fence goes up: every script compares the epoch and refuses. Then what the old stream still
holds is applied, the epoch is raised in PostgreSQL, and wallets and recent event keys are written
under names that carry the new epoch. Only then the new epoch is shown. Killed at any point, the
fence stays up, and the next attempt starts over with a yet higher epoch.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from psycopg import Connection
from redis import Redis

from billing.failpoints import failpoint
from billing.usage.apply import WATERMARK_CHANNEL
from billing.usage.batch import Batch, Position
from billing.usage.hash import key_digest
from billing.wallets.journal import dedupe_field, read_entries, utc_day
from billing.wallets.keys import DEDUPE_SECONDS, REBUILDING, ShardKeys
from billing.wallets.mirror import wallet_rows

PRELOAD: Final = timedelta(hours=48)
MOST_PRELOADED: Final = 500_000
"""Keys written ahead; older ones are still known to PostgreSQL, and compensated if they return."""

_DRAIN_ENTRIES: Final = 200
_CHUNK: Final = 5_000
_KEEP_OLD_STREAM: Final = timedelta(hours=24)
_MOST_EPOCHS_BEHIND: Final = 1_000

_STATE = "SELECT epoch, cursor_ms, cursor_seq FROM usage.shard_state WHERE shard = %s"

_RECENT_KEYS = """
SELECT source, event_id, body_hash, received_at FROM (
    SELECT source, event_id, body_hash, received_at, accept_seq FROM usage.event_key
    WHERE shard = %s ORDER BY accept_seq DESC LIMIT %s
) recent WHERE received_at >= %s
"""


def rebuild(
    connection: Connection[Any],
    redis: Redis,
    shard: int,
    *,
    now: datetime,
    apply: Callable[[Batch], object],
) -> int:
    """Make a shard's Redis state anew and return its epoch.

    Args:
        connection: not inside a transaction; the caller holds the shard's writer lock.
        apply: applies a batch in one transaction, as the writer does.
    """
    old_epoch, _ = _state(connection, shard)
    seen_epoch = _epoch_in(redis.get(ShardKeys(shard, 0).epoch_key))
    new_epoch = max(old_epoch, seen_epoch) + 1
    keys = ShardKeys(shard, new_epoch)
    redis.set(keys.epoch_key, f"{REBUILDING}{new_epoch}")
    failpoint("rebuild.fenced")
    connection.execute("UPDATE usage.shard_state SET mode = 'rebuilding' WHERE shard = %s", [shard])
    # after PostgreSQL was restored to a backup, Redis may be some epochs further: all are drained
    last_epoch = min(max(old_epoch, seen_epoch), old_epoch + _MOST_EPOCHS_BEHIND)
    for epoch in range(old_epoch, last_epoch + 1):
        _raise_epoch(connection, shard, epoch)
        _drain(redis, ShardKeys(shard, epoch), _state(connection, shard)[1], apply)
    failpoint("rebuild.drained")
    _raise_epoch(connection, shard, new_epoch)
    failpoint("rebuild.epoch_raised")
    _write(connection, redis, keys, now)
    failpoint("rebuild.written")
    redis.set(keys.epoch_key, new_epoch)
    failpoint("rebuild.shown")
    connection.execute("UPDATE usage.shard_state SET mode = 'open' WHERE shard = %s", [shard])
    connection.execute(
        "SELECT pg_notify(%s, %s)", [WATERMARK_CHANNEL, f"{shard} {new_epoch} 0-0 0-0 "]
    )
    failpoint("rebuild.announced")
    for epoch in {old_epoch, seen_epoch} - {new_epoch}:
        _forget(redis, ShardKeys(shard, epoch))
    return new_epoch


def _state(connection: Connection[Any], shard: int) -> tuple[int, Position]:
    row = connection.execute(_STATE, [shard]).fetchone()
    if row is None:
        raise LookupError(f"shard {shard} has no state")
    return row[0], Position(row[1], row[2])


def _epoch_in(value: Any) -> int:
    text = value.decode().removeprefix(REBUILDING) if value else ""
    return int(text) if text.isdigit() else 0


def _drain(
    redis: Redis, keys: ShardKeys, cursor: Position, apply: Callable[[Batch], object]
) -> None:
    while entries := read_entries(redis, keys, cursor, count=_DRAIN_ENTRIES):
        apply(Batch(keys.shard, keys.epoch, cursor, tuple(entries)))
        cursor = entries[-1].position


def _raise_epoch(connection: Connection[Any], shard: int, epoch: int) -> None:
    connection.execute(
        "UPDATE usage.shard_state SET epoch = %s, cursor_ms = 0, cursor_seq = 0 "
        "WHERE shard = %s AND epoch < %s",
        [epoch, shard, epoch],
    )


def _write(connection: Connection[Any], redis: Redis, keys: ShardKeys, now: datetime) -> None:
    """Wallets and recent keys; nobody reads them before the epoch is shown."""
    with redis.pipeline(transaction=False) as pipe:
        for row in wallet_rows(connection, keys.shard):
            pipe.hset(keys.wallet(row.id), mapping=row.fields)  # type: ignore[arg-type]
        pipe.execute()
    failpoint("rebuild.wallets_written")
    with connection.transaction(), connection.cursor(name="recent_keys") as recent:
        recent.execute(_RECENT_KEYS, [keys.shard, MOST_PRELOADED, now - PRELOAD])
        while part := recent.fetchmany(_CHUNK):
            _write_keys(redis, keys, part)


def _write_keys(redis: Redis, keys: ShardKeys, rows: Iterable[tuple[Any, ...]]) -> None:
    buckets: dict[str, dict[bytes, bytes]] = {}
    for source, event_id, body_hash, received_at in rows:
        digest = key_digest(source, event_id)
        bucket = keys.bucket(utc_day(received_at), digest)
        buckets.setdefault(bucket, {})[digest] = dedupe_field(body_hash, received_at)
    with redis.pipeline(transaction=False) as pipe:
        for bucket, marks in buckets.items():
            pipe.hset(bucket, mapping=marks)  # type: ignore[arg-type]
            pipe.expire(bucket, DEDUPE_SECONDS)
        pipe.execute()


def _forget(redis: Redis, keys: ShardKeys) -> None:
    """Drop an old epoch; its stream stays a while, for PostgreSQL restored to a backup."""
    redis.expire(keys.stream, _KEEP_OLD_STREAM)
    every = redis.scan_iter(f"{keys.prefix}*", count=_CHUNK)
    found = [key for key in every if key != keys.stream.encode()]
    for start in range(0, len(found), _CHUNK):
        redis.unlink(*found[start : start + _CHUNK])
