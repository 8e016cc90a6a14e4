"""What must hold after any load: nothing lost, nothing doubled, every wallet alike everywhere."""

import time
from collections import Counter
from typing import Any
from uuid import UUID

import psycopg
import redis

from bench.traffic import SOURCE, Books
from bench.world import PRICES, World
from billing.wallets.connect import open_any
from billing.wallets.keys import ShardKeys

_SETTLE_SECONDS = 60
_REBUILD_SECONDS = 60
_IDENTITIES = """
SELECT left(event_id, 10)::int, count(*), count(DISTINCT event_id)
FROM usage.{table} WHERE source = %s GROUP BY 1
"""
_DEBITS = "SELECT wallet_id, sum(amount_units)::bigint FROM usage.usage_debits GROUP BY 1"
_BALANCES = "SELECT id, balance_units FROM billing.wallets"
_LEDGER = """
SELECT wallet_id, sum(amount_units)::bigint FROM billing.ledger_entries
WHERE account = 'wallet' GROUP BY 1
"""
_UNBALANCED = """
SELECT count(*) FROM (
    SELECT 1 FROM billing.ledger_entries GROUP BY transaction_id HAVING sum(amount_units) <> 0
) one
"""
_PRICED = """
SELECT w.id, sum((%s::jsonb ->> (e.dimensions ->> 'country'))::bigint)::bigint
FROM usage.raw_events e JOIN billing.wallets w USING (account_id) WHERE e.source = %s GROUP BY 1
"""
_CLOSED = "SELECT count(*) FROM usage.shard_state WHERE mode <> 'open'"
_NUMBERED = """
SELECT count(*) FROM (
    SELECT shard FROM usage.event_key GROUP BY shard
    HAVING max(accept_seq) <> count(*) OR min(accept_seq) <> 1
) wrong
"""


def broken_invariants(
    database_url: str, redis_url: str, world: World, books: Books, shards: int
) -> list[str]:
    """What does not hold, in words; nothing, if all is well."""
    broken: list[str] = []
    with (
        psycopg.connect(database_url, autocommit=True) as connection,
        open_any(redis_url) as client,
    ):
        _wait_until_applied(connection, client, shards)
        stored: set[int] = set()
        for table in ("event_key", "raw_events"):
            rows = connection.execute(_IDENTITIES.format(table=table), [SOURCE]).fetchall()
            stored = {number for number, _, _ in rows}
            for number, events, different in rows:
                if not events == different == books.sent[number].events:
                    broken.append(f"{table}: request {number} is there {events} times")
            lost = books.accepted - stored
            if lost:
                broken.append(f"{table}: {len(lost)} answered requests are not there")
        if _one(connection, _NUMBERED):
            broken.append("accept_seq has gaps")
        if _one(connection, _UNBALANCED):
            broken.append("a ledger transaction does not balance")
        broken += [
            f"{table} is not empty"
            for table in ("quarantine", "event_conflicts")
            if _one(connection, f"SELECT count(*) FROM usage.{table}")
        ]
        expected: Counter[UUID] = Counter(world.paid)
        for number in stored:
            expected.subtract(books.sent[number].spent)
        broken += _differences(connection, client, world, expected)
    return broken[:20]


def wait_until_rebuilt(database_url: str, redis_url: str, world: World) -> None:
    """Come back when every shard is open and Redis has every wallet.

    Raises:
        RuntimeError: if that takes a minute.
    """
    give_up = time.monotonic() + _REBUILD_SECONDS
    with (
        psycopg.connect(database_url, autocommit=True) as connection,
        open_any(redis_url) as client,
    ):
        while _one(connection, _CLOSED) or len(_in_redis(connection, client, world)) < len(
            world.paid
        ):
            if time.monotonic() > give_up:
                raise RuntimeError("Redis was not made anew within a minute")
            time.sleep(0.02)


def _differences(
    connection: psycopg.Connection[Any],
    client: "redis.Redis",
    world: World,
    expected: Counter[UUID],
) -> list[str]:
    """Wallets that are not what the generator's own sum says, and where."""
    debits, priced = _sums(connection, _DEBITS), _sums(connection, _PRICED, _json(PRICES), SOURCE)
    views = {
        "PostgreSQL": _sums(connection, _BALANCES),
        "the ledger": _sums(connection, _LEDGER),
        "the debits": {w: world.paid[w] - debits.get(w, 0) for w in world.paid},
        "the events": {w: world.paid[w] - priced.get(w, 0) for w in world.paid},
        "Redis": _in_redis(connection, client, world),
    }
    return [
        f"wallet {wallet}: {name} says {view.get(wallet, 0)}, the sum is {expected[wallet]}"
        for name, view in views.items()
        for wallet in world.paid
        if view.get(wallet, 0) != expected[wallet]
    ]


def _in_redis(
    connection: psycopg.Connection[Any], client: "redis.Redis", world: World
) -> dict[UUID, int]:
    epochs = dict(connection.execute("SELECT shard, epoch FROM usage.shard_state").fetchall())
    shard_of = dict(connection.execute("SELECT id, shard FROM billing.wallets").fetchall())
    pipe = client.pipeline(transaction=False)
    for wallet in world.paid:
        keys = ShardKeys(shard_of[wallet], epochs[shard_of[wallet]])
        pipe.hget(keys.wallet(wallet), "bal")
    return {
        wallet: int(balance)
        for wallet, balance in zip(world.paid, pipe.execute(), strict=True)
        if balance is not None
    }


def _wait_until_applied(
    connection: psycopg.Connection[Any], client: "redis.Redis", shards: int
) -> None:
    """Come back when PostgreSQL stands at the end of every stream."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    query = "SELECT shard, epoch, cursor_ms, cursor_seq FROM usage.shard_state"
    while time.monotonic() < deadline:
        rows = connection.execute(query).fetchall()
        behind = len(rows) < shards
        for shard, epoch, ms, seq in rows:
            newest: Any = client.xrevrange(ShardKeys(shard, epoch).stream, count=1)
            behind |= bool(newest) and newest[0][0] != f"{ms}-{seq}".encode()
        if not behind:
            return
        time.sleep(0.05)
    raise RuntimeError("the writer does not reach the end of the stream")


def _sums(connection: psycopg.Connection[Any], query: str, *values: object) -> dict[UUID, int]:
    return dict(connection.execute(query, values).fetchall())


def _one(connection: psycopg.Connection[Any], query: str) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


def _json(value: dict[str, int]) -> str:
    return "{" + ", ".join(f'"{name}": {number}' for name, number in value.items()) + "}"
