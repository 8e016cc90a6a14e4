"""A store goes away while events come: what is answered then, and that all of it counts once."""

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import pytest
from typer.testing import CliRunner

from billing.access.actor import SYSTEM
from billing.cli.main import app as billing
from billing.clock import SystemClock
from billing.commands import Context
from billing.customers.service import UpdateAccount, update_account
from billing.db.unit_of_work import unit_of_work
from billing.stack.process import wait_until
from billing.wallets.keys import ShardKeys
from billing.wallets.moves import MoveAccount, move_account
from billing.wallets.service import SetWalletLimits, set_wallet_limits
from tests.chaos.stack import Stack, died, kill_server, restart_with, running_stack
from tests.support.processes import api_program, wait_for_port

SETTINGS = {
    "BILLING_DIRECT_AFTER_SECONDS": "1",
    "BILLING_JOURNAL_ANSWERS": "true",
    "BILLING_SHARD_COUNT": "2",
}
PRICE = 120_000
RUPEES = Decimal("0.12")
_names = count(1)


@pytest.fixture(scope="module")
def running(server_dir: Path) -> Iterator[Stack]:
    folder = server_dir / "modes"
    folder.mkdir()
    folder.chmod(0o755)
    with mock.patch.dict(os.environ, SETTINGS), running_stack(folder) as stack:
        yield stack


@pytest.fixture
def stack(running: Stack) -> Iterator[Stack]:
    with mock.patch.dict(os.environ, SETTINGS):
        running.revive()
        until(lambda: shard(running)[1] == "open")
        with client_of(running) as client:
            until(lambda: send(client, [event_for(running)]).status_code == 200)
        yield running


def until(condition: Callable[[], bool]) -> None:
    assert wait_until(condition, 40)


def client_of(stack: Stack, port: int | None = None) -> httpx.Client:
    return httpx.Client(
        base_url=f"http://127.0.0.1:{port or stack.port}",
        headers={"Authorization": f"Bearer {stack.key}"},
        timeout=30,
    )


def event_for(stack: Stack, sender: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "source": "modes",
        "event_id": f"event-{next(_names)}",
        "event_type": "otp.sms",
        "occurred_at": datetime.now(UTC).isoformat(),
        "account_id": str(stack.senders[sender].account.id),
        "dimensions": {"country": "IN", "status": "sent"},
        **changes,
    }


def send(client: httpx.Client, events: Any) -> httpx.Response:
    return client.post("/api/v1/events", json=events)


def authorize(
    client: httpx.Client, stack: Stack, sender: int = 0, **more: object
) -> dict[str, Any]:
    ask = {
        "account_id": str(stack.senders[sender].account.id),
        "event_type": "otp.sms",
        "dimensions": {"country": "IN"},
        **more,
    }
    response = client.post("/api/v1/authorizations", json=ask)
    assert response.status_code == 200, response.text
    data: dict[str, Any] = response.json()["data"]
    return data


def available(client: httpx.Client, stack: Stack, sender: int) -> Decimal:
    return Decimal(authorize(client, stack, sender, hold=False)["attributes"]["available"])


def lend(stack: Stack, sender: int, *, rupees: int) -> None:
    wallet = stack.senders[sender].wallet
    assert wallet is not None
    request = SetWalletLimits(
        wallet_id=wallet.id, credit_line_minor=rupees * 100, low_balance_minor=0
    )
    with unit_of_work(stack.engine) as session:
        set_wallet_limits(Context(session, SYSTEM, SystemClock()), request)


def open_holds(stack: Stack, sender: int) -> int:
    with stack.ask_postgres() as connection:
        row = connection.execute(
            "SELECT count(*) FROM usage.holds WHERE account_id = %s AND state = 'open'",
            [stack.senders[sender].account.id],
        ).fetchone()
        assert row is not None
        return int(str(row[0]))


def said(response: httpx.Response) -> list[tuple[str, str | None]]:
    data = response.json()["data"]
    return [
        (one["attributes"]["status"], one["attributes"].get("durability"))
        for one in (data if isinstance(data, list) else [data])
    ]


