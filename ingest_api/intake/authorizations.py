"""`POST /api/v1/authorizations`: may this account send this now, and what would it cost?"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog
from msgspec import UNSET, UnsetType
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers

from billing.access.roles import Permission
from billing.clock import Clock
from billing.customers.tables import AccountStatus, BillingMode
from billing.db.unit_of_work import read_only
from billing.errors import FieldError, InvalidError, UnavailableError
from billing.money import from_units
from billing.usage.body import read_object
from billing.usage.event import (
    Number,
    checked_account,
    checked_dimensions,
    checked_number,
    checked_type,
    microseconds,
)
from billing.wallets.keys import ShardKeys
from billing.wallets.rate_card import BillableAccount, PriceReason, assumed_dimensions
from billing.wallets.scripts import FENCED, READ
from billing.wallets.tables import Wallet
from ingest_api.envelope import plain_decimal
from ingest_api.intake.directory import Directory
from ingest_api.intake.gather import Gather
from ingest_api.intake.http import Answer
from ingest_api.intake.listener import Listener
from ingest_api.limits.limiter import Limiter, What

logger = structlog.get_logger(__name__)

_MOST_PER_CALL: Final = 500


class AuthorizationIn(msgspec.Struct, forbid_unknown_fields=True):
    """What is about to be sent."""

    event_type: str
    account_id: str | UnsetType = UNSET
    alias: str | UnsetType = UNSET
    dimensions: dict[str, str] = {}
    quantity: Number = 1


class Reason(StrEnum):
    """Why the answer is yes or no."""

    OK = "ok"
    UNKNOWN_ACCOUNT = "unknown_account"
    ACCOUNT_SUSPENDED = "account_suspended"
    NO_SUBSCRIPTION = "no_subscription"
    NO_RATE = "no_rate"
    NO_WALLET = "no_wallet"
    INSUFFICIENT_BALANCE = "insufficient_balance"


_NO_PRICE: Final = {
    PriceReason.NO_SUBSCRIPTION: Reason.NO_SUBSCRIPTION,
    PriceReason.NO_RATE: Reason.NO_RATE,
    PriceReason.NO_CHARGE: Reason.NO_RATE,
}


@dataclass(frozen=True, slots=True)
class Funds:
    """What a wallet holds, and how far it may go, in wallet units."""

    balance: int
    floor: int

    def cover(self, price: int) -> bool:
        """Whether something is left, and this can be taken from it."""
        return self.balance > self.floor and self.balance - price >= self.floor


class WalletReader:
    """Reads wallets of one shard in Redis, many per call; in PostgreSQL, when Redis cannot say."""

    def __init__(self, shard: int, redis: "Redis", listener: Listener, engine: Engine) -> None:
        self._shard = shard
        self._redis = redis
        self._listener = listener
        self._mark = listener.marks[shard]
        self._engine = engine
        self._gather: Gather[UUID, Funds | None] = Gather(self._read, _MOST_PER_CALL)

    async def funds(self, wallet_id: UUID) -> Funds:
        """What the wallet holds.

        Raises:
            UnavailableError: if neither store can be asked.
        """
        try:
            found = None if self._mark.is_direct else (await self._gather.ask([wallet_id]))[0]
        except (RedisError, OSError) as error:
            logger.warning("wallets not read", shard=self._shard, reason=repr(error))
        else:
            if found is not None:
                return found
        return await run_in_threadpool(self._from_postgres, wallet_id)

    async def _read(self, wallets: list[UUID]) -> Sequence[Funds | None]:
        keys = ShardKeys(self._shard, self._mark.epoch)
        names = [keys.epoch_key, *(keys.wallet(wallet) for wallet in wallets)]
        answer = await READ.call_async(self._redis, names, [keys.epoch])
        if answer[0] == FENCED:
            self._listener.look_now()
            return [None] * len(wallets)
        values = answer[1:]
        return [
            Funds(int(balance), int(floor)) if balance else None
            for balance, floor in zip(values[::2], values[1::2], strict=True)
        ]

    def _from_postgres(self, wallet_id: UUID) -> Funds:
        """As of the last applied batch: a little behind Redis, never a guess."""
        try:
            with read_only(self._engine) as session:
                row = session.execute(
                    select(Wallet.balance_units, Wallet.credit_line_units).filter_by(id=wallet_id)
                ).one()
        except SQLAlchemyError as error:
            raise UnavailableError("Balances cannot be read now.", code="try_again") from error
        return Funds(row[0], -row[1])


class Authorizations:
    """Answers authorisations; a no is an answer too, never an error."""

    def __init__(
        self,
        directory: Directory,
        wallets: Sequence[WalletReader],
        clock: Clock,
        limiter: Limiter,
    ) -> None:
        self._limiter = limiter
        self._directory = directory
        self._wallets = wallets
        self._clock = clock

    async def handle(self, headers: Headers, body: bytes) -> Answer:
        """The answer to one request."""
        actor = await self._directory.actor(headers.get("authorization"))
        actor.require(Permission.USAGE_SEND)
        await self._limiter.spend(actor, What.AUTHORIZATIONS, 1)
        sent: AuthorizationIn = read_object(body, AuthorizationIn)
        wrong: list[FieldError] = []
        name, by_alias = checked_account(sent.account_id, sent.alias, wrong)
        checked_type(sent.event_type, wrong)
        quantity, _ = checked_number(wrong, "quantity", sent.quantity)
        dimensions, _ = checked_dimensions(sent.dimensions, wrong)
        if wrong:
            raise InvalidError("The authorisation is not valid.", fields=wrong)
        now = self._clock.now()
        account = await self._directory.account(actor, name, now, by_alias=by_alias)
        if account is None:
            return _answer(None, Reason.UNKNOWN_ACCOUNT)
        return await self._decide(account, sent.event_type, dimensions, quantity, now)

    async def _decide(
        self,
        account: BillableAccount,
        event_type: str,
        dimensions: dict[str, str],
        quantity: Decimal,
        now: datetime,
    ) -> Answer:
        now_us = microseconds(now)
        assumed = assumed_dimensions(account, event_type, dimensions, now_us)
        price = account.price(event_type, assumed, now_us)
        if account.status is not AccountStatus.ACTIVE:
            return _answer(account, Reason.ACCOUNT_SUSPENDED)
        if price.reason in _NO_PRICE:
            return _answer(account, _NO_PRICE[price.reason])
        try:
            amount = account.amount_units(price, quantity)
        except OverflowError:
            return _answer(account, Reason.INSUFFICIENT_BALANCE)
        shown = amount if price.known else None
        if account.billing_mode is BillingMode.POSTPAID:
            return _answer(account, Reason.OK, price=shown)
        if account.wallet_id is None or account.shard >= len(self._wallets):
            return _answer(account, Reason.NO_WALLET, price=shown)
        funds = await self._wallets[account.shard].funds(account.wallet_id)
        reason = Reason.OK if funds.cover(amount) else Reason.INSUFFICIENT_BALANCE
        return _answer(account, reason, price=shown, balance=funds.balance)


def _answer(
    account: BillableAccount | None,
    reason: Reason,
    *,
    price: int | None = None,
    balance: int | None = None,
) -> Answer:
    attributes: dict[str, Any] = {
        "authorised": reason is Reason.OK,
        "reason": reason.value,
        "price": _amount(price, account),
        "balance": _amount(balance, account),
        "currency": account.currency if account else None,
    }
    return Answer(
        {
            "id": str(account.id) if account else None,
            "type": "authorization",
            "attributes": attributes,
        }
    )


def _amount(units: int | None, account: BillableAccount | None) -> str | None:
    if units is None or account is None:
        return None
    return plain_decimal(from_units(units, account.currency))
