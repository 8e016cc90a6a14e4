"""What quotas had used before Redis began to count for them.

Redis counts a quota (`used`) from an entry of the journal on, which it notes (`from`). Everything
before that entry is summed up from PostgreSQL once the journal is applied that far (`base`): after
an entitlement was made in the middle of a period, and after Redis was made anew.
"""

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Protocol
from uuid import UUID

from psycopg import Connection
from redis import Redis

from billing.catalog.tables import Aggregation
from billing.entitlements.quotas import Quota
from billing.entitlements.tables import Enforcement, QuotaPeriod
from billing.usage.batch import START, Position
from billing.usage.event import microseconds
from billing.wallets.keys import COUNTER_SECONDS, ShardKeys
from billing.wallets.ports import FencedError
from billing.wallets.scripts import BASE, FENCED

_MICROS: Final = 1_000_000
_LAST_EPOCH: Final = 2**62

_QUOTAS = """
SELECT a.id, e.id, i.event_type, i.event_filter, i.aggregation, e.included_units, e.enforcement,
    e.period, a.zone
FROM billing.entitlements e
JOIN billing.accounts a ON a.id = e.account_id
JOIN billing.billable_items i ON i.id = e.item_id
WHERE e.ended_at IS NULL AND (a.shard = %(shard)s OR a.id = %(account)s)
"""

_USED = """
SELECT coalesce(sum(CASE WHEN %(counts_events)s THEN 1 ELSE r.quantity END), 0)
FROM usage.raw_events r
JOIN usage.event_key k USING (source, event_id)
LEFT JOIN usage.superseded_events s
    ON s.shard = r.shard AND s.accept_seq = r.accept_seq
WHERE r.account_id = %(account)s AND r.occurred_at >= %(since)s AND r.occurred_at < %(until)s
    AND r.event_type = %(event_type)s AND NOT r.voided AND s.shard IS NULL
    AND (k.shard <> %(shard)s
        OR (k.epoch, k.stream_ms, k.stream_seq) < (%(epoch)s, %(ms)s, %(seq)s))
    AND NOT EXISTS (
        SELECT 1 FROM unnest(%(names)s::text[], %(values)s::jsonb[]) AS f (name, allowed)
        WHERE NOT coalesce(f.allowed @> (r.dimensions -> f.name), false))
"""


class QuotasRedis(Protocol):
    """Redis, for what quotas have used; FencedError where it writes in another epoch."""

    def quota_counts(
        self, keys: ShardKeys, names: Sequence[str]
    ) -> list[tuple[bool, Position | None]]:
        """Whether each is known whole, and from which entry on Redis counts it."""
        ...

    def begin_quota(self, keys: ShardKeys, name: str) -> Position:
        """Count from the next entry on, unless somebody began meanwhile; gives where it begins."""
        ...

    def told(self, keys: ShardKeys, accounts: Sequence[UUID]) -> list[str]:
        """The token of each that Redis noted, as `billing.wallets.news` says; '' for none."""
        ...

    def set_quota_base(
        self, keys: ShardKeys, account: UUID, name: str, begins: Position, used: int, told: str
    ) -> None:
        """Say what was used before.

        Unless the account left, or was told news since (`told`), or it is counted from elsewhere.
        """
        ...


class QuotasPostgres(Protocol):
    """PostgreSQL, for what quotas have used."""

    def quotas(self, shard: int) -> list[tuple[UUID, Quota]]:
        """The quotas of a shard's accounts."""
        ...

    def used_before(
        self, keys: ShardKeys, account: UUID, quota: Quota, position: Position, now_us: int
    ) -> int:
        """Millionths of a unit in the current period, without what this epoch has from there on."""
        ...


def fill_bases(
    redis: QuotasRedis, postgres: QuotasPostgres, keys: ShardKeys, cursor: Position, now: datetime
) -> None:
    """Fill in what is missing of the current periods in one shard's Redis.

    Args:
        cursor: how far the journal has been applied.
    """
    quotas, now_us = postgres.quotas(keys.shard), microseconds(now)
    if not quotas:
        return
    found = redis.quota_counts(keys, [quota.name(now_us) for _, quota in quotas])
    partial = [
        (account, quota, begins)
        for (account, quota), (is_whole, begins) in zip(quotas, found, strict=True)
        if not is_whole
    ]
    told = redis.told(keys, [account for account, _, _ in partial])
    for (account, quota, begins), token in zip(partial, told, strict=True):
        name = quota.name(now_us)
        first = redis.begin_quota(keys, name) if begins is None else begins
        if cursor >= Position(first.ms, first.seq - 1):
            used = postgres.used_before(keys, account, quota, first, now_us)
            redis.set_quota_base(keys, account, name, first, used, token)


