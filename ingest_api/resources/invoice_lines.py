"""Lines of invoices: what each was made of, worked out again."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.invoices.explanation import Explanation, explain_line
from billing.invoices.tables import InvoiceStatus
from billing.usage.as_of import EventPlace, ReadEvent
from ingest_api.auth import needs
from ingest_api.dependencies import Envelope, ReadSession
from ingest_api.envelope import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    Amount,
    Answer,
    Attributes,
    Resource,
    refer,
)

router = APIRouter(prefix="/invoice-lines", tags=["invoices"])

Reader = Annotated[Actor, needs(Permission.INVOICES_READ)]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class PriceVersionAttributes(Attributes):
    """The plan version that priced the line; `covered_to` is the first day without it."""

    id: UUID
    plan_code: str
    plan_name: str
    version: int
    published_at: datetime | None
    price_model: str
    charge_code: str
    covered_from: date
    covered_to: date


class RunAttributes(Attributes):
    """The rating run and its two cut-offs."""

    id: UUID
    started_at: datetime
    event_time_to: datetime
    """Events from then on were not read."""
    accept_seqs: dict[int, int]
    """The last event of each shard that was read; whatever came later counts for a later run."""


class RecomputedAttributes(Attributes):
    """The line as it comes out of the same usage and prices again."""

    quantity: Amount
    free_quantity: Amount
    event_count: int
    amount: Amount
    """In the currency, before it is rounded."""
    amount_minor: int
    tier_breakdown: list[dict[str, str | None]]


class ReadEventAttributes(Attributes):
    """One event that the line counts."""

    source: str
    event_id: str
    revision: int
    occurred_at: datetime
    quantity: Amount
    dimensions: dict[str, str]


class AdjustmentAttributes(Attributes):
    """A line of a later invoice that bills what this one came to more after issue."""

    invoice_id: UUID
    number: str | None
    status: InvoiceStatus
    line_ref: str
    amount_minor: int


class ExplanationAttributes(Attributes):
    """A line as it was billed, what it was made of, and as it comes out again."""

    line_ref: str
    invoice_number: str | None
    invoice_status: InvoiceStatus
    description: str
    currency: str
    quantity: Amount
    unit: str
    unit_price: Amount | None
    amount_minor: int
    tier_breakdown: list[dict[str, Any]]
    event_count: int
    price_version: PriceVersionAttributes
    rating_run: RunAttributes
    recomputed: RecomputedAttributes | None
    difference_minor: int
    """Billed less recomputed."""
    is_equal: bool
    """Whether amount, quantity and tiers are the same."""
    verdict: str
    adjustments: list[AdjustmentAttributes]
    """Usage that came after issue is not in this line, and stands there."""
    events: list[ReadEventAttributes]
    events_next: str | None
    """Pass it as `after` for more; null means that these are all."""


def explanation_resource(found: Explanation) -> Resource[ExplanationAttributes]:
    """An explanation as the API shows it."""
    line = found.line
    attributes = ExplanationAttributes(
        line_ref=line.line_ref,
        invoice_number=found.invoice.number,
        invoice_status=found.invoice.status,
        description=line.description,
        currency=found.invoice.currency,
        quantity=line.quantity,
        unit=line.unit,
        unit_price=line.unit_price,
        amount_minor=line.amount_minor,
        tier_breakdown=line.tier_breakdown,
        event_count=found.event_count,
        price_version=PriceVersionAttributes.model_validate(found.price),
        rating_run=RunAttributes.model_validate(found.run),
        recomputed=RecomputedAttributes.model_validate(found.recomputed)
        if found.recomputed
        else None,
        difference_minor=found.difference_minor,
        is_equal=found.is_equal,
        verdict=found.verdict,
        adjustments=[AdjustmentAttributes.model_validate(one) for one in found.adjustments],
        events=[_event(event) for event in found.events],
        events_next=_cursor(found.next_event) if found.next_event else None,
    )
    return Resource(
        id=line.line_ref,
        type="line_explanation",
        attributes=attributes,
        relationships=refer(
            invoice=("invoice", found.invoice.id),
            account=("account", found.invoice.account_id),
            rating_run=("rating_run", found.run.id),
            plan_version=("plan_version", found.price.id),
        ),
    )


def _event(event: ReadEvent) -> ReadEventAttributes:
    return ReadEventAttributes(
        source=event.source,
        event_id=event.event_id,
        revision=event.revision,
        occurred_at=event.place.occurred_at,
        quantity=event.quantity,
        dimensions=dict(event.dimensions),
    )


def _cursor(place: EventPlace) -> str:
    at = (place.occurred_at - _EPOCH) // _MICROSECOND
    return f"{at}.{place.shard}.{place.accept_seq}"


def _place(cursor: str) -> EventPlace:
    at, shard, accept_seq = (int(part) for part in cursor.split("."))
    return EventPlace(_EPOCH + at * _MICROSECOND, shard, accept_seq)


@router.get("/{line_ref}/explanation", summary="Explain an invoice line")
def explain(
    session: ReadSession,
    actor: Reader,
    reply: Envelope,
    line_ref: Annotated[str, Path(max_length=200, pattern=r"^[A-Za-z0-9:_.-]+$")],
    invoice_id: Annotated[
        UUID | None, Query(description="Whose line; that of the newest invoice, if left out.")
    ] = None,
    limit: Annotated[
        int, Query(ge=0, le=MAX_LIMIT, description="Events in the list.")
    ] = DEFAULT_LIMIT,
    after: Annotated[
        str | None,
        Query(
            pattern=r"^[0-9]{1,16}\.[0-9]{1,6}\.[0-9]{1,18}$",
            description="`events_next` of the answer before.",
        ),
    ] = None,
) -> Answer[ExplanationAttributes]:
    """The events, quantities, tiers, price version and rating run of a line, and its amount worked
    out again from them. What arrived after the run's cut-offs is left out, so an issued line is
    explained by what it was made of."""
    found = explain_line(
        session,
        actor,
        line_ref,
        invoice_id=invoice_id,
        limit=limit,
        after=_place(after) if after else None,
    )
    return reply.one(explanation_resource(found))
