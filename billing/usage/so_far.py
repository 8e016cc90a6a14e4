"""An account's usage as it stands now, by local day: for previews, which no run has read for."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.periods import Period
from billing.rating.match import DIMENSIONS
from billing.rating.plan import UsageRow

_KIND: Final = ", ".join(f"e.dimensions ->> '{name}'" for name in DIMENSIONS)

_USAGE = text(
    f"""
    SELECT (e.occurred_at AT TIME ZONE :zone)::date AS usage_day, e.event_type,
        jsonb_build_array({_KIND}) AS kind, count(*) AS event_count, sum(e.quantity) AS quantity
    FROM usage.raw_events e
    WHERE e.account_id = :account_id AND e.occurred_at >= :starts_at AND e.occurred_at < :ends_at
        AND NOT e.voided
        AND NOT EXISTS (
            SELECT 1 FROM usage.superseded_events s
            WHERE s.shard = e.shard AND s.accept_seq = e.accept_seq
        )
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    """
)


def usage_so_far(
    session: Session, account_id: UUID, zone: str, period: Period
) -> Sequence[UsageRow]:
    """The usage of some local days, by day, event type and dimensions."""
    starts_at, ends_at = period.instants(zone)
    rows = session.execute(
        _USAGE,
        {"account_id": account_id, "zone": zone, "starts_at": starts_at, "ends_at": ends_at},
    )
    return [
        UsageRow(
            row.usage_day,
            row.event_type,
            dict(zip(DIMENSIONS, row.kind, strict=True)),
            row.event_count,
            row.quantity,
        )
        for row in rows
    ]
