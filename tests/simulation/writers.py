"""The writer's process without threads and drivers: what `ingest_api.writer` does beside it."""

import asyncio
import contextlib
from collections.abc import Awaitable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

import psycopg
import redis
from sqlalchemy.util import await_only, greenlet_spawn

from billing.usage.batch import CursorMovedError, JournalEntry, Position
from billing.usage.event import microseconds
from billing.wallets.mirror import sync_wallets
from billing.wallets.moving import Mover, Place
from billing.wallets.news import tell_news
from billing.wallets.ports import RebuildNeededError
from billing.wallets.quota_bases import fill_bases
from billing.wallets.rebuild import refill
from billing.wallets.writer import WriterCore
from tests.simulation.network import Awaited, Link, Waiting

if TYPE_CHECKING:
    from tests.simulation.world import World

_PAUSE = 0.05
_READ_SECONDS = 0.2
_SWEEP_SECONDS = 0.5
_DIRECT_AFTER_SECONDS = 1.0
_KEEP = timedelta(seconds=30)

StoreError = (psycopg.Error, redis.RedisError, OSError)


class Writer:
    """A writer of one shard; several may run, and only one at a time is meant to be active."""

    def __init__(self, world: "World", shard: int) -> None:
        self._world = world
        self._shard = shard
        self._redis_seen = 0.0

    async def run(self) -> None:
        """Serve through whatever happens, until cancelled: that is a kill."""
        while True:
            with contextlib.suppress(*StoreError):
                await self._session()
            await asyncio.sleep(_PAUSE)

    async def _session(self) -> None:
        world = self._world
        link = world.link(world.postgres)
        try:
            await link.ask(lambda _: None)
            while not world.take_writer_lock(self._shard, link):
                await link.ask(lambda _: None)
                await asyncio.sleep(_PAUSE)
            await self._be_active(Waiting(link))
        finally:
            link.close()

    async def _be_active(self, postgres: Waiting) -> None:
        world = self._world
        self._redis_seen = world.loop.time()
        while True:
            core = WriterCore(self._shard, postgres, Waiting(world.link(world.redis)))
            try:
                await self._serve(core)
            except (RebuildNeededError, CursorMovedError):
                continue
            except redis.RedisError:
                if world.loop.time() - self._redis_seen >= _DIRECT_AFTER_SECONDS:
                    await greenlet_spawn(core.give_way)
                await asyncio.sleep(_PAUSE)

    async def _serve(self, core: WriterCore) -> None:
        own = self._world.link(self._world.redis, pinned=True)
        await own.ask(lambda _: None)
        made_anew = await greenlet_spawn(core.begin)
        self._redis_seen = self._world.loop.time()
        found: asyncio.Queue[list[JournalEntry]] = asyncio.Queue(4)
        helpers = [self._read(core, own, found), self._relay(core), self._move(core)]
        if made_anew:
            helpers.append(self._refill(core))
        async with _Helpers(helpers) as running:
            while True:
                running.require()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.4):
                        entries = await found.get()
                    await greenlet_spawn(core.apply, entries)

    async def _read(
        self, core: WriterCore, link: Link[Any], found: asyncio.Queue[list[JournalEntry]]
    ) -> None:
        """Read ahead of the one who applies."""
        world = self._world
        redis_, keys, after = Awaited(link), core.keys, core.cursor
        while True:
            count = world.chance.choice([1, 3, 64])
            entries = await redis_.entries(keys, after, count=count)
            self._redis_seen = world.loop.time()
            if entries:
                after = entries[-1].position
                await found.put(entries)
            elif await redis_.epoch_text(self._shard) != str(keys.epoch):
                raise RebuildNeededError("the epoch is gone")
            else:
                await asyncio.sleep(world.chance.uniform(0, _READ_SECONDS))

    async def _relay(self, core: WriterCore) -> None:
        world = self._world
        postgres = Waiting(world.link(world.postgres))
        redis_ = Waiting(world.link(world.redis))
        while True:
            await greenlet_spawn(sync_wallets, postgres, redis_, core.keys)
            if world.chance.random() < 0.3:
                now = world.clock.now()
                await greenlet_spawn(redis_.expire_holds, core.keys, now)
                await greenlet_spawn(tell_news, redis_, postgres, core.keys, core.cursor, now)
                await greenlet_spawn(fill_bases, redis_, postgres, core.keys, core.cursor, now)
            oldest = Position(microseconds(world.clock.now() - _KEEP) // 1000, 0)
            await greenlet_spawn(redis_.trim, core.keys, min(core.cursor, oldest))
            await asyncio.sleep(world.chance.uniform(0, _SWEEP_SECONDS))

    async def _move(self, core: WriterCore) -> None:
        """Goes on after any failure: what it left undone, it does again."""
        world = self._world

        def wait(moment: timedelta) -> None:
            await_only(asyncio.sleep(moment.total_seconds()))

        while True:
            with contextlib.suppress(*StoreError, RebuildNeededError):
                postgres = Waiting(world.link(world.postgres))
                here = Waiting(world.link(world.redis))
                mover = Mover(
                    postgres,
                    Place(here, core.keys),
                    lambda _: Waiting(world.link(world.redis)),
                    world.clock,
                    wait,
                )
                while True:
                    await greenlet_spawn(mover.step)
                    await asyncio.sleep(world.chance.uniform(0, 0.3))
                    if world.chance.random() < 0.1:
                        await greenlet_spawn(mover.tidy)
            await asyncio.sleep(world.chance.uniform(0, 0.3))

    async def _refill(self, core: WriterCore) -> None:
        """Should it fail, nothing is lost."""
        world = self._world
        with contextlib.suppress(*StoreError, RebuildNeededError):
            await greenlet_spawn(
                refill,
                Waiting(world.link(world.postgres)),
                Waiting(world.link(world.redis)),
                core.keys,
                world.clock,
            )


class _Helpers:
    """Tasks beside the main one; the first failure is told by `require`."""

    def __init__(self, work: list[Awaitable[None]]) -> None:
        self._work = work
        self._tasks: list[asyncio.Future[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.ensure_future(one) for one in self._work]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def require(self) -> None:
        """Raise what a helper raised."""
        for task in self._tasks:
            if task.done() and (error := task.exception()) is not None:
                raise error
