"""Processes are killed without warning while events are sent; nothing answered may be lost.

`CHAOS_KILLS` sets how many kills there are, `CHAOS_SEED` their order.
"""

import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest
import redis

from billing.access.actor import SYSTEM
from billing.clock import SystemClock
from billing.commands import Context
from billing.db.unit_of_work import unit_of_work
from billing.wallets.keys import ShardKeys
from billing.wallets.service import TopUp, top_up
from tests.chaos.conftest import Stack

KILLS = int(os.environ.get("CHAOS_KILLS", "20"))
SEED = int(os.environ.get("CHAOS_SEED", "1"))
CLIENTS = 6
PRICES = {"IN": 120_000, "US": 600_000}
TOP_UP_MINOR = 777


@dataclass
class History:
    """What the clients sent, and what they were answered."""

    stop: threading.Event = field(default_factory=threading.Event)
    answered: dict[str, tuple[UUID, int]] = field(default_factory=dict)
    """Event id to wallet and price, once an answer said that it is taken in."""
    sent: set[str] = field(default_factory=set)
    conflicts: int = 0
    attempts: int = 0
    top_ups: dict[str, UUID] = field(default_factory=dict)


def _send_until_stopped(stack: Stack, history: History, client_no: int) -> None:
    """Send batches; each is repeated under its ids until it is answered."""
    chance = random.Random(f"{SEED}-{client_no}")
    numbers = count(1)
    with httpx.Client(
        base_url=f"http://127.0.0.1:{stack.port}",
        headers={"Authorization": f"Bearer {stack.key}"},
        timeout=10,
    ) as client:
        while not history.stop.is_set():
            batch: list[tuple[dict[str, Any], UUID, int]] = []
            for _ in range(chance.choice([1, 1, 3, 20])):
                sender = chance.choice(stack.senders)
                country = chance.choice(["IN", "US"])
                assert sender.wallet is not None
                event = {
                    "source": "chaos",
                    "event_id": f"{client_no}-{next(numbers)}",
                    "event_type": "otp.sms",
                    "occurred_at": datetime.now(UTC).isoformat(),
                    "account_id": str(sender.account.id),
                    "dimensions": {"country": country, "status": "sent"},
                }
                batch.append((event, sender.wallet.id, PRICES[country]))
            _send(client, history, batch)
            if chance.random() < 0.1:
                _send(client, history, batch)  # on purpose, after an answer


def _send(
    client: httpx.Client, history: History, batch: list[tuple[dict[str, Any], UUID, int]]
) -> None:
    """Repeat what has no answer yet, for as long as it takes."""
    waiting = {event["event_id"]: (event, wallet, price) for event, wallet, price in batch}
    history.sent |= waiting.keys()
    deadline = time.monotonic() + 60
    while waiting:
        assert time.monotonic() < deadline, "no answer for a minute"
        history.attempts += 1
        try:
            response = client.post("/api/v1/events", json=[one for one, _, _ in waiting.values()])
        except httpx.HTTPError:
            time.sleep(0.2)
            continue
        if response.status_code == 503:
            time.sleep(0.05)
            continue
        assert response.status_code == 200, response.text
        for item in response.json()["data"]:
            said = item["attributes"]
            assert said["status"] in {"accepted", "duplicate", "unavailable"}, said
            if said["status"] != "unavailable":
                _, wallet, price = waiting.pop(said["event_id"])
                history.answered[said["event_id"]] = (wallet, price)


def _top_up_until_stopped(stack: Stack, history: History) -> None:
    """Pay in, each payment twice, through whatever happens to the database."""
    chance = random.Random(SEED)
    for number in count(1):
        if history.stop.is_set():
            return
        sender = chance.choice(stack.senders)
        assert sender.wallet is not None
        reference = f"payment-{number}"
        history.top_ups[reference] = sender.wallet.id
        for _ in range(2):
            _pay(stack, sender.wallet.id, reference)
        time.sleep(0.05)


def _pay(stack: Stack, wallet_id: UUID, reference: str) -> None:
    request = TopUp(wallet_id=wallet_id, amount_minor=TOP_UP_MINOR, reference=reference)
    deadline = time.monotonic() + 60
    while True:
        try:
            with unit_of_work(stack.engine) as session:
                top_up(Context(session, SYSTEM, SystemClock()), request)
        except Exception:  # noqa: BLE001 - the database may be in any state
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


@pytest.mark.timeout(max(300, KILLS * 15))
def test_no_kill_loses_or_doubles_what_was_answered(stack: Stack) -> None:
    chance = random.Random(SEED)
    parts = ["api", "writer", "redis", "postgres", "redis emptied"]
    order = [parts[index % len(parts)] for index in range(KILLS)]
    chance.shuffle(order)
    history = History()
    with ThreadPoolExecutor(CLIENTS + 1) as pool:
        clients = [
            pool.submit(_send_until_stopped, stack, history, number) for number in range(CLIENTS)
        ]
        clients.append(pool.submit(_top_up_until_stopped, stack, history))
        try:
            for part in order:
                time.sleep(chance.uniform(0, 1.5))
                stack.kill(part, chance)
                _wait_for_answers(history)
        finally:
            history.stop.set()
        for client in clients:
            client.result()
    _check(stack, history)


def _wait_for_answers(history: History) -> None:
    """Everything comes back by itself."""
    before = len(history.answered)
    deadline = time.monotonic() + 60
    while len(history.answered) == before:
        assert time.monotonic() < deadline, "no answer for a minute after a kill"
        time.sleep(0.05)


def _check(stack: Stack, history: History) -> None:
    assert len(history.answered) > 100
    assert history.answered.keys() == history.sent
    with (
        psycopg.connect(stack.postgres.url, autocommit=True) as connection,
        redis.Redis.from_url(stack.redis.url) as client,
    ):
        for table in ("event_key", "raw_events"):
            rows = connection.execute(f"SELECT event_id FROM usage.{table}").fetchall()
            assert sorted(one for (one,) in rows) == sorted(history.answered), table
        assert connection.execute("SELECT count(*) FROM usage.quarantine").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM usage.event_conflicts").fetchone() == (0,)
        assert connection.execute(
            "SELECT max(accept_seq) = count(*) AND min(accept_seq) = 1 FROM usage.event_key"
        ).fetchone() == (True,)
        for sender in stack.senders:
            assert sender.wallet is not None
            _check_wallet(connection, client, history, sender.wallet.id)


def _check_wallet(
    connection: psycopg.Connection[Any],
    client: "redis.Redis",
    history: History,
    wallet_id: UUID,
) -> None:
    spent = sum(price for wallet, price in history.answered.values() if wallet == wallet_id)
    paid = sum(wallet == wallet_id for wallet in history.top_ups.values()) * TOP_UP_MINOR * 10_000
    expected = paid - spent
    assert connection.execute(
        "SELECT balance_units FROM billing.wallets WHERE id = %s", [wallet_id]
    ).fetchone() == (expected,)
    assert connection.execute(
        "SELECT sum(amount_units) FILTER (WHERE account = 'wallet'), sum(amount_units) "
        "FROM billing.ledger_entries WHERE wallet_id = %s",
        [wallet_id],
    ).fetchone() == (expected, 0)
    row = connection.execute("SELECT epoch FROM usage.shard_state WHERE shard = 0").fetchone()
    assert row is not None
    name = ShardKeys(0, row[0]).wallet(wallet_id)
    deadline = time.monotonic() + 20
    while int(client.hget(name, "bal") or 0) != expected:
        assert time.monotonic() < deadline, (client.hgetall(name), expected)
        time.sleep(0.05)
