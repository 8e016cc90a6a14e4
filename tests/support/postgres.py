"""A real PostgreSQL for tests: one server a session, one fresh migrated database a test.

`TEST_DATABASE_URL` names an existing server instead (its superuser and any database of it), for
running the same tests on TimescaleDB.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

from billing.db import migrate
from billing.stack import ports
from billing.stack.postgres import EmbeddedPostgres

_FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "shared_buffers": "128MB",
    "max_wal_size": "256MB",
}
"""Tests need no data after a power cut; everything else is as in production."""


def url_of(server: str, database: str) -> str:
    """The URL of another database on the same server."""
    return urlunsplit(urlsplit(server)._replace(path=f"/{database}"))


def create_database(server: str, name: str, template: str | None = None) -> str:
    """Create a database, empty or as a copy of another that nobody is connected to."""
    statement = sql.SQL("create database {}").format(sql.Identifier(name))
    if template is not None:
        statement += sql.SQL(" template {} strategy file_copy").format(sql.Identifier(template))
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(statement)
    return url_of(server, name)


def drop_database(server: str, name: str) -> None:
    """Drop a database, throwing out whoever is still connected."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@contextmanager
def fresh_database(server: str, template: str | None = None) -> Iterator[str]:
    """The URL of a database that exists for the length of a `with` block."""
    name = f"billing_test_{secrets.token_hex(6)}"
    url = create_database(server, name, template)
    try:
        yield url
    finally:
        drop_database(server, name)


def _close(server: str, name: str) -> None:
    """Keep everybody out, TimescaleDB's scheduler too: only an unused database is a template."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(
            sql.SQL("alter database {} allow_connections false").format(sql.Identifier(name))
        )
        connection.execute(
            "select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = %s",
            [name],
        )


@pytest.fixture(scope="session")
def postgres_server(server_dir: Path) -> Iterator[str]:
    """The superuser's URL of a running server."""
    existing = os.environ.get("TEST_DATABASE_URL")
    if existing:
        yield existing
        return
    server = EmbeddedPostgres(server_dir / "postgres", ports.any_free(), settings=_FAST)
    server.start()
    try:
        yield server.url_of("postgres")
    finally:
        server.stop()


@pytest.fixture(scope="session")
def template_database(postgres_server: str) -> Iterator[str]:
    """The name of a migrated database to copy from."""
    with fresh_database(postgres_server) as url:
        migrate.upgrade(url)
        name = urlsplit(url).path.removeprefix("/")
        _close(postgres_server, name)
        yield name


@pytest.fixture
def database_url(postgres_server: str, template_database: str) -> Iterator[str]:
    """The URL of a migrated database of this test's own."""
    with fresh_database(postgres_server, template_database) as url:
        yield url


@pytest.fixture
def empty_database_url(postgres_server: str) -> Iterator[str]:
    """The URL of a database of this test's own in which no migration ever ran."""
    with fresh_database(postgres_server) as url:
        yield url
