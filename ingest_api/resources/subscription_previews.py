"""The next invoice with a wish and without it."""

from datetime import date
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.subscriptions.preview import (
    ChangePreview,
    NextInvoice,
    preview_change,
    preview_start,
)
from billing.subscriptions.requests import AnyChoice, Subscribe
from billing.subscriptions.tables import ChangeKind
from ingest_api.auth import needs
from ingest_api.dependencies import CurrentServices, Envelope, ReadSession
from ingest_api.envelope import Amount, Answer, Attributes, Resource
from ingest_api.resources.subscriptions import NEW_SUBSCRIPTION, SegmentAttributes

router = APIRouter(prefix="/subscriptions", tags=["subscriptions"])

Reader = Annotated[Actor, needs(Permission.SUBSCRIPTIONS_READ)]


class PreviewLineAttributes(Attributes):
    """One line, before tax."""

    line_ref: str
    charge_code: str
    description: str
    quantity: Amount
    unit: str
    amount_minor: int
    is_recurring: bool


class NextInvoiceAttributes(Attributes):
    """The lines of the period with the usage known so far, before tax."""

    period_start: date
    period_end: date
    amount_minor: int
    lines: list[PreviewLineAttributes]
    unpriced_events: int
    """Events that no rate matches: they would park the invoice."""


class PreviewAttributes(Attributes):
    """The invoice of the period in which a change begins, without the change and with it."""

    kind: ChangeKind
    effective_on: date
    currency: str
    before: NextInvoiceAttributes | None
    after: NextInvoiceAttributes | None
    then: NextInvoiceAttributes | None
    """That of the new interval's first period, if the change cuts the running one short."""
    difference_minor: int
    segments: list[SegmentAttributes]


def preview_resource(preview: ChangePreview) -> Resource[PreviewAttributes]:
    """A preview as the API shows it; it has no id, for it is stored nowhere."""
    parts = preview.timeline.all_parts
    return Resource(
        id="preview",
        type="subscription_preview",
        attributes=PreviewAttributes(
            kind=preview.kind,
            effective_on=preview.effective_on,
            currency=preview.currency,
            before=_next_invoice(preview.before),
            after=_next_invoice(preview.after),
            then=_next_invoice(preview.then),
            difference_minor=preview.difference_minor,
            segments=[SegmentAttributes.model_validate(part) for part in parts],
        ),
    )


def _next_invoice(found: NextInvoice | None) -> NextInvoiceAttributes | None:
    if found is None:
        return None
    return NextInvoiceAttributes(
        period_start=found.period.start,
        period_end=found.period.end,
        amount_minor=found.amount_minor,
        lines=[PreviewLineAttributes.model_validate(line) for line in found.rating.lines],
        unpriced_events=sum(one.event_count for one in found.rating.unrated),
    )


@router.post("/preview", summary="Preview a new subscription")
def preview_new(
    session: ReadSession,
    actor: Reader,
    reply: Envelope,
    body: Annotated[Subscribe, Body(examples=[NEW_SUBSCRIPTION])],
) -> Answer[PreviewAttributes]:
    """The first invoice of a subscription; nothing is stored."""
    return reply.one(preview_resource(preview_start(session, actor, body)))


@router.post("/{subscription_id}/preview", summary="Preview a change")
def preview(
    session: ReadSession,
    actor: Reader,
    reply: Envelope,
    services: CurrentServices,
    subscription_id: UUID,
    body: Annotated[
        AnyChoice,
        Body(examples=[{"action": "change", "plan_code": "growth", "from_day": "2026-09-16"}]),
    ],
) -> Answer[PreviewAttributes]:
    """The next invoice without a change and with it; nothing is stored."""
    found = preview_change(session, actor, services.clock, subscription_id, body)
    return reply.one(preview_resource(found))
