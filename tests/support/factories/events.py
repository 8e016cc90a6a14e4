"""Accepted events, as the ledger writer would have stored them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.orm import Session
from sqlalchemy.sql import bindparam

from billing.ids import new_id
from billing.usage.storage import is_hypertable, partition_statements
from billing.usage.tables import EventKey, ShardMode, ShardState, SupersededEvent

_EVENT = text(
    """
    INSERT INTO usage.raw_events (occurred_at, shard, accept_seq, source, event_id, revision,
        account_id, event_type, quantity, dimensions, vendor_cost, voided, received_at, recorded_at)
    VALUES (:occurred_at, 0, :accept_seq, :source, :event_id, :revision, :account_id, :event_type,
        :quantity, :dimensions, :vendor_cost, :voided, :occurred_at, :occurred_at)
    """
).bindparams(bindparam("dimensions", type_=JSONB))


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """What is needed to amend an event."""

    source: str
    event_id: str
    revision: int
    accept_seq: int
    account_id: UUID
    event_type: str
    occurred_at: datetime
    quantity: Decimal
    dimensions: Mapping[str, str]


def store_event(
    session: Session,
    account_id: UUID,
    occurred_at: datetime,
    *,
    event_type: str = "otp.sms",
    quantity: Decimal | int = 1,
    dimensions: Mapping[str, str] | None = None,
    vendor_cost: Decimal | None = None,
) -> StoredEvent:
    """A new event in shard 0."""
    event = StoredEvent(
        source="test",
        event_id=str(new_id()),
        revision=1,
        accept_seq=_next_accept_seq(session),
        account_id=account_id,
        event_type=event_type,
        occurred_at=occurred_at.astimezone(UTC),
        quantity=Decimal(quantity),
        dimensions=dict(dimensions or {}),
    )
    session.execute(
        insert(EventKey).values(
            source=event.source,
            event_id=event.event_id,
            body_hash=b"",
            shard=0,
            accept_seq=event.accept_seq,
            epoch=1,
            stream_ms=0,
            stream_seq=0,
            account_id=account_id,
            occurred_at=event.occurred_at,
            received_at=event.occurred_at,
        )
    )
    _insert(session, event, voided=False, vendor_cost=vendor_cost)
    return event


def revise_event(
    session: Session,
    event: StoredEvent,
    *,
    dimensions: Mapping[str, str] | None = None,
    voided: bool = False,
) -> StoredEvent:
    """The next revision of an event: amended, or voided."""
    revised = StoredEvent(
        source=event.source,
        event_id=event.event_id,
        revision=event.revision + 1,
        accept_seq=_next_accept_seq(session),
        account_id=event.account_id,
        event_type=event.event_type,
        occurred_at=event.occurred_at,
        quantity=event.quantity,
        dimensions=dict(dimensions or event.dimensions),
    )
    session.execute(
        insert(SupersededEvent).values(
            shard=0,
            accept_seq=event.accept_seq,
            superseded_by=revised.accept_seq,
            occurred_at=event.occurred_at,
            recorded_at=event.occurred_at,
        )
    )
    _insert(session, revised, voided=voided, vendor_cost=None)
    return revised


def _next_accept_seq(session: Session) -> int:
    first = insert(ShardState).values(shard=0, epoch=1, accept_seq=1, mode=ShardMode.OPEN)
    statement = first.on_conflict_do_update(
        index_elements=["shard"], set_={"accept_seq": ShardState.accept_seq + 1}
    ).returning(ShardState.accept_seq)
    return session.execute(statement).scalar_one()


def _insert(
    session: Session, event: StoredEvent, *, voided: bool, vendor_cost: Decimal | None
) -> None:
    _make_room(session, event.occurred_at.date())
    session.execute(
        _EVENT,
        {
            "occurred_at": event.occurred_at,
            "accept_seq": event.accept_seq,
            "source": event.source,
            "event_id": event.event_id,
            "revision": event.revision,
            "account_id": event.account_id,
            "event_type": event.event_type,
            "quantity": event.quantity,
            "dimensions": dict(event.dimensions),
            "vendor_cost": vendor_cost,
            "voided": voided,
        },
    )


def _make_room(session: Session, day: date) -> None:
    """The day's partition, asked for once a session."""
    known: set[date] = session.info.setdefault("event_days", set())
    if day in known:
        return
    known.add(day)
    connection = session.connection()
    if not is_hypertable(connection):
        for statement in partition_statements([day]):
            connection.execute(text(statement))
