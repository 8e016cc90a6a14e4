"""Asking for holds: many in one call of Redis, or of PostgreSQL while Redis is away for long.

Between the two, when Redis does not answer and direct mode has not begun, nobody may decide: who
wants a hold waits for one or the other, and a second for a new wallet on its way to Redis. A mere
question is answered by the books meanwhile.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import psycopg
import structlog
from redis.exceptions import RedisError

from billing.clock import Clock
from billing.errors import UnavailableError
from billing.usage.batch import CursorMovedError
from billing.wallets.hold_book import HoldBook
from billing.wallets.holds import Asked, HoldAnswer, Verdict, Wanted, get, place, release, to_ms
from billing.wallets.keys import ShardKeys
from billing.wallets.ports import HoldsRedis, IntakePostgres
from ingest_api.intake.admission import ANSWER_SECONDS, WALLET_SECONDS
from ingest_api.intake.gather import Gather
from ingest_api.intake.watermark import ShardMark

logger = structlog.get_logger(__name__)

_MOST_PER_CALL: Final = 500
_TRY_AGAIN_SECONDS: Final = 0.05
_AWAY: Final = (RedisError, psycopg.Error, OSError, CursorMovedError)


class HoldDesk:
    """Places, finds and releases holds of one shard.

    Args:
        look_now: asks for the shard's row to be read.
        consider: told of a failure, may ask for direct mode.
    """

    def __init__(
        self,
        shard: int,
        redis: HoldsRedis,
        postgres: IntakePostgres,
        mark: ShardMark,
        clock: Clock,
        *,
        look_now: Callable[[], None],
        consider: Callable[[Exception], Awaitable[None]],
    ) -> None:
        self._shard = shard
        self._redis = redis
        self._postgres = postgres
        self._mark = mark
        self._clock = clock
        self._look_now = look_now
        self._consider = consider
        self._gather: Gather[Asked, HoldAnswer | None] = Gather(self._by_redis, _MOST_PER_CALL)
        self._gather_direct: Gather[Asked, HoldAnswer | None] = Gather(
            self._directly, _MOST_PER_CALL
        )

    async def decide(self, wanted: Wanted, *, hold: bool) -> HoldAnswer:
        """Whether this is given; held if that is asked.

        Raises:
            UnavailableError: if nobody can decide it now.
        """
        asked = place(wanted, hold=hold)
        if hold:
            return _there(await self._ask(asked))
        return await self._ask(asked, is_patient=False) or await self._by_the_books(wanted)

    async def find(self, name: str) -> HoldAnswer:
        """A hold that is remembered.

        Raises:
            UnavailableError: if nobody can be asked now.
        """
        return _there(await self._ask(get(name)))

    async def release(self, name: str) -> HoldAnswer:
        """Let a hold go, unless it has been resolved already.

        Raises:
            UnavailableError: if nobody can be asked now.
        """
        return _there(await self._ask(release(name)))

    async def _ask(self, asked: Asked, *, is_patient: bool = True) -> HoldAnswer | None:
        """The answer of whoever decides now; None if nobody can.

        Args:
            is_patient: whether to ask again for as long as a request may wait.
        """
        loop = asyncio.get_running_loop()
        give_up = loop.time() + ANSWER_SECONDS
        while True:
            gather = self._gather_direct if self._mark.is_direct else self._gather
            try:
                found = (await gather.ask([asked]))[0]
            except _AWAY as error:
                found = None
                logger.warning("holds not asked", shard=self._shard, reason=repr(error))
                await self._consider(error)
            if found is not None and found.verdict is Verdict.NO_WALLET:
                found = None  # the account has one: it is on its way
                give_up = min(give_up, loop.time() + WALLET_SECONDS)
            if found is not None or not is_patient or loop.time() + _TRY_AGAIN_SECONDS > give_up:
                return found
            self._look_now()
            await asyncio.sleep(_TRY_AGAIN_SECONDS)

    async def _by_redis(self, asked: list[Asked]) -> Sequence[HoldAnswer | None]:
        keys = ShardKeys(self._shard, self._mark.epoch)
        answers = await self._redis.decide(keys, asked, self._clock.now())
        return [None] * len(asked) if answers is None else answers

    async def _directly(self, asked: list[Asked]) -> Sequence[HoldAnswer | None]:
        return await self._postgres.decide_holds(self._shard, self._mark.epoch, asked)

    async def _by_the_books(self, wanted: Wanted) -> HoldAnswer:
        """Nothing is held, and quotas are not looked at."""
        if wanted.wallet_id is None:
            return HoldAnswer(Verdict.OK, 0, 0)
        try:
            funds = await self._postgres.funds(wanted.wallet_id)
        except (psycopg.Error, OSError) as error:
            raise UnavailableError("Balances cannot be read now.", code="try_again") from error
        book = HoldBook({} if funds is None else {wanted.wallet_id.hex: funds}, {}, {})
        asked = place(wanted._replace(quotas=()), hold=False)
        return book.answer(asked, to_ms(self._clock.now()))


def _there(answer: HoldAnswer | None) -> HoldAnswer:
    if answer is None:
        raise UnavailableError("Holds cannot be decided for a moment.", code="try_again")
    return answer
