"""The limits as a sender meets them, with every way around them tried on a real server."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from billing.access.actor import SYSTEM
from billing.access.roles import Role
from billing.access.service import CreateApiKey, create_api_key
from billing.clock import SystemClock
from billing.commands import Context
from billing.db.engine import open_engine
from billing.db.unit_of_work import unit_of_work
from billing.settings import Settings
from billing.stack import ports
from billing.stack.redis import EmbeddedLimitsRedis, EmbeddedRedis
from tests.support.postgres import fresh_database
from tests.support.processes import api_program, wait_for_port

_ids = count(1)
PER_SECOND, BURST = 1, 20  # little comes back, however slow the machine is


@dataclass
class Door:
    """A running API with small limits, and no writer: what is sent names no account we know."""

    http: httpx.Client
    database_url: str
    began: float = field(default_factory=time.monotonic)

    def key(self, name: str, role: Role = Role.SENDER, **limits: Any) -> dict[str, str]:
        engine = open_engine(self.database_url, application="test", pool_size=1)
        with unit_of_work(engine) as session:
            request = CreateApiKey(name=name, role=role, **limits)
            ctx = Context(session, SYSTEM, SystemClock())
            _, text = create_api_key(ctx, request, Settings.load())
        engine.dispose()
        self.began = time.monotonic()
        return {"Authorization": f"Bearer {text}"}

    def sender(self, name: str | None = None) -> dict[str, str]:
        return self.key(name or f"sender {next(_ids)}", events_per_second=PER_SECOND)

    def send(
        self, key: dict[str, str], events: int, path: str = "/api/v1/events"
    ) -> httpx.Response:
        body = json.dumps([_event() for _ in range(events)])
        return self.http.post(path, content=body, headers={**key, "Content-Type": _JSON})

    def let_through(self, answers: list[httpx.Response]) -> int:
        assert {one.status_code for one in answers} <= {200, 429}
        return sum(len(one.json()["data"]) for one in answers if one.status_code == 200)

    def allowed(self) -> float:
        return BURST + PER_SECOND * (time.monotonic() - self.began) + 1


_JSON = "application/json"


def _event() -> dict[str, Any]:
    return {
        "source": "core",
        "event_id": f"limited-{next(_ids)}",
        "event_type": "otp.sms",
        "occurred_at": datetime.now(UTC).isoformat(),
        "account_id": str(uuid4()),
    }


@pytest.fixture(scope="module")
def limits_server(server_dir: Path) -> Iterator[EmbeddedLimitsRedis]:
    server = EmbeddedLimitsRedis(server_dir / "limits-http", ports.any_free())
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def door(
    postgres_server: str,
    template_database: str,
    redis_server: EmbeddedRedis,
    limits_server: EmbeddedLimitsRedis,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Door]:
    with fresh_database(postgres_server, template_database) as url:
        log = tmp_path_factory.mktemp("limits") / "api.log"
        program, port = api_program(url, redis_server.url, log)
        program.argv.append("--no-proxy-headers")
        program.environment = {
            **program.environment,
            "BILLING_LIMITS_REDIS_URL": limits_server.url,
            "BILLING_BURST_SECONDS": str(BURST // PER_SECOND),
            "BILLING_REQUESTS_PER_MINUTE_UNKNOWN": "40",
        }
        program.start()
        try:
            wait_for_port(port)
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                yield Door(client, url)
        finally:
            program.stop()


@pytest.mark.parametrize("size", [1, 5, 20])
def test_a_batch_is_no_multiplier(door: Door, size: int) -> None:
    key = door.sender()
    answers = [door.send(key, size) for _ in range(2 * BURST // size)]
    assert BURST <= door.let_through(answers) <= door.allowed()
    refused = next(one for one in answers if one.status_code == 429)
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.headers["ratelimit-limit"] == str(PER_SECOND * 60)
    assert refused.headers["ratelimit-remaining"] == "0"
    assert refused.json()["error"]["code"] == "rate_limited"


@pytest.mark.parametrize(
    ("body", "status"), [("{", 400), ("[]", 400), (json.dumps([{}] * 1_000), 413)]
)
def test_a_body_that_brings_no_event_costs_as_much_as_one(
    door: Door, body: str, status: int
) -> None:
    headers = {**door.key(f"noise {next(_ids)}", events_per_second=1), "Content-Type": _JSON}
    most = 200  # far more than come back while they are sent
    statuses: list[int] = []
    while 429 not in statuses and len(statuses) < most:
        statuses.append(door.http.post("/api/v1/events", content=body, headers=headers).status_code)
    assert set(statuses) == {status, 429}


def test_many_keys_of_one_holder_share(door: Door) -> None:
    name = f"holder {next(_ids)}"
    keys = [door.sender(name) for _ in range(3)]
    assert door.let_through([door.send(key, 10) for key in keys for _ in range(2)]) <= (
        door.allowed()
    )


@pytest.mark.parametrize(
    "path", ["/api/v1/events/", "//api/v1/events", "/API/V1/events", "/api/v1/events;x"]
)
def test_another_spelling_of_the_path_is_another_path(door: Door, path: str) -> None:
    key = door.key(f"speller {next(_ids)}", requests_per_minute=20)
    door.http.headers.clear()
    answers = [door.send(key, 1, path).status_code for _ in range(10)]
    assert 200 not in answers
    assert 429 in answers


def test_an_address_that_somebody_claims_does_not_help(door: Door) -> None:
    for path in ("/api/v1/customers", "/api/v1/events"):
        statuses = [
            door.http.post(
                path,
                content="{}",
                headers={"Authorization": "Bearer x", "X-Forwarded-For": f"198.51.100.{number}"},
            ).status_code
            for number in range(20)
        ]
        assert set(statuses) <= {401, 429}
        assert statuses[-1] == 429


def test_health_is_answered_to_everybody(door: Door) -> None:
    assert {door.http.get("/health/live").status_code for _ in range(60)} == {200}


def test_without_the_redis_of_limits_less_is_let_through_and_never_more(
    door: Door, limits_server: EmbeddedLimitsRedis
) -> None:
    key = door.sender()
    answers = [door.send(key, 5) for _ in range(8)]
    limits_server.stop()
    try:
        answers += [door.send(key, 5) for _ in range(8)]
        assert door.let_through(answers) <= door.allowed()
    finally:
        limits_server.start()
