"""Writing one row of `usage.raw_events` by command; the writer writes them by thousands."""

from datetime import date
from typing import Any

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from billing.usage.storage import is_hypertable, partition_statements

_RAW = text(
    """
    INSERT INTO usage.raw_events (occurred_at, shard, accept_seq, source, event_id, revision,
        account_id, event_type, quantity, dimensions, vendor_cost, voided, received_at,
        recorded_at)
    VALUES (:occurred_at, :shard, :accept_seq, :source, :event_id, :revision, :account_id,
        :event_type, :quantity, :dimensions, :vendor_cost, :voided, :received_at, :recorded_at)
    """
).bindparams(bindparam("dimensions", type_=JSONB))


def insert_raw_event(session: Session, **columns: Any) -> None:
    """Write one row, and make its day's partition if there is none."""
    session.flush()
    _ensure_day(session.connection(), columns["occurred_at"].date())
    session.execute(_RAW, columns)


def _ensure_day(connection: Connection, day: date) -> None:
    if not is_hypertable(connection):
        for statement in partition_statements([day]):
            connection.execute(text(statement))
