"""Accounts, aliases and API keys in memory, read from PostgreSQL when they are missing or old."""

import asyncio
import hashlib
from collections.abc import Callable
from datetime import datetime
from time import monotonic
from typing import Final, Generic, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.service import authenticate
from billing.clock import Clock
from billing.db.unit_of_work import read_only
from billing.errors import UnauthenticatedError
from billing.settings import Settings
from billing.wallets.rate_card import AliasRange, BillableAccount, load_account, load_aliases

_FRESH_SECONDS: Final = 30.0
_MISSING_SECONDS: Final = 1.0
_KEY_SECONDS: Final = 5.0
_MOST_KEPT: Final = 50_000

T = TypeVar("T")


class Shelf(Generic[T]):
    """Things that were read, for a while; concurrent readers of one thing share one query."""

    def __init__(self, engine: Engine, read: Callable[[Session, str], T], seconds: float) -> None:
        self._engine = engine
        self._read = read
        self._seconds = seconds
        self._kept: dict[str, tuple[T, float]] = {}
        self._loading: dict[str, asyncio.Task[T]] = {}
        self._changes = 0

    def peek(self, key: str) -> T | None:
        """What is kept and fresh."""
        found = self._kept.get(key)
        return found[0] if found is not None and found[1] > monotonic() else None

    async def get(self, key: str) -> T:
        """What is kept, or else read now."""
        found = self._kept.get(key)
        if found is not None and found[1] > monotonic():
            return found[0]
        task = self._loading.get(key)
        if task is None:
            task = asyncio.create_task(self._load(key))
            self._loading[key] = task
            task.add_done_callback(lambda _: self._loading.pop(key, None))
        return await asyncio.shield(task)

    def forget(self, key: str | None) -> None:
        """Drop one thing, or all."""
        self._changes += 1
        if key is None:
            self._kept.clear()
        else:
            self._kept.pop(key, None)

    async def _load(self, key: str) -> T:
        changes = self._changes
        value = await asyncio.to_thread(self._query, key)
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        if changes == self._changes:  # else it may have been read before the change
            seconds = self._seconds if value else _MISSING_SECONDS
            self._kept[key] = (value, monotonic() + seconds)
        return value

    def _query(self, key: str) -> T:
        with read_only(self._engine) as session:
            return self._read(session, key)


class Directory:
    """Who is asking, and whose usage it is."""

    def __init__(self, engine: Engine, settings: Settings, clock: Clock) -> None:
        self._actors: dict[bytes, tuple[Actor, float]] = {}
        self._engine = engine
        self._settings = settings
        self._clock = clock
        self._accounts = Shelf(engine, _read_account, _FRESH_SECONDS)
        self._aliases = Shelf(engine, load_aliases, _FRESH_SECONDS)

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
        known = self._actors.get(digest)
        if known is not None and known[1] > monotonic():
            return known[0]
        actor = await asyncio.to_thread(self._authenticate, key)
        if len(self._actors) >= _MOST_KEPT:
            self._actors.clear()
        self._actors[digest] = (actor, monotonic() + _KEY_SECONDS)
        return actor

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
                account = await self._accounts.get(str(UUID(name)))
            except ValueError:
                return None
        if account is None or actor.customer_id not in {None, account.customer_id}:
            return None
        return account

    async def _by_alias(self, alias: str, at: datetime) -> BillableAccount | None:
        for one in await self._aliases.get(alias):
            account = await self._accounts.get(str(one.account_id))
            if account is not None and _is_in(one, at, account.zone):
                return account
        return None

    def _authenticate(self, key: str) -> Actor:
        with read_only(self._engine) as session:
            return authenticate(session, key, self._settings, self._clock)


def _read_account(session: Session, account_id: str) -> BillableAccount | None:
    return load_account(session, UUID(account_id))


def _is_in(alias: AliasRange, at: datetime, zone: str) -> bool:
    day = at.astimezone(ZoneInfo(zone)).date()
    return alias.valid_from <= day and (alias.valid_to is None or day < alias.valid_to)