def shard(stack: Stack, number: int = 0) -> tuple[int, str]:
    with stack.ask_postgres() as connection:
        row = connection.execute(
            "SELECT epoch, mode FROM usage.shard_state WHERE shard = %s", [number]
        ).fetchone()
        assert row is not None
        return row  # type: ignore[return-value]


def stored(stack: Stack) -> list[str]:
    with stack.ask_postgres() as connection:
        rows = connection.execute("SELECT event_id FROM usage.raw_events ORDER BY event_id")
        return [str(event_id) for (event_id,) in rows]


def assert_balances_agree(stack: Stack) -> None:
    """Redis and the ledger have the same balances, and they are what the events cost."""
    epochs = [shard(stack, number)[0] for number in range(2)]
    with stack.ask_postgres() as connection, stack.ask_redis() as client:
        for sender in stack.senders:
            assert sender.wallet is not None
            wallet = sender.wallet.id
            row = connection.execute(
                "SELECT balance_units, (SELECT count(*) FROM usage.raw_events e"
                " WHERE e.account_id = w.account_id), shard FROM billing.wallets w WHERE id = %s",
                [wallet],
            ).fetchone()
            assert row is not None
            assert row[0] == -PRICE * int(str(row[1]))
            home = int(str(row[2]))
            name = ShardKeys(home, epochs[home]).wallet(wallet)
            until(lambda name=name, row=row: int(client.hget(name, "bal") or 0) == row[0])  # type: ignore[misc]


class Senders:
    """Clients that send until they are stopped, each event until it is answered."""

    def __init__(self, stack: Stack, *more_ports: int) -> None:
        self.stack = stack
        self.ports = (stack.port, *more_ports)
        self.stop = threading.Event()
        self.answered: set[str] = set()

    def run(self, number: int) -> None:
        with client_of(self.stack, self.ports[number % len(self.ports)]) as client:
            while not self.stop.is_set():
                self.send_until_answered(client, event_for(self.stack, number % 5))

    def send_until_answered(self, client: httpx.Client, event: dict[str, Any]) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                response = send(client, event)
            except httpx.HTTPError:
                time.sleep(0.1)
                continue
            if response.status_code == 200:
                assert said(response)[0][1] == "ledger"
                self.answered.add(event["event_id"])
                return
            assert response.status_code in {202, 503}, response.text
            assert time.monotonic() < deadline, "no answer"
            time.sleep(0.02)

    @contextmanager
    def sending(self, clients: int = 4) -> Iterator["Senders"]:
        with ThreadPoolExecutor(clients) as pool:
            futures = [pool.submit(self.run, number) for number in range(clients)]
            try:
                yield self
            finally:
                self.stop.set()
            for future in futures:
                future.result()

    def wait_for_more(self, number: int) -> None:
        """Events go on being answered."""
        goal = len(self.answered) + number
        until(lambda: len(self.answered) >= goal)


def test_without_postgresql_the_journal_answers_and_everything_gets_into_the_books(
    stack: Stack,
) -> None:
    single, first, second = (event_for(stack) for _ in range(3))
    stranger = event_for(stack, account_id="018f6d3e-0000-7000-8000-000000000000")
    with client_of(stack) as client:
        kill_server(stack.postgres)
        # other events first: a backend outlives its postmaster until what it is doing is done
        until(lambda: send(client, event_for(stack)).status_code == 202)
        assert said(send(client, single)) == [("accepted", "journal")]
        assert said(send(client, single)) == [("duplicate", "journal")]
        answer = send(client, [first, stranger, second])
        assert answer.status_code == 202
        assert said(answer) == [
            ("accepted", "journal"),
            ("unavailable", None),
            ("accepted", "journal"),
        ]
        assert send(client, stranger).status_code == 503

        stack.postgres.start()
        until(lambda: send(client, [single, first, second]).status_code == 200)
        assert said(send(client, [single, first, second])) == [("duplicate", "ledger")] * 3
        assert send(client, stranger).status_code == 400
    assert len(set(stored(stack))) == len(stored(stack))
    assert_balances_agree(stack)


def set_journal_answers(stack: Stack, sender: int, allowed: bool | None) -> None:
    account_id = stack.senders[sender].account.id
    with unit_of_work(stack.engine) as session:
        request = UpdateAccount(account_id=account_id, journal_answers=allowed)
        update_account(Context(session, SYSTEM, SystemClock()), request)


