"""Events that were set aside: list, show, mend, replay, discard."""

import json
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body
from pydantic import Field

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Request
from billing.usage.quarantine import (
    DiscardQuarantined,
    EventFields,
    MendQuarantined,
    ReplayQuarantined,
    discard_quarantined,
    find_quarantined,
    list_quarantine,
    mend_quarantined,
    replay_quarantined,
)
from billing.usage.tables import QuarantinedEntry, QuarantineStatus
from ingest_api.auth import needs
from ingest_api.dependencies import Commands, Envelope, Paging, ReadSession, build
from ingest_api.envelope import Answer, Attributes, ListAnswer, Resource, refer

router = APIRouter(prefix="/quarantine", tags=["quarantine"])

Operator = Annotated[Actor, needs(Permission.USAGE_QUARANTINE, staff_only=True)]


class QuarantinedAttributes(Attributes):
    """Something of the journal that could not be written into the books."""

    status: QuarantineStatus
    reason: str
    source: str | None
    event_id: str | None
    event: dict[str, Any] | None = Field(
        description="As a sender would send it; null if it cannot be read and was not mended."
    )
    amount_units: int = Field(description="What Redis had debited for it; it was given back.")
    shard: int
    entry: str = Field(description="Epoch, stream entry and place within it.")
    recorded_at: datetime
    settled_at: datetime | None
    settled_by: str | None
    note: str | None


class EventMended(Request):
    """The whole event as it should have been."""

    event: EventFields


class Discarded(Request):
    """Why it is never taken in."""

    reason: str = Field(min_length=3, max_length=500)


def quarantined_resource(row: QuarantinedEntry) -> Resource[QuarantinedAttributes]:
    """An entry as the API shows it."""
    return Resource(
        id=str(row.id),
        type="quarantined_event",
        attributes=QuarantinedAttributes(
            status=row.status,
            reason=row.reason,
            source=row.source,
            event_id=row.event_id,
            event=json.loads(row.event, parse_float=str) if row.event else None,
            amount_units=row.amount_units,
            shard=row.shard,
            entry=f"{row.epoch}:{row.stream_ms}-{row.stream_seq}:{row.position}",
            recorded_at=row.recorded_at,
            settled_at=row.settled_at,
            settled_by=row.settled_by,
            note=row.note,
        ),
        relationships=refer(wallet=("wallet", row.wallet_id)),
    )


@router.get("", summary="List what was set aside")
def list_all(
    session: ReadSession,
    actor: Operator,
    reply: Envelope,
    page: Paging,
    status: QuarantineStatus | None = None,
) -> ListAnswer[QuarantinedAttributes]:
    """Entries of the journal that could not be written, the newest first."""
    rows = list_quarantine(session, actor, status=status, **page.fetch)
    return reply.page(rows, page.limit, quarantined_resource)


@router.get("/{entry_id}", summary="Show what was set aside")
def show(
    entry_id: UUID, session: ReadSession, actor: Operator, reply: Envelope
) -> Answer[QuarantinedAttributes]:
    """What it was, why it could not be written, and what became of it."""
    return reply.one(quarantined_resource(find_quarantined(session, actor, entry_id)))


@router.post("/{entry_id}/event", summary="Mend an event")
def mend(
    entry_id: UUID,
    body: Annotated[
        EventMended,
        Body(
            examples=[
                {
                    "event": {
                        "source": "core",
                        "event_id": "018f6d3e-sms-1",
                        "event_type": "otp.sms",
                        "occurred_at": "2026-07-15T10:00:00+05:30",
                        "alias": "acme",
                    }
                }
            ]
        ),
    ],
    ctx: Commands,
    _: Operator,
    reply: Envelope,
) -> Answer[QuarantinedAttributes]:
    """Say what the event should have said; its identity stays. A replay then takes it in."""
    request = build(MendQuarantined, entry_id=entry_id, event=body.event)
    return reply.one(quarantined_resource(mend_quarantined(ctx, request)))


@router.post("/{entry_id}/replay", summary="Take an event in after all")
def replay(
    entry_id: UUID, ctx: Commands, _: Operator, reply: Envelope
) -> Answer[QuarantinedAttributes]:
    """Check the event as it stands now, and book it under its own id: once, whatever happens."""
    request = ReplayQuarantined(entry_id=entry_id)
    return reply.one(quarantined_resource(replay_quarantined(ctx, request)))


@router.post("/{entry_id}/discard", summary="Discard an event")
def discard(
    entry_id: UUID,
    body: Annotated[Discarded, Body(examples=[{"reason": "Sent by a test of the merchant"}])],
    ctx: Commands,
    _: Operator,
    reply: Envelope,
) -> Answer[QuarantinedAttributes]:
    """Never take it in. It stays to be read, with who discarded it and why."""
    request = build(DiscardQuarantined, entry_id=entry_id, reason=body.reason)
    return reply.one(quarantined_resource(discard_quarantined(ctx, request)))
