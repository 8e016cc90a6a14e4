"""Whether what was answered is what is stored, and every wallet is right everywhere."""

import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import redis

from billing.wallets.holds import Hold
from billing.wallets.keys import ShardKeys
from tests.chaos.load import TOP_UP_MINOR, UNITS_PER_MINOR, History
from tests.chaos.stack import Stack

_SETTLE_SECONDS = 20
_MOVING = "SELECT count(*) FROM billing.account_moves WHERE arrived_at IS NULL OR left_at IS NULL"
_OPEN = "SELECT name, amount_units FROM usage.holds WHERE wallet_id = %s AND state = 'open'"


@dataclass(frozen=True)
class Verdict:
    """What the comparison found."""

    lost: int
    """Events that were answered and are not stored."""
    doubled: int
    """Events that are stored or billed more than once."""
    strange: list[str]
    """Everything else that is not as it must be, in words."""
    wallets: int

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.doubled or self.strange)


def check(stack: Stack, history: History) -> Verdict:
    """Compare the history with PostgreSQL and Redis, both at rest."""
    lost = doubled = 0
    strange: list[str] = []
    with stack.ask_postgres() as connection, stack.ask_redis() as client:
        for table in ("event_key", "raw_events WHERE revision = 1"):
            stored = [one for (one,) in connection.execute(f"SELECT event_id FROM usage.{table}")]
            lost += len(history.answered - set(stored))
            doubled += len(stored) - len(set(stored))
            if unknown := set(stored) - history.sent.keys():
                strange.append(f"{len(unknown)} events in {table} that nobody sent")
        doubled += _one(
            connection,
            "SELECT count(*) - count(DISTINCT (shard, accept_seq)) FROM usage.usage_debits",
        )
        if missing := history.sent.keys() - history.answered:
            strange.append(f"{len(missing)} events never answered")
        strange += _books(connection)
        for sender in stack.senders:
            assert sender.wallet is not None
            strange += _wallet(connection, client, history, sender.wallet.id)
            strange += _holds(connection, client, history, sender.wallet.id)
    return Verdict(lost, doubled, strange, len(stack.senders))


def _one(connection: "psycopg.Connection[Any]", query: str, *values: object) -> Any:
    row = connection.execute(query, values).fetchone()
    assert row is not None
    return row[0]


def _books(connection: "psycopg.Connection[Any]") -> list[str]:
    """What must hold for the tables by themselves."""
    strange = [
        f"{found} rows in {table}"
        for table in ("quarantine", "event_conflicts")
        if (found := _one(connection, f"SELECT count(*) FROM usage.{table}"))
    ]
    gaps = (
        "SELECT count(*) FROM (SELECT 1 FROM usage.raw_events GROUP BY shard "
        "HAVING max(accept_seq) <> count(*) OR min(accept_seq) <> 1) gaps"
    )
    if _one(connection, gaps):
        strange.append("accept_seq has gaps")
    deadline = time.monotonic() + _SETTLE_SECONDS  # a move ends when its entries are applied
    while (found := _one(connection, _MOVING)) and time.monotonic() < deadline:
        time.sleep(0.05)
    if found:
        strange.append(f"{found} moves never ended")
    if found := _one(
        connection,
        "SELECT count(*) FROM (SELECT 1 FROM billing.ledger_entries GROUP BY transaction_id "
        "HAVING sum(amount_units) <> 0) unbalanced",
    ):
        strange.append(f"{found} ledger transactions do not balance")
    return strange


def _keys(connection: "psycopg.Connection[Any]", wallet_id: UUID) -> ShardKeys:
    """Those of the wallet's shard."""
    shard = _one(connection, "SELECT shard FROM billing.wallets WHERE id = %s", wallet_id)
    epoch = _one(connection, "SELECT epoch FROM usage.shard_state WHERE shard = %s", shard)
    return ShardKeys(shard, epoch)


def _in_redis(connection: "psycopg.Connection[Any]", client: "redis.Redis", wallet_id: UUID) -> int:
    """What the wallet's shard says."""
    found: Any = client.hget(_keys(connection, wallet_id).wallet(wallet_id), "bal")
    return int(found or 0)


def holds_at_work(stack: Stack, history: History) -> list[str]:
    """What is wrong about open holds, while some come and go; both stores must be up.

    One that was placed or ended is soon so in both stores: what is never so is wrong.
    """
    deadline, wrong = time.monotonic() + _SETTLE_SECONDS, None
    while wrong is None or (wrong and time.monotonic() < deadline):
        try:
            now = _odd_holds(stack, history)
        except (psycopg.Error, redis.RedisError):
            if time.monotonic() > deadline:
                raise
        else:
            wrong = now if wrong is None else wrong & now
        time.sleep(0.02)
    return sorted(wrong)


