"""Reading the audit log."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.access.tables import AuditEntry


def list_audit_entries(
    session: Session,
    actor: Actor,
    *,
    entity_id: UUID | None = None,
    command: str | None = None,
    by: str | None = None,
    limit: int = 50,
    after: int | None = None,
) -> Sequence[AuditEntry]:
    """Entries, the newest first, one page at a time.

    Args:
        by: the name of the actor.
        after: the number of the last entry of the page before.
    """
    actor.require(Permission.AUDIT_READ)
    query = select(AuditEntry).order_by(AuditEntry.seq.desc()).limit(limit)
    if entity_id is not None:
        query = query.where(AuditEntry.entity_id == entity_id)
    if command is not None:
        query = query.where(AuditEntry.command == command)
    if by is not None:
        query = query.where(AuditEntry.actor == by)
    if after is not None:
        query = query.where(AuditEntry.seq < after)
    return session.scalars(query).all()
