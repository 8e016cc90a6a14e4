"""The system under test: embedded servers or given ones, and API and writer as processes."""

import os
import secrets
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from bench.machine import Usage, own_cpu_seconds, usage_of
from billing.db import migrate
from billing.stack import ports, process
from billing.stack.postgres import EmbeddedPostgres
from billing.stack.process import Command
from billing.stack.redis import EmbeddedLimitsRedis, EmbeddedRedis
from billing.wallets.connect import open_any

ROOT = Path(__file__).parents[1]
_START_SECONDS = 60


@dataclass
class Program:
    """One of our processes."""

    name: str
    arguments: list[str]
    environment: dict[str, str]
    log: Path
    profile: bool = False
    """Whether a sampler looks on; what it saw lies beside the log."""
    running: "Popen[bytes] | None" = None

    def start(self) -> None:
        """Run it with what our environment says otherwise."""
        argv = [sys.executable, "-m"]
        if self.profile:
            argv += ["bench.profiled", str(self.log.absolute().with_suffix(".samples"))]
        argv += self.arguments
        env = {**os.environ, **self.environment}
        self.running = process.spawn(Command(argv, self.log, env, cwd=ROOT))

    def stop(self) -> None:
        """End it cleanly."""
        if self.running is not None:
            process.stop(self.running)
            self.running = None


@dataclass
class Stack:
    """Where everything is."""

    database_url: str
    redis_url: str
    port: int
    programs: list[Program]
    postgres: EmbeddedPostgres | None
    redis: EmbeddedRedis | None
    """None when it was given by its URL, as `postgres`."""
    limits: EmbeddedLimitsRedis
    kind: str = ""
    _groups: dict[str, int] = field(default_factory=dict)

    def usage(self) -> dict[str, Usage]:
        """CPU and memory of every part that runs here, the load generator included."""
        leaders = {one.name: one.running.pid for one in self.programs if one.running is not None}
        servers = (("postgres", self.postgres), ("redis", self.redis), ("limits", self.limits))
        for name, server in servers:
            if server is not None and server.pid is not None:
                leaders[name] = server.pid
        found = {name: usage_of(pid) for name, pid in leaders.items()}
        found["load"] = Usage(own_cpu_seconds(), 0)
        return found

    def restart_programs(self) -> None:
        """Stop and start API and writer, so that a case begins with nothing in memory."""
        for one in self.programs:
            one.stop()
        for one in self.programs:
            one.start()
        wait_for_port(self.port)


def wait_for_port(port: int) -> None:
    """Come back when somebody listens there.

    Raises:
        RuntimeError: if nobody does for a minute.
    """
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("the API did not start: look at its log")


@contextmanager
def running_stack(
    database_url: str | None, redis_url: str | None, logs: Path, shards: int
) -> Iterator[Stack]:
    """Everything up, for the length of a `with` block.

    Args:
        database_url: any database of a server on which a scratch one may be made; None: embedded.
        redis_url: an empty Redis, emptied again at the end; None: embedded.
    """
    with ExitStack() as exits:
        folder = Path(exits.enter_context(_folder()))
        postgres = server = None
        if database_url is None:
            postgres = EmbeddedPostgres(folder / "postgres", ports.any_free())
            postgres.start()
            exits.callback(postgres.stop)
            url = postgres.url
        else:
            url = exits.enter_context(_scratch_database(database_url))
        if redis_url is None:
            server = EmbeddedRedis(folder / "redis", ports.any_free())
            server.start()
            exits.callback(server.stop)
            redis_url = server.url
        else:
            exits.enter_context(_empty_redis(redis_url))
        limits = EmbeddedLimitsRedis(folder / "limits", ports.any_free())
        limits.start()
        exits.callback(limits.stop)
        migrate.upgrade(url)
        stack = Stack(url, redis_url, ports.any_free(), [], postgres, server, limits, _kind(url))
        environment = {
            "DATABASE_URL": url,
            "REDIS_URL": redis_url,
            "BILLING_LIMITS_REDIS_URL": limits.url,
            "BILLING_SHARD_COUNT": str(shards),
            "PYTHONDONTWRITEBYTECODE": "",
        }
        stack.programs += [
            Program("writer", ["ingest_api.writer"], environment, logs / "writer.log"),
            Program("api", _api(stack.port), environment, logs / "api.log"),
        ]
        for program in stack.programs:
            program.log.unlink(missing_ok=True)
            exits.callback(program.stop)
        yield stack


def _api(port: int) -> list[str]:
    return [
        "uvicorn",
        "ingest_api.main:app",
        *("--host", ports.LOOPBACK, "--port", str(port), "--no-access-log"),
        *("--timeout-graceful-shutdown", "5", "--no-proxy-headers"),
    ]


@contextmanager
def _folder() -> Iterator[str]:
    path = tempfile.mkdtemp(prefix="billing-bench-")
    Path(path).chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _scratch_database(server: str) -> Iterator[str]:
    name = f"billing_bench_{secrets.token_hex(4)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(
                sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            )


@contextmanager
def _empty_redis(url: str) -> Iterator[None]:
    with open_any(url) as client:
        if client.dbsize():
            raise SystemExit(f"{url} holds data: give the bench an empty Redis.")
        try:
            yield
        finally:
            client.flushdb()


def _kind(url: str) -> str:
    with psycopg.connect(url) as connection:
        version = connection.execute("SHOW server_version").fetchone()
        timescale = connection.execute(
            "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'"
        ).fetchone()
    assert version is not None
    extra = f" with TimescaleDB {timescale[0]}" if timescale else ""
    return f"PostgreSQL {version[0].split()[0]}{extra}"
