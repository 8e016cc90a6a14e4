"""What keeps the memory of Redis and of this process within bounds: new work is sent away in time.

An event that is sent away was not taken, and comes again with the same id. What was taken is never
dropped.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Sequence
from time import monotonic
from typing import Any, Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from billing.clock import Clock
from billing.errors import UnavailableError
from billing.settings import Settings
from billing.wallets.connect import memory_info_async
from billing.wallets.keys import ShardKeys
from billing.wallets.memory import RedisMemory, read_memory
from ingest_api.intake.admission import ShardIntake
from ingest_api.intake.outcomes import BUSY, QUEUE_FULL, Named, Outcome, Status
from ingest_api.intake.watermark import ShardMark
from ingest_api.metrics import api as metrics
from ingest_api.metrics.lag import EntryLag

logger = structlog.get_logger(__name__)

_LOOK_SECONDS: Final = 0.5
_TRUSTED_SECONDS: Final = 5.0
"""What was seen longer ago says nothing: Redis is away, and its queue is not what matters."""
_MEGABYTE: Final = 1024 * 1024
_COUNTED: Final = {status: metrics.EVENTS.labels(status.value) for status in Status}


class Pressure:
    """Looks at the queues twice a second, and counts what is in flight here.

    Args:
        marks: the shards' watermarks: where PostgreSQL is in the journal.
    """

    def __init__(
        self, settings: Settings, redis: "Redis", marks: Sequence[ShardMark], clock: Clock
    ) -> None:
        self._settings = settings
        self._redis = redis
        self._marks = marks
        self._clock = clock
        self._most_events = settings.most_events_in_flight
        self._most_bytes = settings.most_body_mb_in_flight * _MEGABYTE
        self._full: set[int] = set()
        self._lags = [(0, EntryLag()) for _ in marks]
        self._seen_at = 0.0
        self._events = 0
        self._bytes = 0
        self._task: asyncio.Task[None] | None = None
        metrics.IN_FLIGHT_EVENTS.set_function(lambda: self._events)
        metrics.IN_FLIGHT_BYTES.set_function(lambda: self._bytes)

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run(), name="intake-pressure")

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def take(self, shard: int, intake: ShardIntake, events: Sequence[Named]) -> list[Outcome]:
        """What becomes of events of a shard; none of them is taken if there is no room."""
        full = shard in self._full and not self._marks[shard].is_direct
        if full and monotonic() - self._seen_at < _TRUSTED_SECONDS:
            metrics.REFUSED.labels("queue_full").inc(len(events))
            return [QUEUE_FULL] * len(events)
        number = len(events)
        if self._events + number > self._most_events:
            metrics.REFUSED.labels("in_flight").inc(number)
            return [BUSY] * number
        self._events += number
        try:
            outcomes = await intake.take(events)
        finally:
            self._events -= number
        if number == 1:
            _COUNTED[outcomes[0].status].inc()
        else:
            for status, count in Counter([one.status for one in outcomes]).items():
                _COUNTED[status].inc(count)
        return outcomes

    def body(self, size: int) -> "_Room":
        """Room for a body while it is read and worked on.

        Raises:
            UnavailableError: if too many bytes are here already.
        """
        return _Room(self, size)

    def reserve(self, size: int) -> None:
        """As `body`; whoever reserves gives back a negative number.

        Raises:
            UnavailableError: if too many bytes are here already.
        """
        if size > 0 and self._bytes + size > self._most_bytes:
            metrics.REFUSED.labels("body_bytes").inc()
            raise UnavailableError("Too much is being read. Send it again.", code="busy")
        self._bytes += size

    async def look(self) -> None:
        """See how full Redis and the journals are.

        Raises:
            RedisError: if it cannot be asked.
        """
        fullest = RedisMemory(0, 0)
        full: set[int] = set()
        for shard, mark in enumerate(self._marks):
            memory = read_memory(await memory_info_async(self._redis, shard))
            fullest = max(fullest, memory, key=lambda one: one.used)
            too_much = memory.is_above(self._settings.redis_full_percent)
            entries = await self._look_at(shard, mark) if mark.epoch else 0
            if too_much or entries >= self._settings.most_queued_entries:
                full.add(shard)
            metrics.QUEUE_FULL.labels(shard).set(shard in full)
        if bool(full) != bool(self._full):
            said = "the journal is full" if full else "the journal has room again"
            logger.warning(said, shards=sorted(full or self._full), redis_bytes=fullest.used)
        metrics.REDIS_USED.set(fullest.used)
        metrics.REDIS_MOST.set(fullest.most)
        self._full, self._seen_at = full, monotonic()

    async def _look_at(self, shard: int, mark: ShardMark) -> int:
        keys, cursor = ShardKeys(shard, mark.epoch), mark.position
        if not await self._redis.exists(keys.stream):
            return 0
        found: Any = await self._redis.xinfo_stream(keys.stream)
        epoch, lag = self._lags[shard]
        if epoch != mark.epoch:
            lag = EntryLag()
            self._lags[shard] = (mark.epoch, lag)
        behind = lag.look(found, cursor)
        seconds = 0.0
        if behind:
            oldest: Any = await self._redis.xrange(keys.stream, f"({cursor}", "+", count=1)
            if oldest:
                now_ms = self._clock.now().timestamp() * 1000
                seconds = max(0.0, now_ms - int(oldest[0][0].split(b"-")[0])) / 1000
        metrics.QUEUE_ENTRIES.labels(shard).set(found["length"])
        metrics.QUEUE_LAG_ENTRIES.labels(shard).set(behind)
        metrics.QUEUE_LAG.labels(shard).set(seconds)
        return int(found["length"])

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
                metrics.REDIS_UP.set(1)
            except (RedisError, OSError):
                metrics.REDIS_UP.set(0)
            except Exception:
                logger.exception("the journals cannot be looked at")
            await asyncio.sleep(_LOOK_SECONDS)


class _Room:
    """Bytes set aside for the length of a `with` block."""

    __slots__ = ("_pressure", "_size")

    def __init__(self, pressure: Pressure, size: int) -> None:
        self._pressure = pressure
        self._size = size

    def __enter__(self) -> None:
        self._pressure.reserve(self._size)

    def __exit__(self, *_: object) -> None:
        self._pressure.reserve(-self._size)
