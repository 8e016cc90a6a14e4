"""One event: what it was said to be, and saying it anew."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Path
from pydantic import AwareDatetime, Field

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Request
from billing.usage.repository import EventHistory, EventRevision, get_event
from billing.usage.revisions import ReviseEvent, revise_event
from ingest_api.auth import needs
from ingest_api.dependencies import Commands, Envelope, ReadSession, build
from ingest_api.envelope import Amount, Answer, Attributes, Resource, refer

router = APIRouter(prefix="/events", tags=["events"])

Reader = Annotated[Actor, needs(Permission.USAGE_READ)]
Amender = Annotated[Actor, needs(Permission.USAGE_AMEND)]
Name = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.:-]{1,128}$")]


class RevisionAttributes(Attributes):
    """What was said, and what it took from the wallet, provisionally."""

    revision: int
    accept_seq: int
    event_type: str
    occurred_at: datetime
    quantity: Amount
    dimensions: dict[str, str]
    vendor_cost: Amount | None
    voided: bool
    received_at: datetime
    recorded_at: datetime
    amount_units: int | None
    rate_id: UUID | None


class EventAttributes(Attributes):
    """An event with all its revisions, oldest first; the last one counts."""

    source: str
    event_id: str
    accepted_at: datetime
    voided: bool
    revisions: list[RevisionAttributes]


class Revision(Request):
    """The fields to change, or `{"void": true}`; what is not named stays as it is."""

    void: bool = Field(default=False, strict=True)
    event_type: str | None = None
    occurred_at: AwareDatetime | None = None
    quantity: Annotated[int, Field(strict=True)] | Annotated[str, Field(strict=True)] | None = None
    dimensions: dict[str, str] | None = None
    cost: Annotated[int, Field(strict=True)] | Annotated[str, Field(strict=True)] | None = None


@router.get("/{source}/{event_id}", summary="Show an event")
def show(
    source: Name, event_id: Name, session: ReadSession, actor: Reader, reply: Envelope
) -> Answer[EventAttributes]:
    """An event by its source and id, with its revisions, debits and wallet."""
    return reply.one(_resource(get_event(session, actor, source, event_id)))


@router.post("/{source}/{event_id}/revisions", summary="Amend or void an event")
def revise(
    source: Name,
    event_id: Name,
    revision: Annotated[Revision, Body(examples=[{"dimensions": {"status": "failed"}}])],
    ctx: Commands,
    actor: Amender,
    reply: Envelope,
) -> Answer[EventAttributes]:
    """Say anew what an event was; the wallet gets or pays the difference."""
    said = revision.model_dump(exclude_unset=True)
    revise_event(ctx, build(ReviseEvent, source=source, event_id=event_id, **said))
    return reply.one(_resource(get_event(ctx.session, actor, source, event_id)))


def _resource(history: EventHistory) -> Resource[EventAttributes]:
    latest: EventRevision = history.latest
    return Resource(
        id=f"{history.key.source}/{history.key.event_id}",
        type="event",
        attributes=EventAttributes(
            source=history.key.source,
            event_id=history.key.event_id,
            accepted_at=history.key.received_at,
            voided=latest.voided,
            revisions=[RevisionAttributes.model_validate(one) for one in history.revisions],
        ),
        relationships=refer(
            account=("account", latest.account_id), wallet=("wallet", latest.wallet_id)
        ),
    )
