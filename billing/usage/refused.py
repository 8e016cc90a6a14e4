"""What a batch does not take: events known before, conflicts, and rows nobody can read."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection

from billing.ids import new_id
from billing.usage.batch import Compensation, JournalEntry, Position

_REFUSED = """
SELECT stream_ms, stream_seq, place, verdict, wallet_id, amount_units, source, event_id, body_hash,
    jsonb_build_object(
        'account_id', account_id, 'event_type', event_type, 'occurred_at', occurred_at,
        'quantity', quantity::text, 'dimensions', dimensions, 'cost', vendor_cost::text
    )::text
FROM pg_temp.incoming WHERE verdict IN ('again', 'conflict') ORDER BY ordinal
"""

_COMPENSATION = """
INSERT INTO usage.redis_compensations
    (shard, epoch, stream_ms, stream_seq, position, wallet_id, amount_units, recorded_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""

_CONFLICT = """
INSERT INTO usage.event_conflicts (id, source, event_id, body_hash, payload, recorded_at)
VALUES (%s, %s, %s, %s, %s, %s)
"""

_QUARANTINE = """
INSERT INTO usage.quarantine
    (id, shard, epoch, stream_ms, stream_seq, position, reason, payload, wallet_id, amount_units,
     recorded_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, NULL, 0, %s) ON CONFLICT DO NOTHING
"""

_LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class Refused:
    """What is to be given back to Redis, and the entries concerned."""

    compensations: list[Compensation]
    entries: set[Position]


def record_refused(
    connection: Connection[Any], *, shard: int, epoch: int, now: datetime
) -> Refused:
    """Keep conflicts for people, and give second debits back."""
    refused = Refused([], set())
    for ms, seq, place, verdict, wallet, amount, *body in connection.execute(_REFUSED).fetchall():
        position = Position(ms, seq)
        refused.entries.add(position)
        if verdict == "conflict":
            connection.execute(_CONFLICT, [new_id(), *body, now])
        if wallet is not None and amount:
            connection.execute(_COMPENSATION, [shard, epoch, ms, seq, place, wallet, amount, now])
            refused.compensations.append(Compensation(position, place, wallet, amount))
    return refused


def quarantine(
    connection: Connection[Any],
    entry: JournalEntry,
    reason: str,
    *,
    shard: int,
    epoch: int,
    now: datetime,
) -> None:
    """Set an entry or a row aside, so that the rest goes on."""
    connection.execute(
        _QUARANTINE,
        [
            new_id(),
            shard,
            epoch,
            *entry.position,
            entry.first,
            reason[:_LONGEST_REASON],
            entry.rows,
            now,
        ],
    )