def _odd_holds(stack: Stack, history: History) -> set[str]:
    """Those that are open in one store alone at this moment, or although an event named them."""
    by_redis: set[str] = set()
    books: set[str] = set()
    named = {f"{one}:{two}" for one, two in history.captured.copy()}
    with stack.ask_postgres() as connection, stack.ask_redis() as client:
        for sender in stack.senders:
            assert sender.wallet is not None
            wallet_id = sender.wallet.id
            keys = _keys(connection, wallet_id)
            by_redis |= _open_holds(client, keys, wallet_id, at_work=True).keys()
            books |= dict(connection.execute(_OPEN, [wallet_id])).keys()
    odd = {f"{name} is open in Redis alone" for name in by_redis - books}
    odd |= {f"{name} is open in PostgreSQL alone" for name in books - by_redis}
    return odd | {f"{name} is open, though an event named it" for name in named & books}


def _holds(
    connection: "psycopg.Connection[Any]",
    client: "redis.Redis",
    history: History,
    wallet_id: UUID,
) -> list[str]:
    """What is held, by the wallet in Redis, the open holds one by one, and PostgreSQL."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    while True:
        by_name = _open_holds(client, _keys(connection, wallet_id), wallet_id)
        held: Any = client.hget(_keys(connection, wallet_id).wallet(wallet_id), "held")
        books = dict(connection.execute(_OPEN, [wallet_id]))
        if int(held or 0) == sum(by_name.values()) and by_name == books:
            break
        if time.monotonic() > deadline:
            said = f"{int(held or 0)} in Redis, where {by_name} are open, {books} in PostgreSQL"
            return [f"wallet {wallet_id} holds {said}"]
        time.sleep(0.05)
    named = {f"{one}:{two}" for one, two in history.captured}
    return [f"{name} is open, though an event named it" for name in sorted(named & by_name.keys())]


def _open_holds(
    client: "redis.Redis", keys: ShardKeys, wallet_id: UUID, *, at_work: bool = False
) -> dict[str, int]:
    """Amounts by name; while holds come and go, one may end between the looks at it."""
    names: Any = client.zrange(keys.open_holds, 0, -1)
    packed: Any = [client.get(keys.holds + name.decode()) for name in names]
    holds = [one and msgspec.msgpack.decode(one, type=Hold) for one in packed]
    assert at_work or None not in holds
    return {
        name.decode(): hold.amount
        for name, hold in zip(names, holds, strict=True)
        if hold is not None and hold.wallet == wallet_id.hex
    }


def _wallet(
    connection: "psycopg.Connection[Any]",
    client: "redis.Redis",
    history: History,
    wallet_id: UUID,
) -> list[str]:
    """The wallet by the history, the ledger, its own row, its parts, and Redis."""
    spent = sum(
        history.amended.get(event_id, price)
        for event_id, (_, wallet, price) in history.sent.items()
        if wallet == wallet_id
    )
    paid = sum(wallet == wallet_id for wallet in history.top_ups.values())
    expected = paid * TOP_UP_MINOR * UNITS_PER_MINOR - spent
    figures = {
        "its row": "SELECT balance_units FROM billing.wallets WHERE id = %s",
        "the ledger": "SELECT sum(amount_units) FROM billing.ledger_entries "
        "WHERE wallet_id = %s AND account = 'wallet'",
        "payments less debits": "SELECT (SELECT sum(amount_units) FROM "
        "billing.wallet_adjustments WHERE wallet_id = w.id AND kind = 'top_up') "
        "- (SELECT sum(amount_units) FROM usage.usage_debits d WHERE wallet_id = w.id "
        "AND NOT EXISTS (SELECT 1 FROM usage.superseded_events s WHERE s.shard = d.shard "
        "AND s.accept_seq = d.accept_seq)) FROM billing.wallets w WHERE id = %s",
    }
    strange = [
        f"wallet {wallet_id} is {found} by {name}, not {expected}"
        for name, query in figures.items()
        if (found := _one(connection, query, wallet_id)) != expected
    ]
    deadline = time.monotonic() + _SETTLE_SECONDS
    while (found := _in_redis(connection, client, wallet_id)) != expected:
        if time.monotonic() > deadline:
            strange.append(f"wallet {wallet_id} is {found} by Redis, not {expected}")
            break
        time.sleep(0.05)
    return strange
