"""From a checked event to an answer: one call of Redis, then waiting until PostgreSQL has it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

import structlog
from psycopg.errors import Error as PostgresError
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from billing.clock import Clock
from billing.failpoints import failpoint
from billing.usage.batch import START, Position
from billing.wallets.journal import Admission, admit_call, read_answer
from billing.wallets.keys import ShardKeys
from billing.wallets.scripts import ADMIT
from ingest_api.intake.gather import Gather
from ingest_api.intake.listener import Listener
from ingest_api.intake.watermark import UnknownOutcomeError

logger = structlog.get_logger(__name__)

MOST_PER_CALL: Final = 500
"""A call of 500 keeps Redis busy for some milliseconds, which every other caller waits."""
ANSWER_SECONDS: Final = 5.0
MOST_IN_FLIGHT: Final = 50_000
"""Events that wait for an answer; more are sent away instead of piling up in memory."""

_TRY_AGAIN_SECONDS: Final = 0.05
_WALLET_SECONDS: Final = 1.0
"""How long a wallet that Redis does not know may be on its way there."""

_KEYS = text(
    """
    SELECT source, event_id, body_hash, shard, epoch, stream_ms, stream_seq, received_at
    FROM usage.event_key
    WHERE (source, event_id) IN (
        SELECT * FROM unnest(CAST(:sources AS text[]), CAST(:ids AS text[]))
    )
    """
)


class Status(StrEnum):
    """What became of an event."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    REJECTED = "rejected"
    UNAVAILABLE = "unavailable"
    """Not known: send it again with the same id."""


@dataclass(slots=True)
class Named:
    """An admission with the name of its event."""

    source: str
    event_id: str
    admission: Admission


@dataclass(slots=True)
class Outcome:
    """What became of one event, and when it was first taken in."""

    status: Status
    accepted_at: datetime | None = None
    code: str | None = None


@dataclass(slots=True)
class _Letter:
    """What Redis said of one event."""

    letter: str
    epoch: int
    received_at: datetime
    position: Position | None


UNAVAILABLE: Final = Outcome(Status.UNAVAILABLE, code="try_again")


