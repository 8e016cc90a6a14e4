"""From a checked event to an answer: admission by Redis or PostgreSQL, and waiting for the books.

Three ways, by the state of the shard:

* open: one call of Redis, then waiting until PostgreSQL has it (`ledger`);
* open, and PostgreSQL is away: the same, answered from the journal where that is allowed;
* direct, since Redis is away: one transaction of PostgreSQL.

What is not known after a failure is tried again, by whichever way is open then: an event counts
once under its id, however often it is admitted.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from psycopg.errors import Error as PostgresError
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from billing.clock import Clock
from billing.failpoints import failpoint
from billing.usage.batch import START, CursorMovedError, JournalEntry
from billing.wallets.holds import captures
from billing.wallets.journal import Admission
from billing.wallets.keys import ShardKeys
from billing.wallets.ports import Counted, IntakePostgres, IntakeRedis, NotDirectError
from ingest_api.intake.gather import Gather
from ingest_api.intake.outcomes import (
    MOVED,
    UNAVAILABLE,
    Durability,
    Letter,
    Named,
    Outcome,
    Status,
    outcomes_of,
)
from ingest_api.intake.watermark import PostgresAwayError, ShardMark, UnknownOutcomeError

__all__ = [
    "ANSWER_SECONDS",
    "MOST_PER_CALL",
    "MOVED",
    "UNAVAILABLE",
    "Durability",
    "Named",
    "Outcome",
    "ShardIntake",
    "Status",
]

logger = structlog.get_logger(__name__)

MOST_PER_CALL: Final = 500
"""A call of 500 keeps Redis busy for some milliseconds, which every other caller waits."""
ANSWER_SECONDS: Final = 5.0

_CALL_PAUSE_SECONDS: Final = 0.002
"""Between the beginnings of two calls of Redis: the writer commits no more often than that."""
_TRY_AGAIN_SECONDS: Final = 0.05
WALLET_SECONDS: Final = 1.0
"""How long a wallet that Redis does not know may be on its way there."""

_UNKNOWN: Final = (
    RedisError,
    PostgresError,
    SQLAlchemyError,
    OSError,
    TimeoutError,
    UnknownOutcomeError,
    CursorMovedError,
)
"""After these, nobody knows what became of the events."""


class ShardIntake:
    """Takes in events of one shard.

    Args:
        look_now: asks for the shard's row to be read.
        journal_answers: whether events may be answered that only the journal has.
        direct_after: seconds after which direct mode is asked for, if no writer is there to do so.
    """

    def __init__(
        self,
        shard: int,
        redis: IntakeRedis,
        postgres: IntakePostgres,
        mark: ShardMark,
        clock: Clock,
        *,
        look_now: Callable[[], None] = lambda: None,
        journal_answers: bool = False,
        direct_after: float = 6.0,
    ) -> None:
        self.shard = shard
        self._redis = redis
        self._postgres = postgres
        self._mark = mark
        self._clock = clock
        self._look_now = look_now
        self._journal_answers = journal_answers
        self._direct_after = direct_after
        self._redis_away_since: float | None = None
        self._gather: Gather[Admission, Letter] = Gather(
            self._admit, MOST_PER_CALL, _CALL_PAUSE_SECONDS
        )
        self._gather_direct: Gather[Admission, Letter] = Gather(self._admit_directly, MOST_PER_CALL)
        mark.when_direct = lambda: self._gather.abandon(UnknownOutcomeError())

    async def take(self, events: Sequence[Named]) -> list[Outcome]:
        """What becomes of these events, in their order; answered when it is durable."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + ANSWER_SECONDS
        while True:
            try:
                return await self._attempt(events, deadline)
            except _UNKNOWN as error:
                if loop.time() + _TRY_AGAIN_SECONDS >= deadline:
                    logger.warning("not admitted", shard=self.shard, reason=repr(error))
                    return [UNAVAILABLE] * len(events)
                await self.consider(error)
            self._look_now()
            await asyncio.sleep(_TRY_AGAIN_SECONDS)

    async def consider(self, error: Exception) -> None:
        """Ask for direct mode when Redis has been away for long and no writer is there."""
        now = asyncio.get_running_loop().time()
        if not isinstance(error, RedisError) or self._mark.is_away:
            return
        if self._redis_away_since is None:
            self._redis_away_since = now
        elif now - self._redis_away_since > self._direct_after and self._mark.mode is not None:
            self._redis_away_since = now
            try:
                await self._postgres.enter_direct_unwatched(self.shard, self._mark.epoch)
            except _UNKNOWN as further:
                logger.warning("no direct mode", shard=self.shard, reason=repr(further))

    async def _attempt(self, events: Sequence[Named], deadline: float) -> list[Outcome]:
        is_direct = self._mark.is_direct
        letters = await self._letters(
            [event.admission for event in events], deadline, is_direct=is_direct
        )
        outcomes = outcomes_of(letters)
        # the entry of a duplicate must be durable as well
        last = max([one.position for one in letters if one.position is not None], default=START)
        if last == START:
            return outcomes
        epoch = letters[0].epoch
        failpoint("api.before_watermark")
        try:
            if not is_direct:
                left = deadline - asyncio.get_running_loop().time()
                or_journal = any(self._may_journal(event) for event in events)
                await self._mark.wait(epoch, last, left, or_journal=or_journal)
            if self._needs_check(letters, is_direct=is_direct):
                await self._check(epoch, events, letters, outcomes)
        except PostgresAwayError:
            return self._by_journal(events, letters, outcomes)
        except UnknownOutcomeError as error:
            if epoch != self._mark.epoch:
                raise
            logger.warning("not confirmed", shard=self.shard, reason=repr(error))
            return [
                outcome if one.position is None else UNAVAILABLE
                for outcome, one in zip(outcomes, letters, strict=True)
            ]
        return outcomes

    def _needs_check(self, letters: Sequence[Letter], *, is_direct: bool) -> bool:
        if is_direct:
            return not all(one.plain for one in letters)
        first: Letter | None = None
        for one in letters:
            if one is not first:  # events of one entry share their letter
                if self._is_doubtful(one):
                    return True
                first = one
        return False

    def _is_doubtful(self, one: Letter) -> bool:
        """Whether an entry at or below the cursor may be something else than simply new.

        If the writer began anew since, Redis may have lost the entry and kept later ones.
        """
        if one.position is None:
            return False
        return one.session != self._mark.session or self._mark.needs_check(one.position)

    def _may_journal(self, event: Named) -> bool:
        allowed = event.journal_answers
        return self._journal_answers if allowed is None else allowed

    def _by_journal(
        self, events: Sequence[Named], letters: Sequence[Letter], outcomes: Sequence[Outcome]
    ) -> list[Outcome]:
        """PostgreSQL is away: what is not known to be there is in the journal."""
        mark = self._mark
        said = []
        for event, outcome, one in zip(events, outcomes, letters, strict=True):
            if one.position is None or (
                one.position <= mark.position and not self._is_doubtful(one)
            ):
                said.append(outcome)
            elif self._may_journal(event):
                at = outcome.accepted_at
                said.append(Outcome(outcome.status, at, durability=Durability.JOURNAL))
            else:
                said.append(UNAVAILABLE)
        return said

    async def _letters(
        self, admissions: list[Admission], deadline: float, *, is_direct: bool
    ) -> list[Letter]:
        """The answers to admission; a wallet that is new may still be on its way to Redis."""
        if is_direct:
            return list(await self._gather_direct.ask(admissions, deadline))
        letters = list(await self._gather.ask(admissions, deadline))
        again = [index for index, one in enumerate(letters) if one.letter == "u"]
        if not again:
            return letters
        loop = asyncio.get_running_loop()
        give_up = min(loop.time() + WALLET_SECONDS, deadline)
        while again and loop.time() < give_up:
            await asyncio.sleep(_TRY_AGAIN_SECONDS)
            answers = await self._gather.ask([admissions[index] for index in again], deadline)
            for index, answer in zip(again, answers, strict=True):
                letters[index] = answer
            again = [index for index in again if letters[index].letter == "u"]
        if len({one.epoch for one in letters}) > 1:
            raise UnknownOutcomeError
        return letters

    async def _admit(self, admissions: list[Admission]) -> list[Letter]:
        """One call of Redis; behind a fence, wait for the new epoch."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + ANSWER_SECONDS
        while True:
            epoch, session = self._mark.epoch, self._mark.session
            received_at = self._clock.now()
            admitted = None
            if epoch:
                keys = ShardKeys(self.shard, epoch)
                admitted = await self._redis.admit(keys, admissions, received_at)
                self._redis_away_since = None
            if admitted is not None:
                break
            if loop.time() > give_up or self._mark.is_direct:
                raise UnknownOutcomeError
            self._look_now()
            await asyncio.sleep(_TRY_AGAIN_SECONDS)
        if admitted.letters.count("a") == len(admitted.letters):
            simply_new = Letter("a", epoch, received_at, admitted.position, session)
            return [simply_new] * len(admissions)
        marks = iter(admitted.marks)
        letters = []
        for letter in admitted.letters:
            first_at, position = received_at, admitted.position
            if letter == "d":
                first_at, position = next(marks)
                if first_at == received_at:  # ours, from an attempt whose answer was lost
                    letter = "a"  # noqa: PLW2901
            place = position if letter in "ads" else None
            letters.append(Letter(letter, epoch, first_at, place, session))
        return letters

    async def _admit_directly(self, admissions: list[Admission]) -> list[Letter]:
        """One transaction of PostgreSQL; which events it knew already is looked up afterwards."""
        epoch = self._mark.epoch
        if not self._mark.is_direct:
            raise NotDirectError(f"shard {self.shard} left direct mode")
        received_at = self._clock.now()
        seen: dict[bytes, bytes] = {}
        said: list[str] = []
        rows: list[bytes] = []
        counted: list[Counted] = []
        named: list[str] = []
        for one in admissions:
            before = seen.get(one.digest)
            if before is None:
                seen[one.digest] = one.body_hash
                if one.count is not None and one.wallet_id is not None:
                    counted.append(Counted(len(rows), one.wallet_id, one.count))
                rows.append(one.row)
                said.append("a")
                if one.hold:
                    named.append(one.hold)
            else:
                said.append("s" if before == one.body_hash else "c")
        holds = captures(named, received_at)
        entry = JournalEntry(START, received_at, len(rows), b"".join(rows), holds=holds)
        failpoint("api.before_direct")
        applied = await self._postgres.apply_direct(self.shard, epoch, entry, counted)
        failpoint("api.after_direct")
        place, plain = applied.cursor, not applied.exceptional
        return [
            Letter(one, epoch, received_at, None if one == "c" else place, plain=plain)
            for one in said
        ]

    async def _check(
        self,
        epoch: int,
        events: Sequence[Named],
        letters: Sequence[Letter],
        outcomes: list[Outcome],
    ) -> None:
        """Ask PostgreSQL what became of the events.

        Redis may have forgotten an event that PostgreSQL knows, or lost it before the writer
        read it; or the writer may have set the entry aside.
        """
        indices = [index for index, one in enumerate(letters) if one.letter in "ads"]
        known = await self._postgres.known(
            [(events[index].source, events[index].event_id) for index in indices]
        )
        missing: list[int] = []
        for index in indices:
            event, letter = events[index], letters[index]
            found = known.get((event.source, event.event_id))
            if found is None:
                outcomes[index] = UNAVAILABLE
                missing.append(index)
            elif found.body_hash != event.admission.body_hash:
                outcomes[index] = Outcome(Status.CONFLICT, code="event_conflict")
            elif letter.letter == "a" and found[1:4] == (self.shard, epoch, letter.position):
                outcomes[index] = Outcome(Status.ACCEPTED, found.received_at)
            else:
                outcomes[index] = Outcome(Status.DUPLICATE, found.received_at)
        if missing:
            places = [place for index in missing if (place := letters[index].position) is not None]
            aside = await self._postgres.set_aside(self.shard, epoch, places)
            for index in missing:
                if letters[index].position in aside:
                    outcomes[index] = Outcome(Status.REJECTED, code="quarantined")
