"""What accounts have now: the balance, and what was used today, as far as PostgreSQL knows.

Today's usage is counted once per account and day, and then moved on by the events that came
since: what a live view costs depends on the traffic it shows, not on the day behind it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from billing.periods import local_day, local_midnight

_ACCOUNTS = text(
    """
    SELECT a.id, a.customer_id, a.currency, a.zone, a.status, a.shard, s.accept_seq,
           w.balance_units, w.credit_line_units, w.low_balance_units, w.entry_seq, w.status
    FROM billing.accounts a
    LEFT JOIN billing.wallets w ON w.account_id = a.id AND w.currency = a.currency
    LEFT JOIN usage.shard_state s ON s.shard = a.shard
    WHERE a.id = ANY(CAST(:ids AS uuid[]))
    """
)
_ASKED = """
    WITH asked AS (
        SELECT * FROM unnest(
            CAST(:ids AS uuid[]), CAST(:shards AS integer[]), CAST(:since AS bigint[]),
            CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[])
        ) AS t(id, shard, since, starts, ends)
    )
"""
_TODAY = text(
    _ASKED
    + """
    SELECT asked.id, count(*), sum(e.quantity)
    FROM asked
    JOIN usage.raw_events e ON e.account_id = asked.id
        AND e.occurred_at >= asked.starts AND e.occurred_at < asked.ends
    WHERE e.occurred_at >= :least AND e.occurred_at < :most AND NOT e.voided
      AND NOT EXISTS (
        SELECT 1 FROM usage.superseded_events s
        WHERE s.shard = e.shard AND s.accept_seq = e.accept_seq
      )
    GROUP BY asked.id
    """
)
_SINCE = text(
    _ASKED
    + """
    SELECT id, sum(events), sum(quantity) FROM (
        SELECT asked.id, 1 AS events, e.quantity
        FROM asked
        JOIN usage.raw_events e ON e.shard = asked.shard AND e.accept_seq > asked.since
            AND e.account_id = asked.id
            AND e.occurred_at >= asked.starts AND e.occurred_at < asked.ends
        WHERE e.occurred_at >= :least AND e.occurred_at < :most AND NOT e.voided
        UNION ALL
        SELECT asked.id, -1, -old.quantity
        FROM asked
        JOIN usage.superseded_events s ON s.shard = asked.shard AND s.superseded_by > asked.since
        JOIN usage.raw_events old ON old.shard = s.shard AND old.accept_seq = s.accept_seq
            AND old.occurred_at = s.occurred_at AND old.account_id = asked.id
            AND old.occurred_at >= asked.starts AND old.occurred_at < asked.ends
        WHERE old.occurred_at >= :least AND old.occurred_at < :most AND NOT old.voided
    ) AS changes
    GROUP BY id
    """
)


@dataclass(frozen=True, slots=True)
class LiveWallet:
    """A wallet as PostgreSQL has it, in wallet units."""

    balance_units: int
    credit_line_units: int
    low_balance_units: int
    entry_seq: int
    status: str


@dataclass(frozen=True, slots=True)
class LiveUsage:
    """What an account used on one of its local days."""

    day: date
    events: int
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class LiveAccount:
    """An account at one instant."""

    id: UUID
    customer_id: UUID
    currency: str
    status: str
    shard: int
    accept_seq: int
    """Events of its shard up to this one are in it."""
    wallet: LiveWallet | None
    today: LiveUsage

    def same_as(self, other: "LiveAccount | None") -> bool:
        """Whether nobody would see a difference."""
        return other is not None and (self.status, self.wallet, self.today) == (
            other.status,
            other.wallet,
            other.today,
        )


@dataclass(frozen=True, slots=True)
class _Row:
    id: UUID
    customer_id: UUID
    currency: str
    zone: str
    status: str
    shard: int
    accept_seq: int | None
    balance_units: int | None
    credit_line_units: int
    low_balance_units: int
    entry_seq: int
    wallet_status: str

    @property
    def wallet(self) -> LiveWallet | None:
        if self.balance_units is None:
            return None
        return LiveWallet(
            self.balance_units,
            self.credit_line_units,
            self.low_balance_units,
            self.entry_seq,
            self.wallet_status,
        )


def read_live(
    engine: Engine, wanted: Mapping[UUID, LiveAccount | None], now: datetime
) -> dict[UUID, LiveAccount]:
    """The accounts as they are now; those that do not exist are missing.

    Args:
        wanted: by id, what was read before, if anything was.
    """
    snapshot = engine.execution_options(isolation_level="REPEATABLE READ")
    with snapshot.connect() as connection:
        found: Any = connection.execute(_ACCOUNTS, {"ids": list(wanted)}).all()
        rows = [_Row(*row) for row in found]
        days = {row.id: local_day(now, row.zone) for row in rows}
        known = {
            row.id: before.today
            for row in rows
            if (before := wanted[row.id]) is not None
            and (before.today.day, before.shard) == (days[row.id], row.shard)
        }
        fresh = [row for row in rows if row.id not in known]
        moved = [row for row in rows if row.id in known]
        counted = _count(connection, _TODAY, fresh, days, {})
        since = {row.id: before.accept_seq for row in moved if (before := wanted[row.id])}
        added = _count(connection, _SINCE, moved, days, since)
    changes = {**counted, **added}
    accounts: dict[UUID, LiveAccount] = {}
    for row in rows:
        day = known.get(row.id, LiveUsage(days[row.id], 0, Decimal(0)))
        events, quantity = changes.get(row.id, (0, Decimal(0)))
        accounts[row.id] = LiveAccount(
            row.id,
            row.customer_id,
            row.currency,
            row.status,
            row.shard,
            row.accept_seq or 0,
            row.wallet,
            LiveUsage(day.day, day.events + events, day.quantity + quantity),
        )
    return accounts


def _count(
    connection: Connection,
    query: Any,
    rows: Collection[_Row],
    days: Mapping[UUID, date],
    since: Mapping[UUID, int],
) -> dict[UUID, tuple[int, Decimal]]:
    if not rows:
        return {}
    starts = [local_midnight(days[row.id], row.zone) for row in rows]
    ends = [local_midnight(days[row.id] + timedelta(days=1), row.zone) for row in rows]
    asked = {
        "ids": [row.id for row in rows],
        "shards": [row.shard for row in rows],
        "since": [since.get(row.id, 0) for row in rows],
        "starts": starts,
        "ends": ends,
        "least": min(starts),
        "most": max(ends),
    }
    found: Any = connection.execute(query, asked).all()
    return {one: (int(events), Decimal(quantity)) for one, events, quantity in found}
