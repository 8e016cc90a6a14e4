"""A real Redis-protocol server for tests: one a session, emptied before each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from billing.stack import ports
from billing.stack.redis import EmbeddedRedis


@pytest.fixture(scope="session")
def redis_server(server_dir: Path) -> Iterator[EmbeddedRedis]:
    """A running server with the settings of the embedded stack."""
    server = EmbeddedRedis(server_dir / "redis", ports.any_free())
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def redis_url(redis_server: EmbeddedRedis) -> str:
    """The URL of the server, with nothing in it."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
        client.script_flush()
    return redis_server.url
