"""An account's usage as it stands now, by local day: for previews, which no run has read for."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.periods import Period
from billing.rating.match import DIMENSIONS
from billing.rating.plan import UsageRow
from billing.usage.as_of import usage_rows

_KIND: Final = ", ".join(f"e.dimensions ->> '{name}'" for name in DIMENSIONS)

_EVENTS: Final = """
    FROM usage.raw_events e
    WHERE e.account_id = :account_id AND e.occurred_at >= :starts_at AND e.occurred_at < :ends_at
        AND NOT e.voided
        AND NOT EXISTS (
            SELECT 1 FROM usage.superseded_events s
            WHERE s.shard = e.shard AND s.accept_seq = e.accept_seq
        )
"""

_USAGE = text(
    f"""
    SELECT (e.occurred_at AT TIME ZONE :zone)::date AS usage_day, e.event_type,
        jsonb_build_array({_KIND}) AS kind, count(*) AS event_count, sum(e.quantity) AS quantity
    {_EVENTS}
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    """
)

_SINGLE = text(
    f"""
    SELECT (e.occurred_at AT TIME ZONE :zone)::date AS usage_day, e.event_type,
        jsonb_build_array({_KIND}) AS kind, e.occurred_at, e.source, e.event_id, e.quantity,
        e.shard, e.accept_seq, e.dimensions
    {_EVENTS}
        AND e.event_type = ANY(:event_types)
    """
)


def usage_so_far(
    session: Session,
    account_id: UUID,
    zone: str,
    period: Period,
    singly: Collection[str] = (),
) -> Sequence[UsageRow]:
    """The usage of some local days, by day, event type and dimensions.

    Args:
        singly: event types of which each event is wanted too.
    """
    starts_at, ends_at = period.instants(zone)
    wanted = {"account_id": account_id, "zone": zone, "starts_at": starts_at, "ends_at": ends_at}
    singles: Iterable[Any] = ()
    if singly:
        singles = session.execute(_SINGLE, wanted | {"event_types": list(singly)})
    return usage_rows(session.execute(_USAGE, wanted), singles)
