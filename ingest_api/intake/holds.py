"""Asking for holds: many in one call of Redis, or the books when Redis cannot say."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from billing.clock import Clock
from billing.db.unit_of_work import read_only
from billing.errors import UnavailableError
from billing.wallets.holds import (
    Asked,
    HoldAnswer,
    Verdict,
    Wanted,
    get,
    hold_call,
    place,
    read_answers,
    release,
)
from billing.wallets.keys import ShardKeys
from billing.wallets.line import ScriptLine
from billing.wallets.scripts import HOLDS
from billing.wallets.tables import Wallet
from ingest_api.intake.gather import Gather
from ingest_api.intake.listener import Listener

logger = structlog.get_logger(__name__)

_MOST_PER_CALL: Final = 500


class HoldDesk:
    """Places, finds and releases holds of one shard."""

    def __init__(
        self,
        shard: int,
        redis: "Redis",
        listener: Listener,
        engine: Engine,
        clock: Clock,
    ) -> None:
        self._shard = shard
        self._line = ScriptLine(redis)
        self._listener = listener
        self._mark = listener.marks[shard]
        self._engine = engine
        self._clock = clock
        self._gather: Gather[Asked, HoldAnswer | None] = Gather(self._call, _MOST_PER_CALL)

    async def decide(self, wanted: Wanted, *, hold: bool) -> HoldAnswer:
        """Whether this is given; held if that is asked and Redis is there.

        Raises:
            UnavailableError: if neither store can be asked.
        """
        found = await self._ask(place(wanted, hold=hold))
        if found is not None and found.verdict is not Verdict.NO_WALLET:
            return found
        if wanted.wallet_id is None:
            return HoldAnswer(Verdict.OK, 0, 0)
        balance, floor = await run_in_threadpool(self._from_postgres, wanted.wallet_id)
        return _judge(wanted, balance, balance - floor)

    async def find(self, name: str) -> HoldAnswer:
        """A hold that is remembered.

        Raises:
            UnavailableError: if Redis cannot be asked.
        """
        return _known(await self._ask(get(name)))

    async def release(self, name: str) -> HoldAnswer:
        """Let a hold go, unless it has been resolved already.

        Raises:
            UnavailableError: if Redis cannot be asked.
        """
        return _known(await self._ask(release(name)))

    async def close(self) -> None:
        """Let go of the connection."""
        await self._line.close()

    async def _ask(self, asked: Asked) -> HoldAnswer | None:
        if self._mark.is_direct:
            return None
        try:
            return (await self._gather.ask([asked]))[0]
        except (RedisError, OSError) as error:
            logger.warning("holds not asked", shard=self._shard, reason=repr(error))
            return None

    async def _call(self, asked: list[Asked]) -> Sequence[HoldAnswer | None]:
        keys = ShardKeys(self._shard, self._mark.epoch)
        now: datetime = self._clock.now()
        names, args = hold_call(keys, asked, now)
        answers = read_answers(await self._line.call(HOLDS, names, args))
        if answers is None:
            self._listener.look_now()
            return [None] * len(asked)
        return answers

    def _from_postgres(self, wallet_id: UUID) -> tuple[int, int]:
        """As of the last applied batch: a little behind Redis, never a guess."""
        try:
            with read_only(self._engine) as session:
                row = session.execute(
                    select(Wallet.balance_units, Wallet.credit_line_units).filter_by(id=wallet_id)
                ).one()
        except SQLAlchemyError as error:
            raise UnavailableError("Balances cannot be read now.", code="try_again") from error
        return row[0], -row[1]


def _judge(wanted: Wanted, balance: int, left: int) -> HoldAnswer:
    """As holds.lua does, without holds and quotas."""
    if left > 0 and left >= wanted.amount:
        return HoldAnswer(Verdict.OK, balance, left)
    further = left + wanted.grace
    if further > 0 and further >= wanted.amount:
        return HoldAnswer(Verdict.GRACE, balance, left)
    return HoldAnswer(Verdict.NO_FUNDS, balance, left)


def _known(answer: HoldAnswer | None) -> HoldAnswer:
    if answer is None:
        raise UnavailableError("Holds cannot be asked for now.", code="try_again")
    return answer
