"""The audit log, and whether its chain holds."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query

from billing.access.actor import Actor
from billing.access.audit import list_audit_entries
from billing.access.roles import Permission
from billing.access.tables import AuditEntry
from billing.commands import verify_audit_chain
from billing.errors import ConflictError
from ingest_api.auth import needs
from ingest_api.dependencies import Envelope, ReadSession, SearchText
from ingest_api.envelope import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    Answer,
    Attributes,
    ListAnswer,
    Resource,
)

router = APIRouter(prefix="/audit", tags=["audit"])

Auditor = Annotated[Actor, needs(Permission.AUDIT_READ, staff_only=True)]


class AuditAttributes(Attributes):
    """One command that happened, with every row it changed before and after."""

    at: datetime
    actor: str
    role: str
    command: str
    entity_type: str | None
    entity_id: UUID | None
    changes: dict[str, Any]
    hash: str


class VerificationAttributes(Attributes):
    """Whether every entry still follows from the one before it."""

    intact: bool
    entries: int | None
    finding: str | None


def audit_resource(row: AuditEntry) -> Resource[AuditAttributes]:
    """An entry as the API shows it; its id is its number in the chain."""
    attributes = AuditAttributes(
        at=row.at,
        actor=row.actor,
        role=row.role,
        command=row.command,
        entity_type=row.entity_type,
        entity_id=row.entity_id,
        changes=row.changes,
        hash=row.hash.hex(),
    )
    return Resource(id=str(row.seq), type="audit_entry", attributes=attributes)


@router.get("", summary="List the audit log")
def list_all(
    session: ReadSession,
    actor: Auditor,
    reply: Envelope,
    entity_id: Annotated[UUID | None, Query(description="Only about this resource.")] = None,
    command: Annotated[
        SearchText | None, Query(description="Only this command, such as `customer.create`.")
    ] = None,
    by: Annotated[SearchText | None, Query(description="Only by this actor.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    after: Annotated[int | None, Query(ge=1, lt=2**63, description="`meta.page.next`.")] = None,
) -> ListAnswer[AuditAttributes]:
    """Entries, the newest first."""
    rows = list_audit_entries(
        session, actor, entity_id=entity_id, command=command, by=by, limit=limit + 1, after=after
    )
    return reply.page(rows, limit, audit_resource)


@router.get("/verification", summary="Verify the audit log")
def verify(session: ReadSession, _: Auditor, reply: Envelope) -> Answer[VerificationAttributes]:
    """Recompute the chain of hashes from its first entry."""
    try:
        found = VerificationAttributes(
            intact=True, entries=verify_audit_chain(session), finding=None
        )
    except ConflictError as error:
        found = VerificationAttributes(intact=False, entries=None, finding=error.message)
    return reply.one(Resource(id="audit_log", type="audit_verification", attributes=found))
