"""`POST /api/v1/authorizations`: may this account send this now, and what would it cost?

A yes holds the money, unless `hold` is false: until an event names the authorisation, it is
released, or it expires.
"""

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.clock import Clock
from billing.customers.tables import BillingMode
from billing.errors import (
    ConflictError,
    FieldError,
    InvalidError,
    PreconditionError,
    UnavailableError,
    not_found,
)
from billing.ids import new_id
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
from billing.wallets.holds import (
    LONGEST,
    SHORTEST,
    Hold,
    HoldAnswer,
    HoldState,
    QuotaUse,
    Verdict,
    Wanted,
    hold_name,
)
from billing.wallets.rate_card import BillableAccount, PriceReason, assumed_dimensions
from ingest_api.envelope import plain_decimal
from ingest_api.intake.admission import ANSWER_SECONDS
from ingest_api.intake.directory import Directory
from ingest_api.intake.holds import HoldDesk
from ingest_api.intake.http import Answer
from ingest_api.limits.limiter import Limiter, What

_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_MOVE_SECONDS: Final = 0.02
_DIGITS_OF_HASH: Final = 16
_DIGITS_OF_KEY: Final = 32
_REPLAY: Final = [(b"idempotent-replay", b"true")]


class AuthorizationIn(msgspec.Struct, forbid_unknown_fields=True):
    """What is about to be sent."""

    event_type: str
    account_id: str | UnsetType = UNSET
    alias: str | UnsetType = UNSET
    dimensions: dict[str, str] = {}
    quantity: Number = 1
    hold: bool = True
    authorization_id: str | UnsetType = UNSET
    ttl_seconds: int | UnsetType = UNSET


class Reason(StrEnum):
    """Why the answer is yes or no."""

    OK = "ok"
    QUOTA_WARNING = "quota_warning"
    """Yes, but over a soft quota."""
    GRACE = "grace"
    """Yes, but the money is used up: only for the grace period."""
    UNKNOWN_ACCOUNT = "unknown_account"
    ACCOUNT_SUSPENDED = "account_suspended"
    ACCOUNT_CLOSED = "account_closed"
    WALLET_FROZEN = "wallet_frozen"
    """The stores do not agree on what it holds; see `billing shards`."""
    GRACE_OVER = "grace_over"
    NO_SUBSCRIPTION = "no_subscription"
    NO_RATE = "no_rate"
    NO_WALLET = "no_wallet"
    INSUFFICIENT_BALANCE = "insufficient_balance"
    QUOTA_EXCEEDED = "quota_exceeded"
    HOLD_OVER = "hold_over"
    """It was given under this id before, and has expired or was released since."""


AUTHORISED: Final = frozenset({Reason.OK, Reason.QUOTA_WARNING, Reason.GRACE})

_NO_PRICE: Final = {
    PriceReason.NO_SUBSCRIPTION: Reason.NO_SUBSCRIPTION,
    PriceReason.NO_RATE: Reason.NO_RATE,
    PriceReason.NO_CHARGE: Reason.NO_RATE,
}
_REASONS: Final = {
    Verdict.OK: Reason.OK,
    Verdict.WARNED: Reason.QUOTA_WARNING,
    Verdict.GRACE: Reason.GRACE,
    Verdict.NO_FUNDS: Reason.INSUFFICIENT_BALANCE,
    Verdict.OVER_QUOTA: Reason.QUOTA_EXCEEDED,
    Verdict.NO_WALLET: Reason.NO_WALLET,
}
_GIVEN_UP: Final = frozenset({HoldState.EXPIRED, HoldState.RELEASED})


@dataclass(frozen=True, slots=True)
class _Question:
    """A request whose every field is right."""

    name: str
    by_alias: bool
    event_type: str
    quantity: Decimal
    dimensions: dict[str, str]
    hold: bool
    authorization_id: str
    lasts: timedelta
    said: bytes
    """All of it that must be the same when the id is sent again."""