def test_an_account_that_does_not_allow_it_is_not_answered_by_the_journal(stack: Stack) -> None:
    set_journal_answers(stack, 1, False)
    with client_of(stack) as client:
        until(lambda: send(client, event_for(stack, 1)).status_code == 200)
        strict, other = event_for(stack, 1), event_for(stack, 2)
        until(lambda: send(client, event_for(stack, 2)).status_code == 200)
        kill_server(stack.postgres)
        until(lambda: send(client, event_for(stack, 2)).status_code == 202)
        answer = send(client, [strict, other])
        assert said(answer) == [("unavailable", None), ("accepted", "journal")]
        stack.postgres.start()
        until(lambda: send(client, [strict, other]).status_code == 200)
        assert said(send(client, strict)) == [("duplicate", "ledger")]
    set_journal_answers(stack, 1, None)
    assert_balances_agree(stack)


def test_without_redis_events_go_into_postgresql_and_redis_is_made_anew_when_it_is_back(
    stack: Stack,
) -> None:
    with Senders(stack).sending() as senders, client_of(stack) as client:
        senders.wait_for_more(20)
        kill_server(stack.redis)
        until(lambda: shard(stack)[1] == "direct")
        senders.wait_for_more(50)
        response = authorize(client, stack)
        assert response["attributes"]["balance"].startswith("-")
        stack.redis.start()
        until(lambda: shard(stack)[1] == "open")
        senders.wait_for_more(50)
    rows = stored(stack)
    assert len(set(rows)) == len(rows)
    assert senders.answered <= set(rows)
    assert_balances_agree(stack)


def test_holds_go_on_without_redis_and_are_there_when_it_is_back(stack: Stack) -> None:
    lend(stack, 4, rupees=1_000)
    with client_of(stack) as client:
        until(lambda: bool(authorize(client, stack, 4, hold=False)["attributes"]["authorised"]))
        free = available(client, stack, 4)
        before, captured = authorize(client, stack, 4), authorize(client, stack, 4)
        until(lambda: open_holds(stack, 4) == 2)  # what only the journal has is not known yet
        kill_server(stack.redis)
        during = authorize(client, stack, 4)  # waits for direct mode
        assert shard(stack, stack.senders[4].account.shard)[1] == "direct"
        assert during["attributes"]["state"] == "open"
        assert available(client, stack, 4) == free - 3 * RUPEES
        event = event_for(stack, 4, authorization_id=captured["id"])
        assert send(client, event).status_code == 200
        assert open_holds(stack, 4) == 2
        stack.redis.start()
        until(lambda: shard(stack, stack.senders[4].account.shard)[1] == "open")
        assert available(client, stack, 4) == free - 3 * RUPEES
        again = [
            authorize(client, stack, 4, authorization_id=one["id"].partition(":")[2])
            for one in (before, captured, during)
        ]
        states = [one["attributes"]["state"] for one in again]
        assert states == ["open", "captured", "open"]
        assert available(client, stack, 4) == free - 3 * RUPEES
    assert_balances_agree(stack)


def test_several_processes_take_turns_in_direct_mode(stack: Stack) -> None:
    urls = (stack.postgres.url, stack.redis.url)
    more, port = api_program(*urls, stack.folder / "more.log", *stack.api.argv[1:3])
    more.start()
    try:
        wait_for_port(port)
        with Senders(stack, port).sending(6) as senders:
            kill_server(stack.redis)
            until(lambda: shard(stack)[1] == "direct")
            senders.wait_for_more(100)
            stack.redis.start()
            senders.wait_for_more(50)
    finally:
        more.stop()
    until(lambda: shard(stack)[1] == "open")
    rows = stored(stack)
    assert len(set(rows)) == len(rows)
    assert senders.answered <= set(rows)
    assert_balances_agree(stack)


def test_the_api_goes_to_direct_mode_by_itself_when_no_writer_is_there(stack: Stack) -> None:
    stack.writer.kill()
    kill_server(stack.redis)
    with client_of(stack) as client:
        event = event_for(stack)
        until(lambda: send(client, event).status_code == 200)
    assert shard(stack)[1] == "direct"
    stack.redis.start()
    stack.writer.start()
    until(lambda: shard(stack)[1] == "open")
    assert_balances_agree(stack)


