"""Writing to the outbox and reading from it, each entry once and in order."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, cast, func, select
from sqlalchemy.orm import Session
from sqlalchemy.types import Text

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.customers.tables import Account
from billing.outbox.tables import OutboxEntry


def report(
    session: Session,
    topic: str,
    *,
    entity: tuple[str, UUID],
    account_id: UUID | None,
    payload: Mapping[str, Any],
    now: datetime,
) -> None:
    """Note what happened; it is seen if, and only if, the transaction commits."""
    entity_type, entity_id = entity
    session.add(
        OutboxEntry(
            topic=topic,
            entity_type=entity_type,
            entity_id=entity_id,
            account_id=account_id,
            payload=dict(payload),
            created_at=now,
        )
    )


def list_outbox(
    session: Session,
    actor: Actor,
    *,
    account_id: UUID | None = None,
    topic: str | None = None,
    limit: int = 50,
    after: int | None = None,
) -> Sequence[OutboxEntry]:
    """Entries in order, one page at a time; following `after` misses none.

    An entry is shown when no transaction is open any more that could still write before it.
    """
    actor.require(Permission.WALLETS_READ)
    oldest_open = cast(cast(func.pg_snapshot_xmin(func.pg_current_snapshot()), Text), BigInteger)
    query = (
        select(OutboxEntry)
        .where(OutboxEntry.transaction_id < oldest_open)
        .order_by(OutboxEntry.seq)
        .limit(limit)
    )
    if actor.customer_id is not None:
        query = query.join(Account, Account.id == OutboxEntry.account_id).where(
            Account.customer_id == actor.customer_id
        )
    if account_id is not None:
        query = query.where(OutboxEntry.account_id == account_id)
    if topic is not None:
        query = query.where(OutboxEntry.topic == topic)
    if after is not None:
        query = query.where(OutboxEntry.seq > after)
    return session.scalars(query).all()
