"""What a price would come to, before it is part of a plan."""

from typing import Annotated

from fastapi import APIRouter, Body

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.catalog.preview import Preview, PricePreview, preview_price
from billing.money import from_minor
from billing.rating.line import RatedLine
from ingest_api.auth import needs
from ingest_api.dependencies import Envelope, ReadSession
from ingest_api.envelope import Amount, Answer, Attributes, Resource

router = APIRouter(prefix="/pricing", tags=["catalogue"])

Reader = Annotated[Actor, needs(Permission.CATALOG_READ)]


class PreviewedLine(Attributes):
    """One line for each rate that was used, rounded once."""

    charge_code: str
    description: str
    quantity: Amount
    free_quantity: Amount
    event_count: int
    unit: str
    unit_price: Amount | None
    """Null where tiers or packages make the price differ from unit to unit."""
    amount: Amount
    """In the currency, before it is rounded."""
    amount_minor: int
    """The amount rounded, halves away from zero, in paise, cents or sen."""
    tier_breakdown: list[dict[str, str | None]]
    """For each tier: from, to, units, unit_price, flat_amount, amount (and package_size, the events
    of a percentage, or of seats days and full_days: unit_price is that of a full period). Then
    what changes the line, by kind: event_bounds, discount, maximum, dearest, minimum, commitment,
    with its amount. All amounts together are the line's."""


class UnpricedUsage(Attributes):
    """Usage that the charge counts, but that none of its rates matches."""

    charge_code: str
    dimensions: dict[str, str | None]
    event_count: int
    quantity: Amount


class PreviewAttributes(Attributes):
    """What a usage would bill."""

    currency: str
    amount: Amount
    """In the currency, before lines are rounded."""
    amount_minor: int
    rounding: Amount
    """What rounding the lines adds, in the currency."""
    lines: list[PreviewedLine]
    unpriced: list[UnpricedUsage]


_EXAMPLE = {
    "charge": {
        "code": "sms",
        "name": "SMS",
        "item_code": "otp-sms",
        "price_model": "volume",
        "rates": [
            {
                "currency": "INR",
                "tiers": [
                    {"up_to": "10000", "unit_price": "0.20"},
                    {"up_to": "100000", "unit_price": "0.15"},
                    {"unit_price": "0.11"},
                ],
            }
        ],
    },
    "quantity": "45000",
}


def preview_resource(found: Preview) -> Resource[PreviewAttributes]:
    """A preview as the API shows it."""
    attributes = PreviewAttributes(
        currency=found.currency,
        amount=found.amount,
        amount_minor=found.amount_minor,
        rounding=from_minor(found.amount_minor, found.currency) - found.amount,
        lines=[_line(line) for line in found.rating.lines],
        unpriced=[UnpricedUsage.model_validate(usage) for usage in found.rating.unrated],
    )
    return Resource(id="preview", type="price_preview", attributes=attributes)


def _line(line: RatedLine) -> PreviewedLine:
    return PreviewedLine(
        charge_code=line.charge_code,
        description=line.description,
        quantity=line.quantity,
        free_quantity=line.free_quantity,
        event_count=line.event_count,
        unit=line.unit,
        unit_price=line.unit_price,
        amount=line.amount,
        amount_minor=line.amount_minor,
        tier_breakdown=[dict(step) for step in line.tier_breakdown],
    )


@router.post("/preview", summary="Preview a price")
def preview(
    session: ReadSession,
    actor: Reader,
    reply: Envelope,
    body: Annotated[PricePreview, Body(examples=[_EXAMPLE])],
) -> Answer[PreviewAttributes]:
    """The amount and tiers of a usage under a charge as a plan version would hold it. Nothing is
    stored; what could not be published is refused with the path of every wrong field."""
    return reply.one(preview_resource(preview_price(session, actor, body)))
