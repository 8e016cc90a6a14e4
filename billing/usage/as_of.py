"""An account's usage as a rating run read it: its two cut-offs leave out whatever came later.

The same question as the dbt macro `latest_events` answers for a whole month, asked for one account
long afterwards.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.errors import PreconditionError
from billing.rating.match import DIMENSIONS
from billing.rating.plan import SingleEvent, UsageRow

_COLUMNS: Final = ", ".join(f"e.dimensions ->> '{name}'" for name in DIMENSIONS)

_EVENTS: Final = """
    FROM usage.raw_events e
    JOIN billing.rating_run_cutoffs c
        ON c.rating_run_id = :run AND c.shard = e.shard AND c.accept_seq >= e.accept_seq
    JOIN billing.rating_runs r ON r.id = c.rating_run_id AND r.event_time_to > e.occurred_at
    WHERE e.account_id = :account_id AND e.occurred_at >= :starts_at AND e.occurred_at < :ends_at
        AND NOT e.voided
        AND NOT EXISTS (
            SELECT 1 FROM usage.superseded_events s
            WHERE s.shard = e.shard AND s.accept_seq = e.accept_seq
                AND s.superseded_by <= c.accept_seq
        )
"""

_USAGE = text(
    f"""
    SELECT (e.occurred_at AT TIME ZONE :zone)::date AS usage_day, e.event_type,
        jsonb_build_array({_COLUMNS}) AS kind, count(*) AS event_count,
        sum(e.quantity) AS quantity
    {_EVENTS}
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    """
)

_SINGLE = text(
    f"""
    SELECT (e.occurred_at AT TIME ZONE :zone)::date AS usage_day, e.event_type,
        jsonb_build_array({_COLUMNS}) AS kind, e.occurred_at, e.source, e.event_id, e.quantity,
        e.shard, e.accept_seq, e.dimensions
    {_EVENTS}
        AND e.event_type = ANY(:event_types)
    """
)

_LISTED = text(
    f"""
    SELECT e.occurred_at, e.shard, e.accept_seq, e.source, e.event_id, e.revision, e.quantity,
        e.dimensions
    {_EVENTS}
        AND e.event_type = :event_type
        AND ((e.occurred_at AT TIME ZONE :zone)::date, jsonb_build_array({_COLUMNS})) IN (
            SELECT day, CAST(kind AS jsonb)
            FROM unnest(CAST(:days AS date[]), CAST(:kinds AS text[])) AS wanted (day, kind)
        )
        AND (e.occurred_at, e.shard, e.accept_seq) > (:after_at, :after_shard, :after_seq)
    ORDER BY e.occurred_at, e.shard, e.accept_seq LIMIT :limit
    """
)

_ARCHIVED = text(
    """
    SELECT string_agg(DISTINCT to_char(a.month, 'YYYY-MM'), ' ')
    FROM usage.archived_days d JOIN usage.archives a ON a.id = d.archive_id
    WHERE d.dropped
        AND d.day >= (:starts_at AT TIME ZONE 'UTC')::date
        AND d.day <= (:ends_at AT TIME ZONE 'UTC')::date
    """
)


@dataclass(frozen=True, slots=True)
class AsOf:
    """Whose usage between which instants, as of which rating run."""

    rating_run_id: UUID
    account_id: UUID
    zone: str
    starts_at: datetime
    ends_at: datetime
    """The first instant that is no longer wanted."""


class EventPlace(NamedTuple):
    """Where an event stands among all: events are listed in this order."""

    occurred_at: datetime
    shard: int
    accept_seq: int


@dataclass(frozen=True, slots=True)
class ReadEvent:
    """One event that a run read."""

    place: EventPlace
    source: str
    event_id: str
    revision: int
    quantity: Decimal
    dimensions: Mapping[str, str]


def usage_as_of(session: Session, wanted: AsOf, singly: Collection[str] = ()) -> Sequence[UsageRow]:
    """The usage by local day, event type and dimensions.

    Args:
        singly: event types of which each event is wanted too.

    Raises:
        PreconditionError: if its events are in an archive alone; code `archived`.
    """
    _require_restored(session, wanted)
    parameters = _parameters(wanted) | {"zone": wanted.zone}
    rows = session.execute(_USAGE, parameters)
    singles: Iterable[Any] = ()
    if singly:
        singles = session.execute(_SINGLE, parameters | {"event_types": list(singly)})
    return usage_rows(rows, singles)


def usage_rows(rows: Iterable[Any], singles: Iterable[Any]) -> Sequence[UsageRow]:
    """What was counted and summed by `usage_day`, `event_type` and `kind`, with single events."""
    events: dict[tuple[date, str, str], list[SingleEvent]] = defaultdict(list)
    for one in singles:
        order = one.occurred_at, one.source, one.event_id
        place = one.usage_day, one.event_type, json.dumps(one.kind)
        accepted = one.shard, one.accept_seq
        events[place].append(SingleEvent(order, one.quantity, accepted, one.dimensions))
    return [
        UsageRow(
            row.usage_day,
            row.event_type,
            dict(zip(DIMENSIONS, row.kind, strict=True)),
            row.event_count,
            row.quantity,
            tuple(events.get((row.usage_day, row.event_type, json.dumps(row.kind)), ())),
        )
        for row in rows
    ]


def events_as_of(
    session: Session,
    wanted: AsOf,
    rows: Collection[UsageRow],
    *,
    limit: int,
    after: EventPlace | None = None,
) -> Sequence[ReadEvent]:
    """The events that some rows of the usage count, in the order they occurred, page by page.

    Args:
        rows: all of one event type.
        after: the place of the last event of the page before.
    """
    if not rows:
        return []
    (event_type,) = {row.event_type for row in rows}
    at, shard, accept_seq = after or (wanted.starts_at, -1, -1)
    found = session.execute(
        _LISTED,
        _parameters(wanted)
        | {
            "zone": wanted.zone,
            "event_type": event_type,
            "days": [row.day for row in rows],
            "kinds": [
                json.dumps([row.dimensions.get(name) for name in DIMENSIONS]) for row in rows
            ],
            "after_at": at,
            "after_shard": shard,
            "after_seq": accept_seq,
            "limit": limit,
        },
    )
    return [ReadEvent(EventPlace(*row[:3]), *row[3:]) for row in found]


def _kind(row: UsageRow) -> str:
    return json.dumps([row.dimensions.get(name) for name in DIMENSIONS])


def _parameters(wanted: AsOf) -> dict[str, Any]:
    return {
        "run": wanted.rating_run_id,
        "account_id": wanted.account_id,
        "starts_at": wanted.starts_at,
        "ends_at": wanted.ends_at,
    }


def _require_restored(session: Session, wanted: AsOf) -> None:
    months = session.scalar(_ARCHIVED, {"starts_at": wanted.starts_at, "ends_at": wanted.ends_at})
    if months:
        raise PreconditionError(
            f"Events of {months} are archived. An operator can bring them back: "
            f"billing events restore {months}.",
            code="archived",
        )
