"""The API's process without HTTP and drivers: the shard's intake, and hearing what commits."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
import redis

from billing.errors import UnavailableError
from billing.usage.batch import Applied, JournalEntry, Position
from billing.wallets.hold_book import Funds
from billing.wallets.holds import Asked, HoldAnswer, Verdict
from billing.wallets.journal import Admission, Admitted
from billing.wallets.keys import ShardKeys
from billing.wallets.ports import Counted, KnownEvent
from ingest_api.intake.admission import (
    ANSWER_SECONDS,
    MOVED,
    UNAVAILABLE,
    Named,
    Outcome,
    ShardIntake,
)
from ingest_api.intake.holds import HoldDesk
from ingest_api.intake.watermark import ShardMark
from tests.simulation.network import Link

AskDesk = Callable[[HoldDesk], Awaitable[HoldAnswer]]

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

    async def decide(
        self, keys: ShardKeys, asked: Sequence[Asked], now: datetime
    ) -> list[HoldAnswer] | None:
        """Answer what is asked of holds."""
        return await self._link.ask(lambda state: state.decide(keys, asked, now))

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

    async def decide_holds(
        self, shard: int, epoch: int, asked: Sequence[Asked]
    ) -> list[HoldAnswer]:
        """Answer what is asked of holds, in direct mode."""
        return await self._ask(lambda state: state.decide_holds(shard, epoch, asked))

    async def funds(self, wallet: UUID) -> Funds | None:
        """What a wallet holds."""
        return await self._ask(lambda state: state.funds(wallet))

    async def enter_direct_unwatched(self, shard: int, epoch: int) -> None:
        """Go to direct mode if no writer is there to do it."""
        if not self._world.has_active_writer(shard):
            await self._ask(lambda state: state.enter_direct(shard, leaving=epoch, epoch=epoch + 1))


class Api:
    """One API process."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._marks = [ShardMark() for _ in range(world.shards)]
        self._wanted = False
        self._homes: dict[UUID, int] = {}
        """The shards of accounts, as they were when they were read."""
        self._intakes = [
            ShardIntake(
                shard,
                _Redis(world.link(world.redis)),
                _Postgres(world),
                mark,
                world.clock,
                look_now=self._look_now,
                journal_answers=world.has_journal_answers,
                direct_after=2.0,
            )
            for shard, mark in enumerate(self._marks)
        ]
        self._desks = [
            HoldDesk(
                intake.shard,
                _Redis(world.link(world.redis)),
                _Postgres(world),
                self._marks[intake.shard],
                world.clock,
                look_now=self._look_now,
                consider=intake.consider,
            )
            for intake in self._intakes
        ]
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
        task = self._spawn(self._take(events))
        await asyncio.wait({task})
        return None if task.cancelled() else task.result()

    async def _take(self, events: Sequence[Named]) -> list[Outcome]:
        """As `Events` does it: by shard, and again where an account was moved meanwhile."""
        outcomes: list[Outcome] = [MOVED] * len(events)
        give_up = self._world.loop.time() + ANSWER_SECONDS
        while MOVED in outcomes and self._world.loop.time() < give_up:
            by_shard: dict[int, list[int]] = {}
            for index, outcome in enumerate(outcomes):
                if outcome is MOVED:
                    home = await self._home(_account(events[index]))
                    if home is not None:
                        by_shard.setdefault(home, []).append(index)
            parts = [
                self._intakes[shard].take([events[index] for index in part])
                for shard, part in by_shard.items()
            ]
            for part, said in zip(by_shard.values(), await asyncio.gather(*parts), strict=True):
                for index, outcome in zip(part, said, strict=True):
                    outcomes[index] = outcome
                    if outcome is MOVED:
                        self._homes.pop(_account(events[index]), None)
            if MOVED in outcomes:
                await asyncio.sleep(0.02)
        return [UNAVAILABLE if one is MOVED else one for one in outcomes]

    async def hold(self, account: UUID, ask: AskDesk) -> HoldAnswer | None:
        """What a client is told of a hold; None if it is not told."""
        if self._is_dead:
            return None
        task = self._spawn(self._where_it_is(account, ask))
        await asyncio.wait({task})
        return None if task.cancelled() else task.result()

    async def _where_it_is(self, account: UUID, ask: AskDesk) -> HoldAnswer | None:
        """As `Authorizations` does it."""
        give_up = self._world.loop.time() + ANSWER_SECONDS
        while self._world.loop.time() < give_up:
            home = await self._home(account)
            if home is None:
                return None
            try:
                answer = await ask(self._desks[home])
            except UnavailableError:
                return None
            if answer.verdict is not Verdict.MOVED:
                return answer
            await asyncio.sleep(0.02)
            self._homes.pop(account, None)
        return None

    async def _home(self, account: UUID) -> int | None:
        if account not in self._homes:
            try:
                link = self._world.link(self._world.postgres)
                self._homes[account] = await link.ask(lambda state: state.home(account))
            except psycopg.Error:
                return None
        return self._homes[account]

    def kill(self) -> None:
        """Nothing of it goes on."""
        self._is_dead = True
        gathers = [one for part in (*self._intakes, *self._desks) for one in (
            part._gather, part._gather_direct
        )]  # fmt: skip
        for task in (*self._tasks, *(one._task for one in gathers)):
            if task is not None:
                task.cancel()

    async def _listen(self) -> None:
        while True:
            with contextlib.suppress(psycopg.Error):
                await self._hear()
            for mark in self._marks:
                mark.lost()
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
                rows = await link.ask(
                    lambda state: [state.shard(shard) for shard in range(world.shards)]
                )
                for mark, row in zip(self._marks, rows, strict=True):
                    mark.polled(row.epoch, row.session, row.cursor, row.mode)
                    mark.found()
                last = world.loop.time()
            await asyncio.sleep(world.chance.uniform(0.001, 0.05))
            while heard:
                self._announce(heard.popleft())
                last = world.loop.time()

    def _is_poll_due(self, since: float) -> bool:
        if any(mark.epoch and mark.mode is None for mark in self._marks):
            return True
        awaited = self._wanted or any(mark.is_awaited for mark in self._marks)
        return since >= (_POLL_SECONDS if awaited else _IDLE_POLL_SECONDS)

    def _announce(self, payload: str) -> None:
        shard, epoch, session, after, position, named = payload.split(" ")
        self._marks[int(shard)].announced(
            int(epoch),
            int(session),
            Position.parse(after),
            Position.parse(position),
            {Position.parse(one) for one in named.split(",") if one},
        )


def _account(event: Named) -> UUID:
    """An account and its wallet have one id here."""
    assert event.admission.wallet_id is not None
    return event.admission.wallet_id
