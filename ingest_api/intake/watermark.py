"""How far each shard's journal is durable in PostgreSQL, and waiting for it.

The writer announces its cursor with the commit (NOTIFY); the shard's row is read as well, in case
an announcement was lost. An entry at or below the cursor of its epoch is durable. In another
epoch nothing can be said: the event is admitted once more, or the sender repeats it under its id.
"""

import asyncio
import heapq
from collections.abc import Callable
from itertools import count
from typing import Final

from billing.usage.batch import START, Position
from billing.usage.tables import ShardMode
from ingest_api.intake.patience import Patience

_MOST_REMEMBERED: Final = 10_000


class UnknownOutcomeError(Exception):
    """Whether the entry is durable cannot be told now."""


class PostgresAwayError(Exception):
    """The entry is in the journal, and PostgreSQL cannot be heard."""


class ShardMark:
    """The watermark of one shard."""

    def __init__(self) -> None:
        self.epoch = 0
        self.session = 0
        """Of the writer; entries admitted in another one may be lost, though later ones are not."""
        self.mode: ShardMode | None = None
        """Of this epoch; None as long as it was not read."""
        self.is_away = False
        """Whether PostgreSQL has been away for as long as an answer from the journal waits."""
        self.when_direct: Callable[[], None] | None = None
        """Told when the shard is found in direct mode."""
        self.position = START
        self._known_from = START
        """Above it, every announcement was heard: entries not in `_exceptional` are simply new."""
        self._exceptional: set[Position] = set()
        self._waiting: list[tuple[Position, int, asyncio.Future[None], bool]] = []
        self._order = count()
        self._patience = Patience()

    @property
    def is_awaited(self) -> bool:
        """Whether anybody waits."""
        return bool(self._waiting)

    @property
    def is_direct(self) -> bool:
        """Whether events bypass Redis."""
        return self.mode is ShardMode.DIRECT

    async def wait(
        self, epoch: int, position: Position, seconds: float, *, or_journal: bool = False
    ) -> None:
        """Come back when the entry is durable.

        Args:
            or_journal: whether to give up as soon as PostgreSQL is known to be away.

        Raises:
            UnknownOutcomeError: if the epoch changes, or it takes too long.
            PostgresAwayError: if PostgreSQL is away and that was asked for.
        """
        if epoch != self.epoch:
            raise UnknownOutcomeError
        if position <= self.position:
            return
        if or_journal and self.is_away:
            raise PostgresAwayError
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        heapq.heappush(self._waiting, (position, next(self._order), future, or_journal))
        self._patience.watch(future, loop.time() + seconds)
        try:
            await future
        except TimeoutError:
            raise UnknownOutcomeError from None

    def needs_check(self, position: Position) -> bool:
        """Whether PostgreSQL must be asked what became of the items of a durable entry."""
        return position != START and (position <= self._known_from or position in self._exceptional)

    def announced(
        self,
        epoch: int,
        session: int,
        after: Position,
        position: Position,
        exceptional: set[Position] | None,
    ) -> None:
        """The writer committed the entries between two positions.

        Args:
            exceptional: those of them that need a look; None if they were too many to name.
        """
        if epoch < self.epoch:
            return
        self.session = session
        if epoch > self.epoch:
            self._begin(epoch)
            self._known_from = after
        elif after > self.position or exceptional is None:
            self._known_from = position if exceptional is None else after
        self._exceptional |= exceptional or set()
        if len(self._exceptional) > _MOST_REMEMBERED:
            self._exceptional.clear()
            self._known_from = max(self.position, position)
        self._move(position)

    def polled(self, epoch: int, session: int, position: Position, mode: ShardMode) -> None:
        """The shard's row says so."""
        if epoch > self.epoch:
            self._begin(epoch)
            self._known_from = position
        elif epoch == self.epoch and position > self.position:
            self._known_from = position
        if epoch == self.epoch:
            self.session = session
            self._move(position)
            turned = mode is ShardMode.DIRECT and not self.is_direct
            self.mode = mode
            if turned and self.when_direct is not None:
                self.when_direct()

    def lost(self) -> None:
        """PostgreSQL has been away for long enough: who may be answered by the journal, is."""
        self.is_away = True
        for _, _, future, or_journal in self._waiting:
            if or_journal and not future.done():
                future.set_exception(PostgresAwayError())

    def found(self) -> None:
        """PostgreSQL is heard again."""
        self.is_away = False

    def _begin(self, epoch: int) -> None:
        self.epoch = epoch
        self.mode = None
        self.position = START
        self._exceptional.clear()
        waiting, self._waiting = self._waiting, []
        for _, _, future, _ in waiting:
            if not future.done():
                future.set_exception(UnknownOutcomeError())

    def _move(self, position: Position) -> None:
        self.position = max(self.position, position)
        while self._waiting and self._waiting[0][0] <= self.position:
            future = heapq.heappop(self._waiting)[2]
            if not future.done():
                future.set_result(None)
