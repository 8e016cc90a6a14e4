"""The whole intake as real processes of its own, which the tests kill."""

import random
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import redis
from sqlalchemy import Engine

from billing.access.actor import SYSTEM
from billing.access.roles import Role
from billing.access.service import CreateApiKey, create_api_key
from billing.clock import SystemClock
from billing.commands import Context
from billing.db import migrate
from billing.db.engine import open_engine
from billing.db.unit_of_work import unit_of_work
from billing.failpoints import VARIABLE
from billing.settings import Settings
from billing.stack import ports
from billing.stack.process import wait_until
from billing.stack.server import EmbeddedServer
from tests.chaos.disk import Disk, PostgresOnDisk, RedisOnDisk
from tests.support.factories.usage import Sender, make_plan, make_sender
from tests.support.processes import Program, api_program, wait_for_port, writer_program

SENDERS = 5
SOON = {"BILLING_DIRECT_AFTER_SECONDS": "1"}
HOT_ROUTES = ("--factory", "ingest_api.intake.app:create_intake_app")


@dataclass
class Stack:
    """Every part as its own processes."""

    folder: Path
    postgres: PostgresOnDisk
    redis: RedisOnDisk
    writer: Program
    api: Program
    port: int
    engine: Engine
    key: str
    senders: list[Sender]

    @property
    def append_only_dir(self) -> Path:
        """Where Redis keeps what it must not forget."""
        return self.redis.data_dir / "appendonlydir"

    def program(self, name: str) -> Program:
        """The API or the writer."""
        return {"api": self.api, "writer": self.writer}[name]

    def revive(self) -> None:
        """Start what died, as an init system does."""
        for server in (self.postgres, self.redis):
            if server._process is None or server._process.poll() is not None:
                server.lock.release()
                server.start()
        self.writer.start()
        self.api.start()

    def ask_redis(self) -> "redis.Redis":
        """A client with every right."""
        return redis.Redis.from_url(self.redis.url, socket_timeout=5)

    def ask_postgres(self) -> "psycopg.Connection[tuple[object, ...]]":
        """A connection with every right."""
        return psycopg.connect(self.postgres.url, autocommit=True, connect_timeout=5)


def kill_server(server: EmbeddedServer) -> None:
    """End a server without warning."""
    process = server._process
    assert process is not None
    process.kill()
    process.wait()
    server.lock.release()


def restart_with(program: Program, failpoints: str, chance: random.Random) -> None:
    """Kill one of our programs and start it with failpoints armed."""
    program.kill()
    time.sleep(chance.uniform(0, 0.2))
    usual: Mapping[str, str] = program.environment
    program.environment = {**usual, VARIABLE: failpoints}
    program.start()
    program.environment = usual


def died(program: Program, seconds: float) -> bool:
    """Whether it ended within so many seconds."""
    process = program._process
    assert process is not None
    return wait_until(lambda: process.poll() is not None, seconds)


@contextmanager
def running_stack(
    folder: Path, *, shards: int = 1, credit_line: int = 0, **redis_settings: str
) -> Iterator[Stack]:
    """A stack for the length of a `with` block.

    Args:
        folder: empty, with a short name; every user may enter it.
        shards: over which the senders are spread.
        credit_line: of each sender, in wallet units.
        redis_settings: directives of Redis that override ours, `_` for `-`.
    """
    settings = {name.replace("_", "-"): value for name, value in redis_settings.items()}
    postgres = PostgresOnDisk(folder / "postgres", ports.any_free())
    redis_server = RedisOnDisk(folder / "redis", ports.any_free(), settings=settings)
    postgres.disk = Disk(folder / "postgres-disk")
    redis_server.disk = Disk(folder / "redis-disk", notes=bool(settings))
    with ExitStack() as ending:
        for server in (postgres, redis_server):
            server.start()
            ending.callback(server.stop)
        migrate.upgrade(postgres.url)
        engine = open_engine(postgres.url, application="chaos")
        ending.callback(engine.dispose)
        with unit_of_work(engine) as session:
            version = make_plan(session)
            senders = [
                make_sender(session, version, shard=number % shards, credit_line_units=credit_line)
                for number in range(SENDERS)
            ]
            ctx = Context(session, SYSTEM, SystemClock())
            request = CreateApiKey(name="core", role=Role.SENDER)
            _, key = create_api_key(ctx, request, Settings.load())
        urls = (postgres.url, redis_server.url)
        writer = writer_program(*urls, folder / "writer.log")
        api, port = api_program(*urls, folder / "api.log", *HOT_ROUTES)
        for program in (writer, api):
            program.environment = {**program.environment, **SOON}
            if shards > 1:
                program.environment["BILLING_SHARD_COUNT"] = str(shards)
            program.start()
            ending.callback(program.stop)
        wait_for_port(port)
        yield Stack(folder, postgres, redis_server, writer, api, port, engine, str(key), senders)


def second_writer(stack: Stack) -> Program:
    """Another writer of the same shards."""
    return replace(stack.writer, log=stack.folder / "second.log")
