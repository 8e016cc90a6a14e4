"""Checks of PostgreSQL and Redis, wherever they run."""

from collections.abc import Callable, Iterable, Iterator

import psycopg
import redis
from redis.exceptions import RedisError

from billing.db import migrate
from billing.errors import UnavailableError
from billing.settings import Settings
from billing.stack.doctor_zones import check_zones
from billing.stack.findings import Finding, note, ok, wrong

OLDEST_POSTGRES = 15
REDIS_MUST = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
_DEVELOPMENT_PEPPER = "local-development-pepper"


def check_database(settings: Settings) -> Iterator[Finding]:
    """PostgreSQL answers, is new enough, and has our newest schema."""
    try:
        url = settings.require_database_url()
    except UnavailableError:
        yield note("PostgreSQL", "no stack runs and DATABASE_URL is not set", "billing stack")
        return
    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            yield from _look_at_postgres(connection)
    except psycopg.Error as error:
        seen = f"it does not answer: {str(error).strip().partition(chr(10))[0]}"
        yield wrong("PostgreSQL", seen, _start_or_set(settings.database_url, "DATABASE_URL"))
        return
    yield from _look_at_schema(url)


def _start_or_set(given: str | None, variable: str) -> str:
    return f"start that server, or correct {variable}" if given else "billing stack"


def _look_at_postgres(connection: psycopg.Connection) -> Iterator[Finding]:
    major = connection.info.server_version // 10_000
    if major < OLDEST_POSTGRES:
        seen = f"version {major} is too old"
        yield wrong("PostgreSQL", seen, f"use PostgreSQL {OLDEST_POSTGRES} or newer")
    else:
        yield ok("PostgreSQL", f"version {major} answers at port {connection.info.port}")
    row = connection.execute(
        "select default_version, installed_version from pg_available_extensions "
        "where name = 'timescaledb'"
    ).fetchone()
    if row is None:
        yield note("TimescaleDB", "not available; events live in native daily partitions")
    elif row[1] is None:
        yield note("TimescaleDB", f"{row[0]} could be created and is not")
    else:
        yield ok("TimescaleDB", f"{row[1]} holds the events")


def _look_at_schema(url: str) -> Iterator[Finding]:
    current, head = migrate.current_revision(url), migrate.head_revision()
    if current == head:
        yield ok("schema", f"at {head}, the newest")
        with psycopg.connect(url, connect_timeout=5) as connection:
            yield from check_zones(connection)
    else:
        yield wrong("schema", f"at {current or 'nothing'}, newest is {head}", "billing migrate")


def check_redis(settings: Settings) -> Iterator[Finding]:
    """Redis answers, and neither loses a write nor evicts a wallet."""
    try:
        url = settings.require_redis_url()
    except UnavailableError:
        yield note("Redis", "no stack runs and REDIS_URL is not set", "billing stack")
        return
    client = redis.Redis.from_url(url, socket_connect_timeout=5, decode_responses=True)
    try:
        info = client.info("server")
        settings_there = {name: client.config_get(name).get(name) for name in REDIS_MUST}
    except RedisError as error:
        mend = _start_or_set(settings.redis_url, "REDIS_URL")
        yield wrong("Redis", f"it does not answer: {error}", mend)
        return
    finally:
        client.close()
    version = info.get("valkey_version") or info.get("redis_version")
    yield ok("Redis", f"version {version} answers")
    for name, must in REDIS_MUST.items():
        found = settings_there[name]
        if found == must:
            yield ok("Redis", f"{name} is {must}")
        else:
            mend = f"CONFIG SET {name} {must}, and the same in its configuration file"
            yield wrong("Redis", f"{name} is {found}, and it holds money: {must} is needed", mend)


def check_secrets(settings: Settings) -> Iterator[Finding]:
    """No development secret beside a real database."""
    if settings.secret_pepper.get_secret_value() != _DEVELOPMENT_PEPPER:
        yield ok("secrets", "BILLING_SECRET_PEPPER is set")
    elif settings.database_url:
        seen = "BILLING_SECRET_PEPPER is the development value"
        yield note("secrets", seen, "set it before the first API key is made")


CHECKS: tuple[Callable[[Settings], Iterable[Finding]], ...] = (
    check_database,
    check_redis,
    check_secrets,
)
