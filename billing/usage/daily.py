"""Reading what was used, by day, from the mart that the pipeline makes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.roles import Permission

_MART = "marts.fct_usage_daily"

_QUERY = f"""
SELECT account_id, customer_id, usage_day, event_type, country, channel, status, operator, route,
       traffic_type, event_count, quantity, vendor_cost
FROM {_MART}
WHERE (CAST(:customer_id AS uuid) IS NULL OR customer_id = :customer_id)
  AND (CAST(:account_id AS uuid) IS NULL OR account_id = :account_id)
  AND (CAST(:from_day AS date) IS NULL OR usage_day >= :from_day)
  AND (CAST(:to_day AS date) IS NULL OR usage_day < :to_day)
  AND (CAST(:event_type AS text) IS NULL OR event_type = :event_type)
  AND (CAST(:country AS text) IS NULL OR country = :country)
  AND (CAST(:status AS text) IS NULL OR status = :status)
ORDER BY usage_day, account_id, event_type, country, channel, status, operator, route,
         traffic_type
LIMIT :limit OFFSET :skip
"""


@dataclass(frozen=True, slots=True)
class DailyUsage:
    """The usage of one account, local day, event type and set of dimensions."""

    account_id: UUID
    customer_id: UUID
    usage_day: date
    event_type: str
    country: str
    channel: str
    status: str
    operator: str
    route: str
    traffic_type: str
    event_count: int
    quantity: Decimal
    vendor_cost: Decimal | None
    """In rupees; ours alone, so a customer is not told."""


@dataclass(frozen=True, slots=True)
class UsageFilter:
    """Which usage is wanted; None wants all."""

    account_id: UUID | None = None
    from_day: date | None = None
    to_day: date | None = None
    """The first day that is no longer wanted."""
    event_type: str | None = None
    country: str | None = None
    status: str | None = None


def list_daily_usage(
    session: Session, actor: Actor, wanted: UsageFilter, *, limit: int, skip: int = 0
) -> Sequence[DailyUsage]:
    """Daily usage in the order of days; empty until the pipeline has run."""
    actor.require(Permission.USAGE_READ)
    if session.scalar(text("SELECT to_regclass(:mart)"), {"mart": _MART}) is None:
        return []
    rows = session.execute(
        text(_QUERY),
        {
            "customer_id": actor.customer_id,
            "account_id": wanted.account_id,
            "from_day": wanted.from_day,
            "to_day": wanted.to_day,
            "event_type": wanted.event_type,
            "country": wanted.country,
            "status": wanted.status,
            "limit": limit,
            "skip": skip,
        },
    ).mappings()
    confined = actor.customer_id is not None
    return [
        DailyUsage(**{**row, "vendor_cost": None if confined else row["vendor_cost"]})
        for row in rows
    ]
