"""One connection that hears what PostgreSQL announces: watermarks, changed accounts."""

import asyncio
import contextlib
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

import psycopg
import structlog
from psycopg import AsyncConnection

from billing.usage.apply import WATERMARK_CHANNEL
from billing.usage.batch import Position
from billing.usage.tables import ShardMode
from ingest_api.intake.watermark import ShardMark

logger = structlog.get_logger(__name__)

ACCOUNTS_CHANNEL: Final = "billing_accounts"

_POLL_SECONDS: Final = 0.05
_AWAITED_POLL_SECONDS: Final = 0.3
"""An announcement is lost only with its connection; this is for what nobody foresaw."""
_IDLE_POLL_SECONDS: Final = 1.0
_RECONNECT_SECONDS: Final = 0.2
_SILENT_SECONDS: Final = 1.0
"""A server that does not answer for so long counts as away."""

_STATES = "SELECT shard, epoch, session, cursor_ms, cursor_seq, mode FROM usage.shard_state"


class Listener:
    """Keeps the watermarks current, and forgets accounts that changed.

    Args:
        forget: is told the account id (or `alias:…`) that changed, or None for all of them.
        journal_after: seconds after which the marks are told that PostgreSQL is away.
    """

    def __init__(
        self,
        database_url: str,
        shard_count: int,
        forget: Callable[[str | None], None],
        journal_after: float = 0.06,
    ) -> None:
        self._database_url = database_url
        self._forget = forget
        self._journal_after = journal_after
        self.marks = [ShardMark() for _ in range(shard_count)]
        self.is_away = False
        """Whether PostgreSQL is known to be away."""
        self._alarm: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()

    def start(self) -> None:
        """Begin to listen."""
        self._task = asyncio.create_task(self._run(), name="intake-listener")

    async def stop(self) -> None:
        """Listen no more."""
        self._call_later(None, self._lost)
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def look_now(self) -> None:
        """Read the shards' rows at the next chance: an epoch seems to have changed."""
        self._wanted.set()

    async def _run(self) -> None:
        while True:
            try:
                await self._listen()
            except (psycopg.Error, OSError) as error:
                self._lost()
                logger.warning("database away", reason=str(error).partition("\n")[0])
                await asyncio.sleep(_RECONNECT_SECONDS)

    def _lost(self) -> None:
        if not self.is_away:
            self.is_away = True
            self._call_later(self._journal_after, self._give_up)

    def _give_up(self) -> None:
        for mark in self.marks:
            mark.lost()

    def _found(self) -> None:
        self._call_later(None, self._lost)
        self.is_away = False
        for mark in self.marks:
            mark.found()

    def _call_later(self, seconds: float | None, call: Callable[[], None]) -> None:
        """One alarm at a time; None: no alarm any more."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if seconds is not None:
            self._alarm = asyncio.get_running_loop().call_later(seconds, call)

    async def _listen(self) -> None:
        connection = await AsyncConnection.connect(
            self._database_url,
            autocommit=True,
            connect_timeout=5,
            application_name="billing-intake",
            options="-c timezone=UTC -c statement_timeout=5000",
        )
        async with connection:
            await connection.execute(f"LISTEN {WATERMARK_CHANNEL}")
            await connection.execute(f"LISTEN {ACCOUNTS_CHANNEL}")
            self._forget(None)  # what was announced while we did not listen is not known
            heard_at = 0.0
            while True:
                # while announcements come, a poll could only run ahead of them
                if self._is_poll_due(monotonic() - heard_at):
                    self._wanted.clear()
                    self._call_later(_SILENT_SECONDS, self._lost)
                    await self._poll(connection)
                    self._found()
                    heard_at = monotonic()
                async for notice in connection.notifies(timeout=_POLL_SECONDS, stop_after=1):
                    self._hear(notice.channel, notice.payload)
                    heard_at = monotonic()

    def _is_poll_due(self, since: float) -> bool:
        if any(mark.epoch and mark.mode is None for mark in self.marks):
            return True  # announcements do not say the mode
        if self._wanted.is_set():
            return since >= _POLL_SECONDS
        awaited = any(mark.is_awaited for mark in self.marks)
        return since >= (_AWAITED_POLL_SECONDS if awaited else _IDLE_POLL_SECONDS)

    async def _poll(self, connection: AsyncConnection[Any]) -> None:
        rows = await (await connection.execute(_STATES)).fetchall()
        # What the rows say was announced before they were read. Heard first, it needs no look at
        # single events afterwards.
        async for notice in connection.notifies(timeout=0):
            self._hear(notice.channel, notice.payload)
        for shard, epoch, session, ms, seq, mode in rows:
            if shard < len(self.marks):
                self.marks[shard].polled(epoch, session, Position(ms, seq), ShardMode(mode))

    def _hear(self, channel: str, payload: str) -> None:
        if channel == ACCOUNTS_CHANNEL:
            self._forget(payload)
            return
        shard, epoch, session, after, position, named = payload.split(" ")
        exceptional = (
            None if named == "*" else {Position.parse(one) for one in named.split(",") if one}
        )
        if int(shard) < len(self.marks):
            self.marks[int(shard)].announced(
                int(epoch),
                int(session),
                Position.parse(after),
                Position.parse(position),
                exceptional,
            )