class QuotasRedisPort:
    """A server."""

    def __init__(self, redis: "Redis") -> None:
        self.redis = redis

    def quota_counts(
        self, keys: ShardKeys, names: Sequence[str]
    ) -> list[tuple[bool, Position | None]]:
        """Whether each is known whole, and from which entry on Redis counts it."""
        with self.redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hmget(keys.quotas + name, ["base", "from"])
            found = pipe.execute()
        return [(base is not None, _parse(begins) if begins else None) for base, begins in found]

    def last(self, keys: ShardKeys) -> Position:
        """The last entry of the journal."""
        last: Any = self.redis.xrevrange(keys.stream, count=1)
        return Position.parse(last[0][0].decode()) if last else START

    def begin_quota(self, keys: ShardKeys, name: str) -> Position:
        """Count from the next entry on, unless somebody began meanwhile."""
        position = self.last(keys)
        key = keys.quotas + name
        self.redis.hsetnx(key, "from", str(Position(position.ms, position.seq + 1)))
        begins: Any = self.redis.hget(key, "from")
        return _parse(begins)

    def told(self, keys: ShardKeys, accounts: Sequence[UUID]) -> list[str]:
        """The token of each that Redis noted; '' for none."""
        if not accounts:
            return []
        found: Any = self.redis.hmget(keys.told, [one.hex for one in accounts])
        return ["" if one is None else one.decode() for one in found]

    def set_quota_base(
        self, keys: ShardKeys, account: UUID, name: str, begins: Position, used: int, told: str
    ) -> None:
        """Say what was used before, unless the account left, was told news, or it is too late."""
        names = [keys.epoch_key, keys.gone, keys.quotas + name, keys.told]
        args = [keys.epoch, account.hex, str(begins), used, COUNTER_SECONDS, told]
        if BASE.call(self.redis, names, args)[0] == FENCED:
            raise FencedError("Redis is fenced off")


class QuotasPostgresPort:
    """A server, through a connection that is not inside a transaction."""

    def __init__(self, connection: Connection[Any]) -> None:
        self.connection = connection

    def quotas(self, shard: int) -> list[tuple[UUID, Quota]]:
        """The quotas of a shard's accounts."""
        return quotas_of(self.connection, shard=shard)

    def used_before(
        self, keys: ShardKeys, account: UUID, quota: Quota, position: Position, now_us: int
    ) -> int:
        """Millionths of a unit in the current period, without what this epoch has from there on."""
        return _used_before(self.connection, keys, account, quota, position, now_us)


def quotas_of(
    connection: Connection[Any], *, shard: int | None = None, account: UUID | None = None
) -> list[tuple[UUID, Quota]]:
    """The quotas of a shard's accounts, or of one account."""
    return [
        (
            account_id,
            Quota(
                entitlement_id=entitlement_id,
                event_type=event_type or "",
                event_filter={name: tuple(values) for name, values in event_filter.items()},
                counts_events=aggregation == Aggregation.COUNT.value,
                limit_micros=units * _MICROS,
                is_hard=enforcement == Enforcement.HARD.value,
                period=QuotaPeriod(period),
                zone=zone,
            ),
        )
        for (
            account_id, entitlement_id, event_type, event_filter, aggregation, units,
            enforcement, period, zone,
        ) in connection.execute(_QUOTAS, {"shard": shard, "account": account})
    ]  # fmt: skip


def used_so_far(
    connection: Connection[Any], accounts: Collection[UUID], names: Collection[str], now_us: int
) -> dict[str, int]:
    """What quotas of some accounts have used by all that PostgreSQL has; in millionths of a unit.

    Args:
        names: of the quotas; those of other periods than the current ones are left out.
    """
    every = ShardKeys(-1, _LAST_EPOCH)
    return {
        quota.name(now_us): _used_before(connection, every, account_id, quota, START, now_us)
        for account in accounts
        for account_id, quota in quotas_of(connection, account=account)
        if quota.name(now_us) in names
    }


def _parse(text: bytes) -> Position:
    return Position.parse(text.decode())


def _used_before(
    connection: Connection[Any],
    keys: ShardKeys,
    account_id: UUID,
    quota: Quota,
    position: Position,
    now_us: int,
) -> int:
    since, until = quota.days(now_us).instants(quota.zone)
    row = connection.execute(
        _USED,
        {
            "counts_events": quota.counts_events,
            "account": account_id,
            "since": since,
            "until": until,
            "event_type": quota.event_type,
            "shard": keys.shard,
            "epoch": keys.epoch,
            "ms": position.ms,
            "seq": position.seq,
            "names": list(quota.event_filter),
            "values": [_json(values) for values in quota.event_filter.values()],
        },
    ).fetchone()
    return int(Decimal(row[0]) * _MICROS) if row else 0


def _json(values: Sequence[str]) -> str:
    return json.dumps(list(values))
