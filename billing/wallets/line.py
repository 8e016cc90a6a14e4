"""A connection of its own for the calls that every request waits for.

A client of redis-py spends four times as long on a call as everything else that happens to it: it
borrows a connection, guards it with timeouts, counts, retries. Here one connection, made and
greeted by redis-py, has one call at a time, its bytes written and read as they are. In a cluster
the client is asked as ever: it knows where a shard lies.
"""

import asyncio
from typing import Any, Final

import hiredis
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError

from billing.wallets.scripts import Script

_READ_BYTES: Final = 65_536


class ScriptLine:
    """Calls scripts, one at a time; whoever has several callers gathers them.

    Args:
        redis: whose server is called; it stays the caller's to close.
        patience_ms: after which a call that has no answer has failed.
    """

    def __init__(self, redis: "Redis", patience_ms: int = 3_000) -> None:
        self._redis = redis
        self._patience_ms = patience_ms
        self._is_cluster = isinstance(redis, RedisCluster)
        self._connection: AbstractConnection | None = None
        self._reader = hiredis.Reader()

    async def call(self, script: Script, keys: list[str], args: list[Any]) -> Any:
        """Run a script; a server that does not know it gets the text, and keeps it.

        Raises:
            RedisError: whatever went wrong; nobody knows then whether the call had an effect.
        """
        if self._is_cluster:
            return await script.call_async(self._redis, keys, args)
        try:
            return await self._command("EVALSHA", script.sha, len(keys), *keys, *args)
        except NoScriptError:
            return await self._command("EVAL", script.text, len(keys), *keys, *args)

    async def close(self) -> None:
        """Let go of the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def _command(self, *parts: Any) -> Any:
        connection = self._connection or await self._connect()
        reader, writer = connection._reader, connection._writer  # noqa: SLF001 - see above
        if reader is None or writer is None:
            await self.close()
            raise RedisConnectionError("the connection is closed")
        alarm = asyncio.get_running_loop().call_later(
            self._patience_ms / 1000, writer.transport.abort
        )
        try:
            writer.write(hiredis.pack_command(parts))
            while (answer := self._reader.gets()) is False:
                received = await reader.read(_READ_BYTES)
                if not received:
                    raise RedisConnectionError("the server is gone")  # noqa: TRY301
                self._reader.feed(received)
        except BaseException as error:
            await self.close()  # an answer that is still to come would be the next call's
            # uvloop says RuntimeError where asyncio says ConnectionResetError
            if isinstance(error, OSError | RuntimeError | hiredis.ProtocolError):
                raise RedisConnectionError(str(error)) from error
            raise
        finally:
            alarm.cancel()
        if isinstance(answer, hiredis.ReplyError):
            raise _failure(str(answer))
        return answer

    async def _connect(self) -> AbstractConnection:
        pool = self._redis.connection_pool
        made: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            await made.connect()  # type: ignore[no-untyped-call]
        except RuntimeError as error:  # uvloop, of one that broke before it was greeted
            raise RedisConnectionError(str(error)) from error
        self._reader = hiredis.Reader()
        self._connection = made
        return made


def _failure(said: str) -> RedisError:
    if said.startswith("NOSCRIPT"):
        return NoScriptError(said)
    return ResponseError(said)
