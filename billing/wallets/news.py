"""Telling an account's shard what PostgreSQL learnt of the account by another shard's journal.

After a move, or after PostgreSQL was set back to before one, a journal of another shard may hold
something of the account. Money reaches its Redis as an adjustment (`billing.usage.posting`); of
holds and quotas there is *news*: a token for each such account, made anew in the transaction that
applies the entries. The relay of the account's shard compares it with the token that Redis noted.
If they differ it has Redis take, in one call, what PostgreSQL has of the account's holds, what its
quotas had used before Redis began to count, and the token.

What is taken was read after the token, so that it holds all that the token stands for. A token
that Redis lost, or has from a PostgreSQL that was set back, is another one: it is told again. Of
two holds of a name the later one counts, and of one its end, in whichever order a store hears of
them; so nothing that Redis knows better is undone.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple, Protocol
from uuid import UUID

from billing.entitlements.quotas import Quota
from billing.usage.batch import Position
from billing.usage.event import microseconds
from billing.wallets.holds import Hold
from billing.wallets.keys import ShardKeys
from billing.wallets.quota_bases import QuotasPostgres, QuotasRedis

KEPT: Final = timedelta(minutes=15)
"""News that Redis has is dropped after that; until then holds of the account are kept."""

_LAG_MS: Final = 60_000
"""A journal that is applied up to here is known well enough: what ended since, Redis remembers."""


class News(NamedTuple):
    """Something of an account came by another shard."""

    account_id: UUID
    token: str
    """Another one each time."""
    noted_at: datetime


class Base(NamedTuple):
    """What a quota had used before Redis began to count it."""

    name: str
    begins: Position | None
    """From which entry on Redis counts it; None if it does not yet."""
    used: int | None
    """Millionths of a unit; None if Redis does not know the quota whole yet."""


class NewsRedis(QuotasRedis, Protocol):
    """Redis, for news; FencedError where it writes in another epoch."""

    def last(self, keys: ShardKeys) -> Position:
        """The last entry of the journal."""
        ...

    def open_holds(self, keys: ShardKeys, account: UUID) -> list[str]:
        """Names of the account's holds that are open there."""
        ...

    def take_news(
        self,
        keys: ShardKeys,
        news: News,
        told: str,
        holds: Mapping[str, Hold],
        bases: Sequence[Base],
    ) -> bool:
        """Take all of it, if the account is here and nothing changed since it was looked at.

        Args:
            told: the token that Redis had noted.
        """
        ...


class NewsPostgres(QuotasPostgres, Protocol):
    """PostgreSQL, for news."""

    def news(self, shard: int) -> list[News]:
        """Of the accounts that are in a shard."""
        ...

    def forget_news(self, news: Sequence[News]) -> None:
        """Drop them, unless there was more meanwhile."""
        ...

    def holds_to_tell(self, account: UUID, names: Sequence[str]) -> Mapping[str, Hold]:
        """An account's holds that are open, and what is known of these names.

        Also that a hold was captured of which nothing else is known; `body_hash` is empty then.
        """
        ...

    def account_quotas(self, account: UUID) -> list[Quota]:
        """Its quotas."""
        ...


def tell_news(
    redis: NewsRedis, postgres: NewsPostgres, keys: ShardKeys, cursor: Position, now: datetime
) -> None:
    """Have one shard's Redis take what it does not know yet.

    What cannot be told now is told the next time.

    Args:
        cursor: how far the shard's journal has been applied.
    """
    every = postgres.news(keys.shard)
    if not every:
        return
    told = redis.told(keys, [one.account_id for one in every])
    last = redis.last(keys)
    if cursor < last and cursor.ms < microseconds(now) // 1000 - _LAG_MS:
        return
    for one, known in zip(every, told, strict=True):
        if one.token != known:
            _tell(redis, postgres, keys, cursor, now, one, known)
    if cursor >= last:  # so it would be noticed if Redis forgot what it took
        old = [one for one, known in zip(every, told, strict=True) if one.token == known]
        postgres.forget_news([one for one in old if one.noted_at < now - KEPT])


def _tell(
    redis: NewsRedis,
    postgres: NewsPostgres,
    keys: ShardKeys,
    cursor: Position,
    now: datetime,
    news: News,
    told: str,
) -> None:
    account, now_us = news.account_id, microseconds(now)
    quotas = postgres.account_quotas(account)
    names = [quota.name(now_us) for quota in quotas]
    bases: list[Base] = []
    for quota, (is_whole, begins) in zip(quotas, redis.quota_counts(keys, names), strict=True):
        used = None
        if is_whole and begins is not None:
            if cursor < Position(begins.ms, begins.seq - 1):
                return
            used = postgres.used_before(keys, account, quota, begins, now_us)
        bases.append(Base(quota.name(now_us), begins, used))
    holds = postgres.holds_to_tell(account, redis.open_holds(keys, account))
    redis.take_news(keys, news, told, holds, bases)
