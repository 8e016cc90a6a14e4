"""One reader for all live connections of a process: it hears of changes, reads, and passes on.

Announcements only say that something changed. However many come, the accounts that are watched are
read at most a few times a second, and a connection that is slow is owed no more than the newest
state of each account it asked for.
"""

import asyncio
import contextlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from time import monotonic
from typing import Final
from uuid import UUID

import psycopg
import structlog
from psycopg import AsyncConnection
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from billing.clock import Clock
from billing.ids import new_id
from billing.usage.apply import WATERMARK_CHANNEL
from billing.usage.live import LiveAccount, read_live

logger = structlog.get_logger(__name__)

WALLETS_CHANNEL: Final = "billing_wallets"
ACCOUNTS_CHANNEL: Final = "billing_accounts"
READ_SECONDS: Final = 0.25
"""At most so often the accounts are read."""
_LOOK_SECONDS: Final = 5.0
"""Without an announcement: days end, and an announcement may be lost with its connection."""
_KEPT_SECONDS: Final = 300.0
"""How long a change is remembered for those who come back."""
_RECONNECT_SECONDS: Final = 1.0


@dataclass(eq=False)
class Watch:
    """What one connection waits for."""

    accounts: frozenset[UUID]
    changed: dict[UUID, LiveAccount] = field(default_factory=dict)
    """The newest state of accounts it was not told yet: never more than it asked for."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self) -> list[LiveAccount]:
        """What it was not told yet; from now on it is."""
        taken, self.changed = list(self.changed.values()), {}
        self.wake.clear()
        return taken


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a connection is told first; with `goes_on` only what changed since it was last here."""

    watch: Watch
    cursor: str
    accounts: list[LiveAccount]
    goes_on: bool


@dataclass(slots=True)
class _Kept:
    state: LiveAccount | None = None
    number: int = 0
    """Of its last change."""
    wanted_at: float = 0.0


class Hub:
    """Reads what is watched, while anything is."""

    def __init__(self, engine: Engine, database_url: str, clock: Clock) -> None:
        self._engine = engine
        self._database_url = database_url
        self._clock = clock
        self._name = new_id().hex[-8:]
        self._number = 0
        self._kept: dict[UUID, _Kept] = {}
        self._watches: set[Watch] = set()
        self._lock = asyncio.Lock()
        self._dirty = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def cursor(self) -> str:
        """Names the last change; given back later, only what changed since is told."""
        return f"{self._name}-{self._number}"

    async def watch(self, accounts: Collection[UUID], after: str | None) -> "Beginning":
        """Begin to watch.

        Accounts that do not exist are never told of.

        Raises:
            SQLAlchemyError: if they cannot be read.
        """
        self._begin()
        async with self._lock:
            number = self._number_of(after)
            goes_on = number is not None and all(one in self._kept for one in accounts)
            for one in accounts:
                self._kept.setdefault(one, _Kept())
            await self._read()
            watch = Watch(frozenset(accounts))
            self._watches.add(watch)
            kept = [self._kept[one] for one in accounts]
            told = [
                one.state
                for one in kept
                if one.state is not None and (not goes_on or one.number > (number or 0))
            ]
            return Beginning(watch, self.cursor, told, goes_on)

    def forget(self, watch: Watch) -> None:
        """Watch no more."""
        self._watches.discard(watch)

    async def stop(self) -> None:
        """Read no more."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks.clear()

    def _begin(self) -> None:
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._listen_always(), name="live-listener"),
                asyncio.create_task(self._read_always(), name="live-reader"),
            ]

    def _number_of(self, cursor: str | None) -> int | None:
        name, _, number = (cursor or "").partition("-")
        return int(number[:20]) if name == self._name and number.isdecimal() else None

    async def _read_always(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._dirty.wait()
            self._dirty.clear()
            try:
                async with self._lock:
                    self._drop_unwatched()
                    if self._kept:
                        await self._read()
            except (SQLAlchemyError, OSError) as error:
                logger.warning("live view cannot read", reason=str(error).partition("\n")[0])
            await asyncio.sleep(READ_SECONDS)

    async def _read(self) -> None:
        wanted = {one: kept.state for one, kept in self._kept.items()}
        found = await asyncio.to_thread(read_live, self._engine, wanted, self._clock.now())
        changed = [state for state in found.values() if not state.same_as(wanted[state.id])]
        for state in found.values():
            self._kept[state.id].state = state
        if changed:
            self._number += 1
            self._pass_on(changed)

    def _pass_on(self, changed: Iterable[LiveAccount]) -> None:
        for state in changed:
            self._kept[state.id].number = self._number
        for watch in self._watches:
            news = {state.id: state for state in changed if state.id in watch.accounts}
            if news:
                watch.changed |= news
                watch.wake.set()

    def _drop_unwatched(self) -> None:
        watched = frozenset[UUID]().union(*(watch.accounts for watch in self._watches))
        now = monotonic()
        for one, kept in list(self._kept.items()):
            if one in watched or not kept.wanted_at:
                kept.wanted_at = now
            elif now - kept.wanted_at > _KEPT_SECONDS:
                del self._kept[one]

    async def _listen_always(self) -> None:
        while True:
            try:
                await self._listen()
            except (psycopg.Error, OSError) as error:
                logger.warning("live view hears nothing", reason=str(error).partition("\n")[0])
                await asyncio.sleep(_RECONNECT_SECONDS)

    async def _listen(self) -> None:
        connection = await AsyncConnection.connect(
            self._database_url,
            autocommit=True,
            connect_timeout=5,
            application_name="billing-live",
        )
        async with connection:
            for channel in (WATERMARK_CHANNEL, WALLETS_CHANNEL, ACCOUNTS_CHANNEL):
                await connection.execute(f"LISTEN {channel}")
            self._dirty.set()
            async for _ in connection.notifies():
                self._dirty.set()
