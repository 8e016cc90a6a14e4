"""Clients of the money Redis fail in one way, whatever the connection does."""

import pytest
import uvloop
from redis.exceptions import ConnectionError as RedisConnectionError

from billing.wallets.connect import open_async


def test_a_connection_that_broke_unseen_is_a_failure_of_redis(redis_url: str) -> None:
    one_server = "redis://" + redis_url.partition("://")[2].partition(",")[0]

    async def write_to_what_is_closed() -> None:
        client = open_async(one_server, single_connection_client=True)
        await client.ping()
        assert client.connection is not None
        client.connection._writer.transport.abort()  # type: ignore[union-attr]
        with pytest.raises(RedisConnectionError, match="handler is closed"):
            await client.ping()
        assert await client.ping()  # by a new connection
        await client.aclose()

    uvloop.run(write_to_what_is_closed())
