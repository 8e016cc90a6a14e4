"""Clients of the money Redis fail in one way, whatever the connection does."""

import pytest
import uvloop
from redis.exceptions import ConnectionError as RedisConnectionError

from billing.wallets.connect import is_cluster, open_async


def test_a_connection_that_broke_unseen_is_a_failure_of_redis(redis_url: str) -> None:
    if is_cluster(redis_url):
        pytest.skip("a cluster keeps its connections to itself")

    async def write_to_what_is_closed() -> None:
        client = open_async(redis_url, single_connection_client=True)
        await client.ping()
        assert client.connection is not None
        client.connection._writer.transport.abort()  # type: ignore[union-attr]
        with pytest.raises(RedisConnectionError, match="handler is closed"):
            await client.get("a key")
        assert await client.get("a key") is None  # a new connection
        await client.aclose()

    uvloop.run(write_to_what_is_closed())
