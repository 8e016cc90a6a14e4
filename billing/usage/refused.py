"""What a batch does not take: events known before, conflicts, and rows nobody can read."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from psycopg import Connection

from billing.ids import new_id
from billing.usage.batch import Compensation, JournalEntry, Position
from billing.usage.counters import advance_of
from billing.usage.row_reader import event_json, read_row

_REFUSED = """
SELECT stream_ms, stream_seq, place, verdict, wallet_id, amount_units, rate_id, counted_on,
    counted_micros, source, event_id, body_hash,
    jsonb_build_object(
        'account_id', account_id, 'event_type', event_type, 'occurred_at', occurred_at,
        'quantity', quantity::text, 'dimensions', dimensions, 'cost', vendor_cost::text
    )::text
FROM pg_temp.incoming WHERE verdict IN ('again', 'conflict') ORDER BY ordinal
"""

_COMPENSATION = """
INSERT INTO usage.redis_compensations
    (shard, epoch, stream_ms, stream_seq, position, wallet_id, amount_units, rate_id, counted_on,
     counted_micros, recorded_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""

_CONFLICT = """
INSERT INTO usage.event_conflicts (id, source, event_id, body_hash, payload, recorded_at)
VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""

_QUARANTINE = """
INSERT INTO usage.quarantine
    (id, shard, epoch, stream_ms, stream_seq, position, reason, payload, wallet_id, amount_units,
     recorded_at, status, source, event_id, event)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'open', %s, %s, %s) ON CONFLICT DO NOTHING
"""

_WALLET = "SELECT 1 FROM billing.wallets WHERE id = %s"

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
    for ms, seq, place, verdict, wallet, amount, *rest in connection.execute(_REFUSED).fetchall():
        position, counted, body = Position(ms, seq), rest[:3], rest[3:]
        refused.entries.add(position)
        if verdict == "conflict":
            connection.execute(_CONFLICT, [new_id(), *body, now])
        if wallet is not None and (amount or counted[2]):
            given = _give_back(Compensation(position, place, wallet, amount), counted)
            _record(connection, given, shard=shard, epoch=epoch, now=now)
            refused.compensations.append(given)
    return refused


def quarantine(
    connection: Connection[Any],
    entry: JournalEntry,
    reason: str,
    *,
    shard: int,
    epoch: int,
    now: datetime,
) -> Compensation | None:
    """Set an entry or a row aside, so that the rest goes on.

    Nothing of it is in the books, so what Redis debited for it is given back: a replay debits it
    anew. Only of an entry that cannot be read at all nobody knows the wallet.
    """
    found = _read(entry)
    wallet_id, amount = found.get("wallet_id"), found.get("amount_units") or 0
    connection.execute(
        _QUARANTINE,
        [
            new_id(),
            shard,
            epoch,
            *entry.position,
            entry.first,
            _storable(reason[:_LONGEST_REASON]),
            entry.rows,
            wallet_id,
            amount,
            now,
            _storable(found.get("source")),
            _storable(found.get("event_id")),
            event_json(found) if found else None,
        ],
    )
    counted = [found.get(name) for name in ("rate_id", "counted_on", "counted_micros")]
    if wallet_id is None or (amount <= 0 and not counted[2]):
        return None
    if connection.execute(_WALLET, [wallet_id]).fetchone() is None:
        return None
    given = _give_back(Compensation(entry.position, entry.first, wallet_id, amount), counted)
    _record(connection, given, shard=shard, epoch=epoch, now=now)
    return given


def _give_back(given: Compensation, counted: Sequence[Any]) -> Compensation:
    """The quantity goes back with the debit: later events are priced as if it had not been."""
    return replace(given, counter=advance_of(given.wallet_id, *counted))


def _record(
    connection: Connection[Any], given: Compensation, *, shard: int, epoch: int, now: datetime
) -> None:
    counter = given.counter
    counted = (None,) * 3 if counter is None else counter[1:]
    who = [shard, epoch, *given.position, given.place, given.wallet_id, given.amount_units]
    connection.execute(_COMPENSATION, [*who, *counted, now])


def _read(entry: JournalEntry) -> dict[str, Any]:
    if entry.broken is not None:
        return {}
    try:
        return read_row(entry.rows)
    except ValueError:
        return {}


def _storable(text: str | None) -> str | None:
    return text.replace("\x00", "\\x00") if text else text
