"""One event: what it was said to be, and saying it anew."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Path
from pydantic import AwareDatetime, Field
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Request
from billing.invoices.tables import InvoiceStatus
from billing.usage.lineage import Lineage, lineage_of
from billing.usage.repository import EventRevision, get_event
from billing.usage.revisions import ReviseEvent, revise_event
from ingest_api.auth import needs
from ingest_api.dependencies import Commands, CurrentServices, Envelope, ReadSession, build
from ingest_api.envelope import Amount, Answer, Attributes, Resource, refer

router = APIRouter(prefix="/events", tags=["events"])

Reader = Annotated[Actor, needs(Permission.USAGE_READ)]
Amender = Annotated[Actor, needs(Permission.USAGE_AMEND)]
Name = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.:-]{1,128}$")]
SourceName = Annotated[
    str,
    Path(
        pattern=r"^[A-Za-z0-9_.:/@~+%?=&#-]{1,128}$",
        description="Percent-encoded where it is a URI.",
    ),
]


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
    card_version: int | None = None
    """Of the rate card that priced it."""
    ledger_transaction_id: UUID | None = None
    ledger_reference: str | None = None


class InvoiceLineAttributes(Attributes):
    """An invoice whose line counts the event."""

    invoice_id: UUID
    number: str | None
    status: InvoiceStatus
    line_ref: str
    """`adjustment:` before the name of the charge's line, if the event came after its issue."""
    amount_minor: int


class TierAttributes(Attributes):
    """One step of a price; null as `up_to` is without end."""

    up_to: Amount | None
    unit_price: Amount
    flat_amount: Amount


class RatedAttributes(Attributes):
    """A charge that counts the event, its price, and the line it belongs to."""

    charge_code: str
    plan_version_id: UUID
    rate_id: UUID | None
    price_model: str
    currency: str
    tiers: list[TierAttributes]
    quantity: Amount | None
    line_ref: str | None
    invoice_lines: list[InvoiceLineAttributes]


class ConflictAttributes(Attributes):
    """The same id with another body: refused."""

    recorded_at: datetime
    payload: dict[str, Any]


class EventAttributes(Attributes):
    """An event with all its revisions, oldest first; the last one counts."""

    source: str
    event_id: str
    accepted_at: datetime
    voided: bool
    revisions: list[RevisionAttributes]
    rated: list[RatedAttributes]
    conflicts: list[ConflictAttributes]
    quarantined: list[UUID]


class Revision(Request):
    """The fields to change, or `{"void": true}`; what is not named stays as it is."""

    void: bool = Field(default=False, strict=True)
    event_type: str | None = None
    occurred_at: AwareDatetime | None = None
    quantity: Annotated[int, Field(strict=True)] | Annotated[str, Field(strict=True)] | None = None
    dimensions: dict[str, str] | None = None
    cost: Annotated[int, Field(strict=True)] | Annotated[str, Field(strict=True)] | None = None


@router.get("/{source:path}/{event_id}", summary="Show an event")
def show(
    source: SourceName, event_id: Name, session: ReadSession, actor: Reader, reply: Envelope
) -> Answer[EventAttributes]:
    """An event by its source and id: its revisions, what each took from the wallet and where that
    stands in the ledger, its price, the invoice lines that count it, and what was refused."""
    return reply.one(_shown(session, actor, source, event_id))


@router.post("/{source:path}/{event_id}/revisions", summary="Amend or void an event")
def revise(
    source: SourceName,
    event_id: Name,
    revision: Annotated[Revision, Body(examples=[{"dimensions": {"status": "failed"}}])],
    ctx: Commands,
    services: CurrentServices,
    actor: Amender,
    reply: Envelope,
) -> Answer[EventAttributes]:
    """Say anew what an event was, within the window after it happened; the wallet gets or pays
    the difference. Later it takes the permission to send events of the past."""
    said = revision.model_dump(exclude_unset=True)
    request = build(ReviseEvent, source=source, event_id=event_id, **said)
    revise_event(ctx, request, window_days=services.settings.revision_days)
    return reply.one(_shown(ctx.session, actor, source, event_id))


def _shown(session: Session, actor: Actor, source: str, event_id: str) -> Resource[EventAttributes]:
    history = get_event(session, actor, source, event_id)
    lineage = lineage_of(session, actor, history)
    latest: EventRevision = history.latest
    staff = actor.customer_id is None
    return Resource(
        id=f"{history.key.source}/{history.key.event_id}",
        type="event",
        attributes=EventAttributes(
            source=history.key.source,
            event_id=history.key.event_id,
            accepted_at=history.key.received_at,
            voided=latest.voided,
            revisions=[_revision(one, lineage, staff=staff) for one in history.revisions],
            rated=[RatedAttributes.model_validate(one) for one in lineage.rated],
            conflicts=[ConflictAttributes.model_validate(one) for one in lineage.conflicts],
            quarantined=[one.id for one in lineage.quarantined] if staff else [],
        ),
        relationships=refer(
            account=("account", latest.account_id), wallet=("wallet", latest.wallet_id)
        ),
    )


def _revision(one: EventRevision, lineage: Lineage, *, staff: bool) -> RevisionAttributes:
    """A revision; what a vendor charges us is not for customers."""
    shown = RevisionAttributes.model_validate(one)
    posted = lineage.ledger.get(one.accept_seq)
    return shown.model_copy(
        update={
            "vendor_cost": shown.vendor_cost if staff else None,
            "ledger_transaction_id": posted and posted.transaction_id,
            "ledger_reference": posted and posted.reference,
        }
    )
