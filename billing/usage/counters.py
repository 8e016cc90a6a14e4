"""The counters of prices that depend on what came before, as PostgreSQL keeps them.

They move in the transaction that stores the events, so that applying a batch again, or finding an
event known, never moves them twice. Redis has them ahead of PostgreSQL by what is in the stream,
and gets them from here when it is made anew.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import Connection

_STAGED = """
SELECT wallet_id, rate_id, counted_on, sum(counted_micros)::bigint FROM pg_temp.incoming
WHERE verdict = 'new' AND counted_on IS NOT NULL GROUP BY wallet_id, rate_id, counted_on
"""

# in the order of the key, so that those who advance the same counters wait for each other
_ADVANCE = """
INSERT INTO usage.price_counters AS old
    (wallet_id, rate_id, counted_on, quantity_micros, updated_at)
SELECT t.*, %(now)s
FROM unnest(%(wallets)s::uuid[], %(rates)s::uuid[], %(days)s::date[], %(micros)s::bigint[])
    AS t (wallet_id, rate_id, counted_on, quantity_micros)
ORDER BY t.wallet_id, t.counted_on, t.rate_id
ON CONFLICT (wallet_id, counted_on, rate_id) DO UPDATE
SET quantity_micros = old.quantity_micros + excluded.quantity_micros, updated_at = %(now)s
"""


class Advance(NamedTuple):
    """What a counter is moved by, or what it holds."""

    wallet_id: UUID
    rate_id: UUID
    counted_on: date
    micros: int
    """Millionths of a unit."""


def advance_of(
    wallet_id: UUID, rate_id: UUID | None, counted_on: date | None, micros: int | None
) -> Advance | None:
    """What columns say of a counter; None if there was none to advance."""
    if rate_id is None or counted_on is None or micros is None:
        return None
    return Advance(wallet_id, rate_id, counted_on, micros)


def staged_advances(connection: Connection[Any]) -> list[Advance]:
    """What the new rows of `pg_temp.incoming` add to counters."""
    return [Advance(*row) for row in connection.execute(_STAGED)]


def advance_counters(
    connection: Connection[Any], advances: Sequence[Advance], *, now: datetime
) -> None:
    """Move counters, within the caller's transaction.

    Raises:
        psycopg.IntegrityError: if a rate or a wallet does not exist, or a count is too large.
    """
    connection.execute(
        _ADVANCE,
        {
            "now": now,
            "wallets": [one.wallet_id for one in advances],
            "rates": [one.rate_id for one in advances],
            "days": [one.counted_on for one in advances],
            "micros": [one.micros for one in advances],
        },
    )
