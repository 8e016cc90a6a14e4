"""The whole intake as real processes of its own, which the tests kill."""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine

from billing.access.actor import SYSTEM
from billing.access.roles import Role
from billing.access.service import CreateApiKey, create_api_key
from billing.clock import SystemClock
from billing.commands import Context
from billing.db import migrate
from billing.db.engine import open_engine
from billing.db.unit_of_work import unit_of_work
from billing.settings import Settings
from billing.stack import ports
from billing.stack.postgres import EmbeddedPostgres
from billing.stack.redis import EmbeddedRedis
from billing.stack.server import EmbeddedServer
from tests.support.factories.usage import Sender, make_plan, make_sender
from tests.support.processes import Program, api_program, wait_for_port, writer_program

SENDERS = 5


@dataclass
class Stack:
    """Every part as its own processes."""

    postgres: EmbeddedPostgres
    redis: EmbeddedRedis
    writer: Program
    api: Program
    port: int
    engine: Engine
    key: str
    senders: list[Sender]

    def kill(self, part: str, chance: random.Random) -> None:
        """End a part without warning, and start it again a moment later."""
        if part in {"api", "writer"}:
            program = self.api if part == "api" else self.writer
            program.kill()
            time.sleep(chance.uniform(0, 0.3))
            program.start()
            return
        server = self.redis if part.startswith("redis") else self.postgres
        kill_server(server)
        if part == "redis emptied":
            for file in (self.redis.data_dir / "appendonlydir").iterdir():
                file.unlink()
        time.sleep(chance.uniform(0, 0.3))
        server.start()


def kill_server(server: EmbeddedServer) -> None:
    """End a server without warning."""
    process = server._process
    assert process is not None
    process.kill()
    process.wait()
    server.lock.release()


@pytest.fixture
def stack(server_dir: Path, tmp_path: Path) -> Iterator[Stack]:
    postgres = EmbeddedPostgres(server_dir / f"postgres-{tmp_path.name[-8:]}", ports.any_free())
    redis_server = EmbeddedRedis(server_dir / f"redis-{tmp_path.name[-8:]}", ports.any_free())
    postgres.start()
    redis_server.start()
    migrate.upgrade(postgres.url)
    engine = open_engine(postgres.url, application="chaos")
    with unit_of_work(engine) as session:
        version = make_plan(session)
        senders = [make_sender(session, version) for _ in range(SENDERS)]
        ctx = Context(session, SYSTEM, SystemClock())
        _, key = create_api_key(ctx, CreateApiKey(name="core", role=Role.SENDER), Settings.load())
    urls = (postgres.url, redis_server.url)
    writer = writer_program(*urls, tmp_path / "writer.log")
    hot_routes = ("--factory", "ingest_api.intake.app:create_intake_app")
    api, port = api_program(*urls, tmp_path / "api.log", *hot_routes)
    writer.start()
    api.start()
    wait_for_port(port)
    try:
        yield Stack(postgres, redis_server, writer, api, port, engine, str(key), senders)
    finally:
        api.stop()
        writer.stop()
        engine.dispose()
        redis_server.stop()
        postgres.stop()
