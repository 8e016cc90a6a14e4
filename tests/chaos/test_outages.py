"""A part is away for a while: what goes on, what waits, and what is never answered wrongly."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import redis

from billing.access.actor import SYSTEM
from billing.clock import SystemClock
from billing.commands import Context
from billing.db.unit_of_work import unit_of_work
from billing.stack.process import wait_until
from billing.wallets.service import TopUp, top_up
from tests.chaos.conftest import Stack, kill_server


def until(condition: Callable[[], bool]) -> None:
    assert wait_until(condition, 60)


def client_of(stack: Stack) -> httpx.Client:
    return httpx.Client(
        base_url=f"http://127.0.0.1:{stack.port}",
        headers={"Authorization": f"Bearer {stack.key}"},
        timeout=30,
    )


def an_event(stack: Stack, name: str) -> dict[str, Any]:
    return {
        "source": "core",
        "event_id": name,
        "event_type": "otp.sms",
        "occurred_at": datetime.now(UTC).isoformat(),
        "account_id": str(stack.senders[0].account.id),
        "dimensions": {"country": "IN", "status": "sent"},
    }


def send(client: httpx.Client, event: dict[str, Any]) -> int:
    return client.post("/api/v1/events", json=event).status_code


def ask(client: httpx.Client, stack: Stack) -> dict[str, Any]:
    body = {
        "account_id": str(stack.senders[0].account.id),
        "event_type": "otp.sms",
        "dimensions": {"country": "IN"},
        "hold": False,
    }
    answer = client.post("/api/v1/authorizations", json=body)
    return answer.json()["data"]["attributes"] if answer.status_code == 200 else {}


def pay(stack: Stack) -> None:
    wallet = stack.senders[0].wallet
    assert wallet is not None
    with unit_of_work(stack.engine) as session:
        top_up(
            Context(session, SYSTEM, SystemClock()),
            TopUp(wallet_id=wallet.id, amount_minor=100, reference="p"),
        )


def test_without_postgresql_authorisations_go_on_and_events_are_not_answered(
    stack: Stack,
) -> None:
    pay(stack)
    with client_of(stack) as client:
        until(lambda: ask(client, stack).get("balance") == "1")
        kill_server(stack.postgres)
        time.sleep(6)  # longer than an API key is fresh

        assert ask(client, stack)["authorised"]
        event = an_event(stack, "waits")
        assert send(client, event) == 503
        assert ask(client, stack)["balance"] == "0.88"

        stack.postgres.start()
        until(lambda: send(client, event) == 200)
        assert ask(client, stack)["balance"] == "0.88"


def test_without_redis_postgresql_authorises_and_takes_events_in(stack: Stack) -> None:
    pay(stack)
    with client_of(stack) as client:
        until(lambda: send(client, an_event(stack, "first")) == 200)
        kill_server(stack.redis)

        assert ask(client, stack)["balance"] == "0.88"
        second = an_event(stack, "second")
        until(lambda: send(client, second) == 200)
        assert ask(client, stack)["balance"] == "0.76"

        stack.redis.start()
        until(lambda: send(client, an_event(stack, "third")) == 200)


def test_flushing_redis_is_mended_without_a_person(stack: Stack) -> None:
    pay(stack)
    with client_of(stack) as client:
        until(lambda: send(client, an_event(stack, "first")) == 200)
        with redis.Redis.from_url(stack.redis.url) as server:
            server.flushall()
        first = an_event(stack, "second")
        until(lambda: send(client, first) == 200)

        assert ask(client, stack)["balance"] == "0.76"


def test_a_second_writer_stands_by_and_takes_over(stack: Stack) -> None:
    from tests.support.processes import writer_program

    log = stack.writer.log.with_name("second.log")
    second = writer_program(stack.postgres.url, stack.redis.url, log)
    with client_of(stack) as client:
        until(lambda: send(client, an_event(stack, "first")) == 200)
        second.start()
        try:
            until(lambda: log.exists() and "standing by" in log.read_text())
            stack.writer.kill()
            until(lambda: send(client, an_event(stack, "second")) == 200)
        finally:
            assert second.stop() == 0
