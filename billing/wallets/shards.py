"""What an operator sees of the shards, and asking for Redis to be made anew."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from psycopg import Connection
from redis import Redis

from billing.clock import Clock
from billing.usage.batch import Position
from billing.usage.tables import ShardMode
from billing.wallets.keys import ShardKeys
from billing.wallets.postgres_port import PostgresPort
from billing.wallets.rebuild import rebuild, refill, seen_epoch
from billing.wallets.redis_port import RedisPort

WRITER_LOCK: Final = "SELECT pg_try_advisory_lock(hashtext('billing.writer'), %s)"

_SHARDS = """
SELECT s.shard, s.epoch, s.mode, s.cursor_ms, s.cursor_seq, s.accept_seq,
    EXISTS (SELECT 1 FROM pg_locks l WHERE l.locktype = 'advisory' AND l.granted
        AND l.classid::bigint = (hashtext('billing.writer')::bigint & 4294967295)
        AND l.objid = s.shard AND l.objsubid = 2
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())),
    (SELECT count(*) FROM usage.wallet_drifts d
        WHERE d.shard = s.shard AND d.settled_at IS NULL)
FROM usage.shard_state s ORDER BY s.shard
"""


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """A shard in both stores."""

    shard: int
    epoch: int
    mode: ShardMode
    cursor: Position
    accept_seq: int
    has_writer: bool
    frozen_wallets: int
    shown: str
    """The epoch in Redis, or what stands in its place."""
    entries: int
    """In the journal, applied ones too."""
    lag_ms: int
    """Age of the oldest entry that PostgreSQL does not have."""


def shard_statuses(connection: Connection[Any], redis: "Redis", now: datetime) -> list[ShardStatus]:
    """All shards that were ever used."""
    found = []
    for shard, epoch, mode, ms, seq, accept_seq, has_writer, frozen in connection.execute(_SHARDS):
        keys, cursor = ShardKeys(shard, epoch), Position(ms, seq)
        waiting: Any = redis.xrange(keys.stream, f"({cursor}", "+", count=1)
        now_ms = int(now.timestamp() * 1000)
        lag = now_ms - Position.parse(waiting[0][0].decode()).ms if waiting else 0
        found.append(
            ShardStatus(
                shard,
                epoch,
                ShardMode(mode),
                cursor,
                accept_seq,
                has_writer,
                frozen,
                shown=RedisPort(redis).epoch_text(shard),
                entries=int(redis.xlen(keys.stream)),
                lag_ms=max(lag, 0),
            )
        )
    return found


def ask_for_rebuild(
    connection: Connection[Any], redis: "Redis", shard: int, clock: Clock
) -> int | None:
    """Have a shard's Redis state made anew: by its writer, or here if there is none.

    Returns:
        the new epoch if it was done here; None if the writer was told, by a fence that it notices.
    """
    postgres, there = PostgresPort(connection, clock), RedisPort(redis)
    row = connection.execute(WRITER_LOCK, [shard]).fetchone()
    if row is None or not row[0]:
        there.fence(shard, max(postgres.shard(shard).epoch, seen_epoch(there, shard)) + 1)
        return None
    keys = rebuild(postgres, there, shard)
    refill(postgres, there, keys, clock)
    return keys.epoch