class ShardIntake:
    """Takes in events of one shard."""

    def __init__(
        self, shard: int, redis: "Redis", listener: Listener, engine: Engine, clock: Clock
    ) -> None:
        self._shard = shard
        self._redis = redis
        self._listener = listener
        self._mark = listener.marks[shard]
        self._engine = engine
        self._clock = clock
        self._gather: Gather[Admission, _Letter] = Gather(self._admit, MOST_PER_CALL)
        self._in_flight = 0

    async def take(self, events: Sequence[Named]) -> list[Outcome]:
        """What becomes of these events, in their order; answered when it is durable."""
        if self._in_flight + len(events) > MOST_IN_FLIGHT:
            return [UNAVAILABLE] * len(events)
        self._in_flight += len(events)
        try:
            return await self._take(events)
        finally:
            self._in_flight -= len(events)

    async def _take(self, events: Sequence[Named]) -> list[Outcome]:
        deadline = asyncio.get_running_loop().time() + ANSWER_SECONDS
        try:
            async with asyncio.timeout_at(deadline):
                letters = await self._letters([event.admission for event in events])
        except (RedisError, OSError, TimeoutError, UnknownOutcomeError) as error:
            logger.warning("not admitted", shard=self._shard, reason=repr(error))
            return [UNAVAILABLE] * len(events)
        outcomes = [_outcome(one) for one in letters]
        waited = {one.position for one in letters if one.position not in {None, START}}
        if not waited:
            return outcomes
        epoch = letters[0].epoch
        failpoint("api.before_watermark")
        try:
            # the entry of a duplicate must be durable as well
            last = max(position for position in waited if position is not None)
            await self._mark.wait(epoch, last, deadline - asyncio.get_running_loop().time())
            if any(self._mark.needs_check(one) for one in waited if one is not None):
                await self._check(epoch, events, letters, outcomes)
        except (UnknownOutcomeError, SQLAlchemyError, PostgresError) as error:
            logger.warning("not confirmed", shard=self._shard, reason=repr(error))
            return [
                outcome if one.position is None else UNAVAILABLE
                for outcome, one in zip(outcomes, letters, strict=True)
            ]
        return outcomes

    async def _letters(self, admissions: list[Admission]) -> list[_Letter]:
        """Redis' answers; a wallet that was opened just now may still be on its way there."""
        letters = list(await self._gather.ask(admissions))
        loop = asyncio.get_running_loop()
        give_up = loop.time() + _WALLET_SECONDS
        while any(one.letter == "u" for one in letters) and loop.time() < give_up:
            await asyncio.sleep(_TRY_AGAIN_SECONDS)
            again = [index for index, one in enumerate(letters) if one.letter == "u"]
            answers = await self._gather.ask([admissions[index] for index in again])
            for index, answer in zip(again, answers, strict=True):
                letters[index] = answer
        if len({one.epoch for one in letters}) > 1:
            raise UnknownOutcomeError
        return letters

    async def _admit(self, admissions: list[Admission]) -> list[_Letter]:
        """One call; behind a fence, wait for the new epoch."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + ANSWER_SECONDS
        while True:
            epoch = self._mark.epoch
            received_at = self._clock.now()
            admitted = None
            if epoch:
                keys, args = admit_call(ShardKeys(self._shard, epoch), admissions, received_at)
                admitted = read_answer(await self._call(keys, args))
            if admitted is not None:
                break
            if loop.time() > give_up:
                raise UnknownOutcomeError
            self._listener.look_now()
            await asyncio.sleep(_TRY_AGAIN_SECONDS)
        marks = iter(admitted.marks)
        letters = []
        for letter in admitted.letters:
            first_at, position = received_at, admitted.position
            if letter == "d":
                first_at, position = next(marks)
                if first_at == received_at:  # ours, from an attempt whose answer was lost
                    letter = "a"  # noqa: PLW2901
            letters.append(_Letter(letter, epoch, first_at, position if letter in "ads" else None))
        return letters

    async def _call(self, keys: list[str], args: list[object]) -> list[object]:
        """Call the script; a connection that broke while idle is worth a second try.

        The second try is safe: what the first one may have admitted is then a duplicate.
        """
        failpoint("api.before_admit")
        try:
            answer: list[object] = await ADMIT.call_async(self._redis, keys, args)
        except (RedisError, OSError):
            answer = await ADMIT.call_async(self._redis, keys, args)
        failpoint("api.after_admit")
        return answer

    async def _check(
        self,
        epoch: int,
        events: Sequence[Named],
        letters: Sequence[_Letter],
        outcomes: list[Outcome],
    ) -> None:
        """Ask PostgreSQL what became of the events.

        Redis may have forgotten an event that PostgreSQL knows, or the writer may have set an
        entry aside.
        """
        indices = [index for index, one in enumerate(letters) if one.letter in "ads"]
        known = await asyncio.to_thread(self._known, [events[index] for index in indices])
        for index in indices:
            event, letter = events[index], letters[index]
            found = known.get((event.source, event.event_id))
            if found is None:
                outcomes[index] = Outcome(Status.REJECTED, code="quarantined")
                continue
            body_hash, entry, received_at = found
            if body_hash != event.admission.body_hash:
                outcomes[index] = Outcome(Status.CONFLICT, code="event_conflict")
            elif letter.letter == "a" and entry == (self._shard, epoch, letter.position):
                outcomes[index] = Outcome(Status.ACCEPTED, received_at)
            else:
                outcomes[index] = Outcome(Status.DUPLICATE, received_at)

    def _known(
        self, events: Sequence[Named]
    ) -> dict[tuple[str, str], tuple[bytes, tuple[int, int, Position], datetime]]:
        with self._engine.connect() as connection:
            rows = connection.execute(
                _KEYS,
                {
                    "sources": [event.source for event in events],
                    "ids": [event.event_id for event in events],
                },
            )
            return {
                (row.source, row.event_id): (
                    bytes(row.body_hash),
                    (row.shard, row.epoch, Position(row.stream_ms, row.stream_seq)),
                    row.received_at,
                )
                for row in rows
            }


def _outcome(one: _Letter) -> Outcome:
    match one.letter:
        case "a":
            return Outcome(Status.ACCEPTED, one.received_at)
        case "d" | "s":
            return Outcome(Status.DUPLICATE, one.received_at)
        case "c":
            return Outcome(Status.CONFLICT, code="event_conflict")
        case "r":
            return Outcome(Status.REJECTED, code="out_of_range")
        case _:
            return UNAVAILABLE
