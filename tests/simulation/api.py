"""The API's process without HTTP and drivers: the shard's intake, and hearing what commits."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Coroutine, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import psycopg
import redis

from billing.usage.batch import Applied, JournalEntry, Position
from billing.wallets.journal import Admission, Admitted
from billing.wallets.keys import ShardKeys
from billing.wallets.ports import Counted, KnownEvent
from ingest_api.intake.admission import Named, Outcome, ShardIntake
from ingest_api.intake.watermark import ShardMark
from tests.simulation.network import Link

if TYPE_CHECKING:
    from tests.simulation.world import World

_POLL_SECONDS = 0.05
_IDLE_POLL_SECONDS = 1.0


class _Redis:
    """As `AsyncRedisPort`: a call is tried twice, since the first may find a dead connection."""

    def __init__(self, link: Link[Any]) -> None:
        self._link = link

    async def admit(
        self, keys: ShardKeys, admissions: Sequence[Admission], received_at: datetime
    ) -> Admitted | None:
        """Admit a batch of one shard."""
        try:
            return await self._link.ask(lambda state: state.admit(keys, admissions, received_at))
        except redis.RedisError:
            return await self._link.ask(lambda state: state.admit(keys, admissions, received_at))

    async def journal(self, keys: ShardKeys) -> tuple[int, Position]:
        """How many entries were ever added to the stream, and the last one's place."""
        return await self._link.ask(lambda state: state.journal(keys))


class _Postgres:
    """Every call has a connection of its own."""

    def __init__(self, world: "World") -> None:
        self._world = world

    async def _ask(self, question: Any) -> Any:
        return await self._world.link(self._world.postgres).ask(question)

    async def known(self, names: Sequence[tuple[str, str]]) -> dict[tuple[str, str], KnownEvent]:
        """What became of events."""
        return await self._ask(lambda state: state.known(names))

    async def set_aside(
        self, shard: int, epoch: int, positions: Sequence[Position]
    ) -> set[Position]:
        """Those of these entries of which something was set aside."""
        return await self._ask(lambda state: state.set_aside(shard, epoch, positions))

    async def apply_direct(
        self, shard: int, epoch: int, entry: JournalEntry, counted: Sequence[Counted]
    ) -> Applied:
        """Apply an entry in direct mode."""
        return await self._ask(lambda state: state.apply_direct(shard, epoch, [entry]))

    async def enter_direct_unwatched(self, shard: int, epoch: int) -> None:
        """Go to direct mode if no writer is there to do it."""
        if not self._world.has_active_writer:
            await self._ask(lambda state: state.enter_direct(shard, leaving=epoch, epoch=epoch + 1))


class Api:
    """One API process."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._mark = ShardMark()
        self._wanted = False
        self._intake = ShardIntake(
            0,
            _Redis(world.link(world.redis)),
            _Postgres(world),
            self._mark,
            world.clock,
            look_now=self._look_now,
            journal_answers=world.has_journal_answers,
            direct_after=2.0,
        )
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_dead = False
        self._spawn(self._listen())

    def _look_now(self) -> None:
        self._wanted = True

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def request(self, events: Sequence[Named]) -> list[Outcome] | None:
        """What a client gets; None if the connection broke."""
        if self._is_dead:
            return None
        task = self._spawn(self._intake.take(events))
        await asyncio.wait({task})
        return None if task.cancelled() else task.result()

    def kill(self) -> None:
        """Nothing of it goes on."""
        self._is_dead = True
        gathers = (self._intake._gather, self._intake._gather_direct)
        for task in (*self._tasks, *(one._task for one in gathers)):
            if task is not None:
                task.cancel()

    async def _listen(self) -> None:
        while True:
            with contextlib.suppress(psycopg.Error):
                await self._hear()
            self._mark.lost()
            await asyncio.sleep(0.1)

    async def _hear(self) -> None:
        world = self._world
        link = world.link(world.postgres)
        heard: deque[str] = deque()
        await link.ask(lambda _: world.subscribe(link, heard))
        last = 0.0
        while True:
            if self._is_poll_due(world.loop.time() - last):
                self._wanted = False
                row = await link.ask(lambda state: state.shard(0))
                self._mark.polled(row.epoch, row.session, row.cursor, row.mode)
                self._mark.found()
                last = world.loop.time()
            await asyncio.sleep(world.chance.uniform(0.001, 0.05))
            while heard:
                self._announce(heard.popleft())
                last = world.loop.time()

    def _is_poll_due(self, since: float) -> bool:
        if self._mark.epoch and self._mark.mode is None:
            return True
        awaited = self._wanted or self._mark.is_awaited
        return since >= (_POLL_SECONDS if awaited else _IDLE_POLL_SECONDS)

    def _announce(self, payload: str) -> None:
        _, epoch, session, after, position, named = payload.split(" ")
        self._mark.announced(
            int(epoch),
            int(session),
            Position.parse(after),
            Position.parse(position),
            {Position.parse(one) for one in named.split(",") if one},
        )