class Authorizations:
    """Answers authorisations; a no is an answer too, never an error."""

    def __init__(
        self,
        directory: Directory,
        desks: Sequence[HoldDesk],
        clock: Clock,
        limiter: Limiter,
        default_seconds: int,
    ) -> None:
        self._limiter = limiter
        self._directory = directory
        self._desks = desks
        self._clock = clock
        self._lasts = timedelta(seconds=default_seconds)

    async def handle(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """The answer to one request."""
        actor = await self._directory.actor(headers.get("authorization"))
        actor.require(Permission.USAGE_SEND)
        await self._limiter.spend(actor, What.AUTHORIZATIONS, 1)
        sent: AuthorizationIn = read_object(body, AuthorizationIn)
        asked = self._checked(sent, headers.get("idempotency-key"))
        now = self._clock.now()
        account = await self._directory.account(actor, asked.name, now, by_alias=asked.by_alias)
        if account is None:
            return _answer(None, Reason.UNKNOWN_ACCOUNT)
        return await self._decide(account, asked, now)

    async def find(self, actor: Actor, name: str) -> dict[str, Any]:
        """An authorisation that holds something, or did a while ago.

        Args:
            name: the id that its answer gave.

        Raises:
            NotFoundError: if there is none, or it is another customer's.
        """
        account, found = await self._look(actor, name)
        answer = await self._where_it_is(account, lambda desk: desk.find(found))
        return _held(account, name, answer.hold)

    async def release(self, actor: Actor, name: str) -> dict[str, Any]:
        """Let an authorisation go; one that is over already stays as it is.

        Raises:
            NotFoundError: if there is none, or it is another customer's.
            PreconditionError: if an event captured it.
        """
        account, found = await self._look(actor, name)
        hold = (await self._where_it_is(account, lambda desk: desk.release(found))).hold
        if hold is not None and hold.state is HoldState.CAPTURED:
            raise PreconditionError(
                "An event has captured it: void the event instead.", code="already_captured"
            )
        return _held(account, name, hold)

    async def _where_it_is(
        self, account: BillableAccount, ask: Callable[[HoldDesk], Awaitable[HoldAnswer]]
    ) -> HoldAnswer:
        """Ask the account's shard; if it is being moved, wait until it is in the other one.

        Raises:
            UnavailableError: if that takes too long.
        """
        loop = asyncio.get_running_loop()
        give_up, shard = loop.time() + ANSWER_SECONDS, account.shard
        while True:
            answer = await ask(self._desks[shard])
            if answer.verdict is not Verdict.MOVED:
                return answer
            await asyncio.sleep(_MOVE_SECONDS)
            fresh = await self._directory.again(account.id)
            shard = account.shard if fresh is None else fresh.shard
            if loop.time() > give_up or shard >= len(self._desks):
                raise UnavailableError("The account is being moved.", code="try_again")

    async def _look(self, actor: Actor, name: str) -> tuple[BillableAccount, str]:
        account_id, _, authorization_id = name.partition(":")
        account = await self._directory.account(
            actor, account_id, self._clock.now(), by_alias=False
        )
        if account is None or account.shard >= len(self._desks):
            raise not_found("authorization", name)
        return account, hold_name(account.id, authorization_id)

    def _checked(self, sent: AuthorizationIn, key: str | None) -> _Question:
        wrong: list[FieldError] = []
        name, by_alias = checked_account(sent.account_id, sent.alias, wrong)
        checked_type(sent.event_type, wrong)
        quantity, text = checked_number(wrong, "quantity", sent.quantity)
        dimensions, encoded = checked_dimensions(sent.dimensions, wrong)
        if sent.authorization_id is UNSET:
            authorization_id = _id_of(key)
        else:
            authorization_id = sent.authorization_id
            if not _ID.fullmatch(authorization_id):
                wrong.append(
                    FieldError("authorization_id", "must be 1 to 64 letters, digits and _ . -")
                )
        lasts = self._lasts
        if sent.ttl_seconds is not UNSET:
            if SHORTEST.total_seconds() <= sent.ttl_seconds <= LONGEST.total_seconds():
                lasts = timedelta(seconds=sent.ttl_seconds)
            else:
                wrong.append(FieldError("ttl_seconds", "must be from 1 second to 24 hours"))
        if wrong:
            raise InvalidError("The authorisation is not valid.", fields=wrong)
        said = f"{name}\n{sent.event_type}\n{text}\n{lasts}\n".encode() + encoded
        return _Question(
            name, by_alias, sent.event_type, quantity, dimensions, sent.hold,
            authorization_id, lasts, said,
        )  # fmt: skip

    async def _decide(self, account: BillableAccount, asked: _Question, now: datetime) -> Answer:
        now_us = microseconds(now)
        assumed = assumed_dimensions(account, asked.event_type, asked.dimensions, now_us)
        price = account.price(asked.event_type, assumed, now_us)
        refusal = account.standing.refusal
        if refusal is not None:
            return _answer(account, Reason(refusal.value))
        if price.reason in _NO_PRICE:
            return _answer(account, _NO_PRICE[price.reason])
        try:
            amount = account.most_units(price, asked.quantity)
        except OverflowError:
            return _answer(account, Reason.INSUFFICIENT_BALANCE)
        shown = amount if price.known else None
        prepaid = account.billing_mode is BillingMode.PREPAID
        if account.shard >= len(self._desks) or (prepaid and account.wallet_id is None):
            return _answer(account, Reason.NO_WALLET, price=shown)
        if not prepaid and not asked.hold and not account.quotas:
            return _answer(account, Reason.OK, price=shown)
        wanted = Wanted(
            name=hold_name(account.id, asked.authorization_id),
            body_hash=hashlib.sha256(asked.said).hexdigest()[:_DIGITS_OF_HASH],
            wallet_id=account.wallet_id,
            amount=amount if prepaid else 0,
            grace=account.standing.grace(now),
            expires_at=now + asked.lasts,
            quotas=_quota_uses(account, asked, assumed, now_us),
        )
        given = await self._where_it_is(account, lambda desk: desk.decide(wanted, hold=asked.hold))
        return _decision(account, asked, given, shown, now)


def _quota_uses(
    account: BillableAccount, asked: _Question, assumed: Mapping[str, str], now_us: int
) -> tuple[QuotaUse, ...]:
    uses = (
        QuotaUse(
            one.name(now_us),
            one.micros(asked.event_type, assumed, asked.quantity),
            one.limit_micros,
            one.is_hard,
        )
        for one in account.quotas
    )
    return tuple(use for use in uses if use.quantity)


def _decision(
    account: BillableAccount,
    asked: _Question,
    given: HoldAnswer,
    price: int | None,
    now: datetime,
) -> Answer:
    hold, verdict, replay = given.hold, given.verdict, False
    if verdict is Verdict.OTHER:
        raise ConflictError(
            "This authorisation id was sent before with another body.",
            code="authorization_conflict",
        )
    if verdict is Verdict.SAME and hold is not None:
        verdict, replay = hold.verdict, True
        if account.wallet_id is not None and price is not None:
            price = hold.amount
    reason = _REASONS[verdict]
    if hold is not None and hold.state in _GIVEN_UP:
        reason = Reason.HOLD_OVER
    if reason is Reason.INSUFFICIENT_BALANCE and account.standing.is_grace_over(now):
        reason = Reason.GRACE_OVER
    funds = (given.balance, given.available) if account.wallet_id else (None, None)
    return _answer(
        account, reason, price=price, funds=funds, hold=hold, name=asked.authorization_id,
        replay=replay,
    )  # fmt: skip


def _answer(
    account: BillableAccount | None,
    reason: Reason,
    *,
    price: int | None = None,
    funds: tuple[int | None, int | None] = (None, None),
    hold: Hold | None = None,
    name: str = "",
    replay: bool = False,
) -> Answer:
    balance, available = funds
    attributes: dict[str, Any] = {
        "authorised": reason in AUTHORISED,
        "reason": reason.value,
        "price": _amount(price, account),
        "balance": _amount(balance, account),
        "available": _amount(available, account),
        "currency": account.currency if account else None,
        "state": hold.state.value if hold else None,
        "expires_at": hold.expires_at if hold else None,
    }
    return Answer(
        {
            "id": f"{account.id}:{name}" if account and hold else None,
            "type": "authorization",
            "attributes": attributes,
            "relationships": {"account": _account(account.id)} if account else {},
        },
        headers=_REPLAY if replay else [],
    )


def _held(account: BillableAccount, name: str, hold: Hold | None) -> dict[str, Any]:
    """A hold as a resource of its own."""
    if hold is None:
        raise not_found("authorization", name)
    return {
        "id": name,
        "state": hold.state,
        "price": from_units(hold.amount, account.currency),
        "currency": account.currency,
        "created_at": hold.created_at,
        "expires_at": hold.expires_at,
        "resolved_at": hold.resolved_at,
        "account_id": account.id,
    }


def _account(account_id: UUID) -> Mapping[str, str]:
    return {"id": str(account_id), "type": "account"}


def _id_of(key: str | None) -> str:
    """An id for a request that has none: from its idempotency key, or a new one."""
    if not key:
        return new_id().hex
    return hashlib.sha256(key.encode()).hexdigest()[:_DIGITS_OF_KEY]


def _amount(units: int | None, account: BillableAccount | None) -> str | None:
    if units is None or account is None:
        return None
    return plain_decimal(from_units(units, account.currency))


def starting() -> UnavailableError:
    """What is said before there is anybody to ask."""
    return UnavailableError("The intake is starting.", code="try_again")
