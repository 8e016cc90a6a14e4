"""An API and a writer of their own, with small bounds and their metrics served."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
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
from billing.stack.process import wait_until
from billing.stack.redis import EmbeddedRedis
from tests.support.factories.usage import Sender, make_plan, make_sender
from tests.support.postgres import fresh_database
from tests.support.processes import Program, api_program, wait_for_port, writer_program

MOST_ENTRIES, MOST_EVENTS = 30, 3


@dataclass
class Plant:
    """The processes, and what they say of themselves."""

    http: httpx.Client
    writer: Program
    sender: Sender
    other: Sender
    """In another shard."""
    database_url: str
    redis_url: str
    api_metrics: int
    writer_metrics: int
    occurred_at: str = field(default_factory=lambda: SystemClock().now().isoformat())

    def event(self, name: str, sender: Sender | None = None) -> dict[str, Any]:
        return {
            "source": "core",
            "event_id": name,
            "event_type": "otp.sms",
            "occurred_at": self.occurred_at,
            "account_id": str((sender or self.sender).account.id),
            "dimensions": {"country": "IN", "status": "delivered"},
        }

    def send(self, *names: str) -> httpx.Response:
        return self.http.post("/api/v1/events", json=[self.event(name) for name in names])

    def metric(self, port: int, name: str) -> float:
        """The value of a metric, with its labels as Prometheus writes them; -1 if it is missing."""
        text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else -1.0

    def of_api(self, name: str) -> float:
        return self.metric(self.api_metrics, name)

    def of_writer(self, name: str) -> float:
        return self.metric(self.writer_metrics, name)

    def count(self, query: str) -> int:
        with psycopg.connect(self.database_url) as connection:
            row = connection.execute(query).fetchone()
            return int(row[0]) if row else 0

    def comes_true(self, condition: Any) -> bool:
        return wait_until(condition, 30)


@contextmanager
def running_server(server: EmbeddedRedis) -> Iterator[None]:
    """The server while the block runs."""
    server.start()
    try:
        yield
    finally:
        server.stop()


@pytest.fixture(scope="module")
def plant(
    postgres_server: str,
    template_database: str,
    server_dir: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Plant]:
    logs = tmp_path_factory.mktemp("metrics")
    # of its own: other tests' processes may still run on the common one
    redis_server = EmbeddedRedis(server_dir / "redis-metrics", ports.any_free())
    with running_server(redis_server), fresh_database(postgres_server, template_database) as url:
        engine = open_engine(url, application="test", pool_size=1)
        with unit_of_work(engine) as session:
            ctx = Context(session, SYSTEM, SystemClock())
            request = CreateApiKey(name="core", role=Role.SENDER)
            _, key = create_api_key(ctx, request, Settings.load())
            version = make_plan(session)
            sender, other = make_sender(session, version), make_sender(session, version, shard=1)
            session.expunge_all()
        engine.dispose()
        writer = writer_program(url, redis_server.url, logs / "writer.log")
        api, port = api_program(url, redis_server.url, logs / "api.log")
        metrics = {"api": ports.any_free(), "writer": ports.any_free()}
        bounds = {
            "BILLING_SHARD_COUNT": "2",
            "BILLING_API_METRICS_PORT": str(metrics["api"]),
            "BILLING_WRITER_METRICS_PORT": str(metrics["writer"]),
            "BILLING_MOST_EVENTS_IN_FLIGHT": str(MOST_EVENTS),
            "BILLING_MOST_QUEUED_ENTRIES": str(MOST_ENTRIES),
            "BILLING_MOST_BODY_MB_IN_FLIGHT": "1",
        }
        for program in (api, writer):
            program.environment = {**program.environment, **bounds}
            program.start()
        try:
            wait_for_port(port)
            wait_for_port(metrics["writer"])
            with httpx.Client(
                base_url=f"http://127.0.0.1:{port}",
                headers={"Authorization": f"Bearer {key}"},
                timeout=60,
            ) as client:
                ends = (url, redis_server.url, metrics["api"], metrics["writer"])
                yield Plant(client, writer, sender, other, *ends)
        finally:
            api.stop()
            writer.stop()
