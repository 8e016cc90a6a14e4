"""Accounts, aliases and API keys in memory, read from PostgreSQL when they are missing or old."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Final, Generic, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.service import authenticate
from billing.clock import Clock
from billing.db.unit_of_work import read_only
from billing.errors import UnauthenticatedError, UnavailableError
from billing.settings import Settings
from billing.wallets.aliases import AliasRange, load_aliases
from billing.wallets.card_loader import load_accounts
from billing.wallets.rate_card import BillableAccount
from ingest_api.intake.gather import Gather

_FRESH_SECONDS: Final = 300.0
"""Changes are announced; this is for one that was not."""
_MISSING_SECONDS: Final = 1.0
_KEY_SECONDS: Final = 5.0

_PATIENCE_SECONDS: Final = 1.0
"""How long a fresh reading is waited for when there is an older one."""

_MOST_KEPT: Final = 50_000

_MOST_AT_ONCE: Final = 500
"""Accounts that are read together."""

T = TypeVar("T")
Read = Callable[[], Awaitable[T]]


@dataclass(slots=True)
class _Kept(Generic[T]):
    value: T
    fresh_until: float
    usable_until: float


class Shelf(Generic[T]):
    """Things that were read, for a while; concurrent readers of one thing share one query.

    Args:
        seconds: how long a thing is fresh.
        stale_seconds: how long it is used when it cannot be read again.
        is_away: whether there is no use in trying.
    """

    def __init__(self, seconds: float, stale_seconds: float, is_away: Callable[[], bool]) -> None:
        self._is_away = is_away
        self._seconds = seconds
        self._stale_seconds = stale_seconds
        self._kept: dict[Hashable, _Kept[T]] = {}
        self._loading: dict[Hashable, asyncio.Task[T]] = {}
        self._outdated: set[Hashable] = set()
        """What changed while it was read."""

    def peek(self, key: Hashable) -> T | None:
        """What is kept and fresh."""
        found = self._kept.get(key)
        return found.value if found is not None and found.fresh_until > monotonic() else None

    async def get(self, key: Hashable, read: Read[T]) -> T:
        """What is kept and fresh, or else read now, or else what was read before.

        Raises:
            UnavailableError: if PostgreSQL is known to be away and nothing usable is kept.
            SQLAlchemyError: if it cannot be read and nothing usable is kept.
        """
        found = self._kept.get(key)
        if found is not None and found.fresh_until > monotonic():
            return found.value
        if self._is_away():
            if found is None or found.usable_until < monotonic():
                raise UnavailableError("Who that is cannot be looked up now.", code="try_again")
            return found.value
        task = self._loading.get(key) or self._begin(key, read)
        try:
            async with asyncio.timeout(None if found is None else _PATIENCE_SECONDS):
                return await asyncio.shield(task)
        except (SQLAlchemyError, OSError, TimeoutError):
            if found is None or found.usable_until < monotonic():
                raise
            found.fresh_until = monotonic() + _PATIENCE_SECONDS
            return found.value

    def forget(self, key: Hashable | None) -> None:
        """One thing changed, or anything may have.

        What is known to have changed is dropped. The rest is read again before it is used, unless
        it cannot be.
        """
        self._outdated.update(self._loading if key is None else [key])
        if key is None:
            for one in self._kept.values():
                one.fresh_until = 0.0
        else:
            self._kept.pop(key, None)

    def _begin(self, key: Hashable, read: Read[T]) -> asyncio.Task[T]:
        self._outdated.discard(key)
        task = asyncio.create_task(self._load(key, read))
        self._loading[key] = task
        task.add_done_callback(lambda done: self._end(key, done))
        return task

    def _end(self, key: Hashable, done: asyncio.Task[T]) -> None:
        self._loading.pop(key, None)
        if not done.cancelled():
            done.exception()  # those who waited have it; nobody may wait any more

    async def _load(self, key: Hashable, read: Read[T]) -> T:
        value = await read()
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        if key not in self._outdated:  # else it may have been read before the change
            now = monotonic()
            seconds = self._seconds if value else _MISSING_SECONDS
            self._kept[key] = _Kept(value, now + seconds, now + self._stale_seconds)
        return value


class Directory:
    """Who is asking, and whose usage it is."""

    def __init__(self, engine: Engine, settings: Settings, clock: Clock) -> None:
        self._engine = engine
        self._settings = settings
        self._clock = clock
        self._many: Gather[UUID, BillableAccount | None] = Gather(self._read_many, _MOST_AT_ONCE)
        self.is_away: Callable[[], bool] = lambda: False
        """Whether PostgreSQL is known to be away; what is in memory is used then, for a while."""
        away, stale = self._is_postgres_away, settings.stale_seconds
        self._actors: Shelf[Actor] = Shelf(_KEY_SECONDS, stale, away)
        self._accounts: Shelf[BillableAccount | None] = Shelf(_FRESH_SECONDS, stale, away)
        self._aliases: Shelf[tuple[AliasRange, ...]] = Shelf(_FRESH_SECONDS, stale, away)

    def _is_postgres_away(self) -> bool:
        return self.is_away()

    def forget(self, subject: str | None) -> None:
        """An account (its id) or an alias (`alias:…`) changed; None: anything may have."""
        if subject is None or not subject.startswith("alias:"):
            self._accounts.forget(subject)
        if subject is None or subject.startswith("alias:"):
            self._aliases.forget(subject and subject.removeprefix("alias:"))

    async def actor(self, header: str | None) -> Actor:
        """Who holds the key of an `Authorization` header.

        Raises:
            UnauthenticatedError: if it is no valid key. A revoked one is noticed within seconds.
        """
        scheme, _, key = (header or "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise UnauthenticatedError("Send an API key: Authorization: Bearer otpb_…")
        digest = hashlib.sha256(key.encode()).digest()
        return self._actors.peek(digest) or await self._actors.get(
            digest,
            lambda: self._query(
                lambda session: authenticate(session, key, self._settings, self._clock)
            ),
        )

    def peek(self, account_id: str) -> BillableAccount | None:
        """An account that is in memory, by its id as it is written."""
        return self._accounts.peek(account_id)

    async def account(
        self, actor: Actor, name: str, at: datetime, *, by_alias: bool
    ) -> BillableAccount | None:
        """The account of that id, or that an alias named on the local day of `at`.

        An actor confined to one customer finds no other's accounts.
        """
        if by_alias:
            account = await self._by_alias(name, at)
        else:
            try:
                account = await self._read(UUID(name))
            except ValueError:
                return None
        if account is None or actor.customer_id not in {None, account.customer_id}:
            return None
        return account

    async def again(self, account_id: UUID) -> BillableAccount | None:
        """An account as it is now, whatever is in memory."""
        self._accounts.forget(str(account_id))
        return await self._read(account_id)

    async def _by_alias(self, alias: str, at: datetime) -> BillableAccount | None:
        ranges = await self._aliases.get(
            alias, lambda: self._query(lambda session: load_aliases(session, alias))
        )
        for one in ranges:
            account = await self._read(one.account_id)
            if account is not None and _is_in(one, at, account.zone):
                return account
        return None

    async def prepare(self, names: Collection[str]) -> None:
        """Read accounts that are not in memory, all at once; what fails will fail by itself."""
        ids = [found for name in names if (found := _uuid(name)) is not None]
        await asyncio.gather(*(self._read(one) for one in ids), return_exceptions=True)

    async def _read(self, account_id: UUID) -> BillableAccount | None:
        return await self._accounts.get(str(account_id), lambda: self._read_one(account_id))

    async def _read_one(self, account_id: UUID) -> BillableAccount | None:
        return (await self._many.ask([account_id]))[0]

    async def _read_many(self, ids: list[UUID]) -> Sequence[BillableAccount | None]:
        found = await self._query(lambda session: load_accounts(session, set(ids)))
        return [found.get(one) for one in ids]

    async def _query(self, read: Callable[[Session], T]) -> T:
        def run() -> T:
            with read_only(self._engine) as session:
                return read(session)

        return await asyncio.to_thread(run)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _is_in(alias: AliasRange, at: datetime, zone: str) -> bool:
    day = at.astimezone(ZoneInfo(zone)).date()
    return alias.valid_from <= day and (alias.valid_to is None or day < alias.valid_to)
