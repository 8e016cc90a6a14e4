"""A real Redis-protocol server for tests: one a session, emptied before each test.

With `TEST_REDIS=cluster` it is a cluster of three nodes.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from billing.stack import ports
from billing.stack.redis import EmbeddedRedis
from tests.support.redis_cluster import ClusterOfThree, running_cluster

IS_CLUSTER = os.environ.get("TEST_REDIS") == "cluster"
if IS_CLUSTER:
    os.environ.setdefault("BILLING_SHARD_COUNT", "3")  # the servers under test inherit it


@contextmanager
def running_redis(folder: Path) -> Iterator[EmbeddedRedis | ClusterOfThree]:
    """A server of one's own: whoever runs a writer must not share one with other tests."""
    if IS_CLUSTER:
        with running_cluster(folder) as cluster:
            yield cluster
        return
    server = EmbeddedRedis(folder, ports.any_free())
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def redis_server(server_dir: Path) -> Iterator[EmbeddedRedis | ClusterOfThree]:
    """A running server with the settings of the embedded stack."""
    with running_redis(server_dir / "redis") as server:
        yield server


@pytest.fixture
def redis_url(redis_server: EmbeddedRedis | ClusterOfThree) -> str:
    """The URL of the server, with nothing in it."""
    if isinstance(redis_server, ClusterOfThree):
        redis_server.empty()
        return redis_server.url
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
        client.script_flush()
    return redis_server.url
