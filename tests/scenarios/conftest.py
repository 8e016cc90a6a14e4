"""A whole installation of a test module's own: database, Redis, API and ledger writer."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from sqlalchemy import Engine

from billing.clock import SystemClock
from billing.db.engine import open_engine
from billing.demo.client import BillingApi
from billing.demo.identity import demo_key
from billing.settings import Settings
from billing.stack import dagster, ports, process
from billing.stack.redis import EmbeddedRedis
from billing.stack.services import Surroundings, applications
from tests.support.postgres import fresh_database

START_SECONDS = 90.0


@dataclass(frozen=True)
class Installation:
    """Everything that runs, and how to reach it."""

    api: BillingApi
    engine: Engine
    cache: redis.Redis
    environment: dict[str, str]


@pytest.fixture(scope="module")
def installation(postgres_server: str, template_database: str) -> Iterator[Installation]:
    """An API and a writer on a fresh database and a fresh Redis."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="billing-scenario-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        database_url = stack.enter_context(fresh_database(postgres_server, template_database))
        server = EmbeddedRedis(folder / "redis", ports.any_free())
        server.start()
        stack.callback(server.stop)
        api_port = ports.any_free()
        around = Surroundings(folder, database_url, server.url, {"api": api_port})
        dagster.write_home(around.dagster_home, ports.LOOPBACK, ports.any_free())
        dagster.ensure_schema(database_url)
        _start(around, stack)
        engine = open_engine(database_url, application="scenario")
        stack.callback(engine.dispose)
        key = demo_key(engine, Settings(local_dir=folder), SystemClock())
        yield Installation(
            api=stack.enter_context(BillingApi(f"http://127.0.0.1:{api_port}", key)),
            engine=engine,
            cache=stack.enter_context(redis.Redis.from_url(server.url, decode_responses=True)),
            environment=around.environment(),
        )


def _start(around: Surroundings, stack: ExitStack) -> None:
    for service in applications(["writer", "api"], around):
        service.prepare()
        child = process.spawn(service.command())
        stack.callback(process.stop, child, service.stop_signal, service.stop_seconds)
        _wait(child, service.answers, service.log)


def _wait(child: "subprocess.Popen[bytes]", answers: object, log: Path) -> None:
    assert callable(answers)
    deadline = time.monotonic() + START_SECONDS
    while not answers():
        alive = child.poll() is None and time.monotonic() < deadline
        assert alive, log.read_text(errors="replace")[-3000:]
        time.sleep(0.1)
