"""The Redis that counts, and what is done while it is away.

It is asked for many tokens at a time and never waited for long: after one failure a process
counts alone, with a part of each limit, until the Redis answers again.
"""

import asyncio
import contextlib
import hashlib
from dataclasses import dataclass
from typing import Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from billing.wallets.connect import open_async
from ingest_api.metrics.api import LIMITS_ALONE

logger = structlog.get_logger(__name__)

_ANSWER_SECONDS: Final = 0.1
_PROBE_SECONDS: Final = 1.0
_PREFIX: Final = "limit:"

# KEYS 1 the bucket. ARGV 1 tokens a minute, 2 its size, 3 the least that is of use, 4 the most.
# Answer: what was granted, and after how many milliseconds `least` would be there.
# The clock is the server's: processes need not agree on the time.
_TAKE: Final = """
local per_minute, size = tonumber(ARGV[1]), tonumber(ARGV[2])
local least, most = tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local kept = redis.call('HMGET', KEYS[1], 'n', 't')
local tokens = size
if kept[1] then
  tokens = math.min(size, kept[1] + math.max(0, now - kept[2]) * per_minute / 60000)
end
local granted, wait = 0, 0
if tokens >= least then
  granted = math.min(math.floor(tokens), most)
  tokens = tokens - granted
else
  wait = math.ceil((least - tokens) * 60000 / per_minute)
end
redis.call('HSET', KEYS[1], 'n', string.format('%.6f', tokens), 't', string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil(size * 60000 / per_minute) + 1000)
return {granted, wait}
"""
_SHA: Final = hashlib.sha1(_TAKE.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class Grant:
    """Tokens that may be spent, or how long to wait for them."""

    tokens: int
    wait_ms: int


class Store:
    """Asks the Redis of limits.

    Args:
        url: None counts in this process alone.
    """

    def __init__(self, url: str | None) -> None:
        self._redis: Redis | None = None
        if url is not None:
            self._redis = open_async(
                url, socket_timeout=_ANSWER_SECONDS, socket_connect_timeout=_ANSWER_SECONDS
            )
        self.is_away = False
        self._probe: asyncio.Task[None] | None = None

    @property
    def is_shared(self) -> bool:
        """Whether other processes count in the same place now."""
        return self._redis is not None and not self.is_away

    async def take(
        self, name: str, per_minute: int, size: int, least: int, most: int
    ) -> Grant | None:
        """Between `least` and `most` tokens; None if there is nobody to ask."""
        if self._redis is None or self.is_away:
            return None
        try:
            arguments = (1, _PREFIX + name, per_minute, size, least, most)
            async with asyncio.timeout(_ANSWER_SECONDS):
                try:
                    answer = await self._redis.evalsha(_SHA, *arguments)
                except NoScriptError:
                    answer = await self._redis.eval(_TAKE, *arguments)
        except (RedisError, OSError, TimeoutError) as error:
            self._lose(error)
            return None
        return Grant(int(answer[0]), int(answer[1]))

    async def close(self) -> None:
        """Let go of it."""
        if self._probe is not None:
            self._probe.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._probe
        if self._redis is not None:
            await self._redis.aclose()

    def _lose(self, error: Exception) -> None:
        if self.is_away:
            return
        logger.warning("limits are counted alone", reason=repr(error))
        self.is_away = True
        LIMITS_ALONE.set(1)
        self._probe = asyncio.create_task(self._wait_for_it())

    async def _wait_for_it(self) -> None:
        assert self._redis is not None  # noqa: S101 - only a Redis can be lost
        while self.is_away:
            await asyncio.sleep(_PROBE_SECONDS)
            try:
                await self._redis.ping()
            except (RedisError, OSError):
                continue
            logger.warning("limits are counted together again")
            self.is_away = False
            LIMITS_ALONE.set(0)