def test_in_direct_mode_a_key_counts_once_and_a_second_body_is_refused(stack: Stack) -> None:
    known, new = event_for(stack), event_for(stack)
    with client_of(stack) as client:
        assert send(client, known).status_code == 200
        kill_server(stack.redis)
        until(lambda: shard(stack)[1] == "direct")
        other = {**known, "quantity": 2}
        answer = send(client, [new, new, known, {**new, "quantity": 3}])
        assert said(answer)[:3] == [
            ("accepted", "ledger"),
            ("duplicate", "ledger"),
            ("duplicate", "ledger"),
        ]
        assert said(answer)[3][0] == "conflict"
        assert send(client, other).status_code == 409
    stack.redis.start()
    until(lambda: shard(stack)[1] == "open")
    assert_balances_agree(stack)


def test_what_only_the_journal_had_is_applied_after_direct_mode(stack: Stack) -> None:
    event = event_for(stack)
    with client_of(stack) as client:
        stack.writer.kill()
        kill_server(stack.postgres)
        until(lambda: send(client, event).status_code == 202)
        kill_server(stack.redis)
        stack.postgres.start()
        stack.writer.start()
        until(lambda: shard(stack)[1] == "direct")
        assert event["event_id"] not in stored(stack)
        stack.redis.start()
        until(lambda: shard(stack)[1] == "open")
        assert event["event_id"] in stored(stack)
        assert said(send(client, event)) == [("duplicate", "ledger")]
    assert_balances_agree(stack)


def run(stack: Stack, *words: str) -> str:
    urls = {"DATABASE_URL": stack.postgres.url, "REDIS_URL": stack.redis.url, "COLUMNS": "200"}
    result = CliRunner().invoke(billing, words, env=urls)
    assert result.exit_code == 0, result.output
    return result.output


def test_an_account_moves_to_another_shard_while_two_processes_take_its_events_in(
    stack: Stack,
) -> None:
    urls = (stack.postgres.url, stack.redis.url)
    more, port = api_program(*urls, stack.folder / "more.log", *stack.api.argv[1:3])
    account = str(stack.senders[0].account.id)
    until(lambda: shard(stack, 1)[1] == "open")
    try:
        with Senders(stack, port).sending(5) as senders:
            senders.wait_for_more(20)  # by the first; the other joins at work
            more.start()
            wait_for_port(port)
            assert "in shard 1" in run(stack, "shards", "move", account, "--to", "1")
            senders.wait_for_more(50)
            restart_with(stack.writer, "move.committed=kill", random.Random(0))
            with unit_of_work(stack.engine) as session, mock.patch.dict(os.environ, SETTINGS):
                request = MoveAccount(account_id=stack.senders[0].account.id, to_shard=0)
                move_account(Context(session, SYSTEM, SystemClock()), request)
            assert died(stack.writer, 30)
            stack.writer.start()
            senders.wait_for_more(50)
            until(lambda: open_moves(stack) == 0)
    finally:
        more.stop()
    rows = stored(stack)
    assert len(set(rows)) == len(rows)
    assert senders.answered <= set(rows)
    assert_balances_agree(stack)


def open_moves(stack: Stack) -> int:
    with stack.ask_postgres() as connection:
        row = connection.execute(
            "SELECT count(*) FROM billing.account_moves WHERE arrived_at IS NULL OR left_at IS NULL"
        ).fetchone()
        assert row is not None
        return int(str(row[0]))


def test_an_operator_sees_the_shards_and_has_redis_made_anew(stack: Stack) -> None:
    epoch, _ = shard(stack)
    shown = run(stack, "shards")
    assert all(word in shown for word in ("open", str(epoch), "active"))

    with Senders(stack).sending(2) as senders:
        said_by_command = run(stack, "rebuild-redis", "--shard", "0")
        senders.wait_for_more(20)
    assert "its writer was asked" in said_by_command
    assert shard(stack)[0] > epoch
    assert_balances_agree(stack)

    stack.writer.stop()
    epoch, _ = shard(stack)
    assert "open in epoch" in run(stack, "rebuild-redis")
    assert shard(stack)[0] > epoch
    assert "none" in run(stack, "shards")
    assert_balances_agree(stack)
