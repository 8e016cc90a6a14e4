"""Clients of the money Redis fail in one way, whatever the connection does."""

from typing import Any

import pytest
import uvloop
from redis.asyncio import Connection
from redis.exceptions import ConnectionError as RedisConnectionError

from billing.wallets.connect import open_async
from billing.wallets.line import ScriptLine
from billing.wallets.scripts import READ


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


class BreaksBeforeItIsGreeted(Connection):
    """As when the server is killed just after it took a connection."""

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        """Greet a server that is gone."""
        assert self._writer is not None
        self._writer.transport.abort()
        await super().on_connect_check_health(check_health)


def test_a_line_that_broke_before_it_was_greeted_is_a_failure_of_redis(redis_url: str) -> None:
    one_server = "redis://" + redis_url.partition("://")[2].partition(",")[0]

    async def call_by_what_is_closed() -> None:
        client: Any = open_async(one_server)
        client.connection_pool.connection_class = BreaksBeforeItIsGreeted
        with pytest.raises(RedisConnectionError, match="handler is closed"):
            await ScriptLine(client).call(READ, [], [])
        await client.aclose()

    uvloop.run(call_by_what_is_closed())
