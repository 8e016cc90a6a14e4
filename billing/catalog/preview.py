"""What a charge would bill for a usage, before anything of it is stored."""

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Annotated, Self

from pydantic import Field, model_validator
from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.catalog.rated import as_rated
from billing.catalog.requests import ChargeInput
from billing.catalog.rules import errors_in
from billing.catalog.tables import BillableItem, ItemKind
from billing.commands import Request
from billing.errors import FieldError, InvalidError
from billing.fields import ExactDecimal
from billing.rating import plan
from billing.rating.rater import Rating
from billing.rating.rater import preview as rate_preview

Quantity = Annotated[ExactDecimal, Field(ge=0, max_digits=20, decimal_places=6)]

_DAY = date(2026, 1, 1)
"""Any day: a preview prices one whole period, whichever it is."""


class PreviewEvent(Request):
    """Usage with the dimensions that choose its rate."""

    quantity: Quantity = Decimal(1)
    dimensions: dict[str, Annotated[str, Field(min_length=1, max_length=100)]] = Field(
        default_factory=dict, max_length=20
    )


class PricePreview(Request):
    """A charge, and the usage of one whole period: a quantity, or events."""

    charge: ChargeInput
    currency: str | None = None
    """Needed if the charge has rates in several."""
    quantity: Quantity | None = None
    """Units as the item has aggregated them, under the rate for no dimension; seats if flat."""
    events: tuple[PreviewEvent, ...] | None = Field(default=None, max_length=10_000)
    """Events that the item's filter and aggregation still apply to."""

    @model_validator(mode="after")
    def _one_usage(self) -> Self:
        if (self.quantity is None) == (self.events is None):
            raise ValueError("give either a quantity or events")
        return self


@dataclass(frozen=True, slots=True)
class Preview:
    """The rated lines of the usage, in a currency."""

    currency: str
    rating: Rating

    @property
    def amount(self) -> Decimal:
        """What the lines come to before they are rounded."""
        return sum((line.amount for line in self.rating.lines), Decimal(0))

    @property
    def amount_minor(self) -> int:
        """What they bill: the sum of lines that are each rounded once."""
        return sum(line.amount_minor for line in self.rating.lines)


def preview_price(session: Session, actor: Actor, request: PricePreview) -> Preview:
    """Rate a usage by a charge that may or may not be part of a plan; nothing is stored.

    Raises:
        InvalidError: with every field that keeps the charge from being published, or if the
            usage or the currency does not fit it.
    """
    actor.require(Permission.CATALOG_READ)
    items = {
        item.code: item
        for item in session.scalars(select(BillableItem).filter_by(code=request.charge.item_code))
    }
    wrong = [
        replace(error, field=error.field.replace("charges.0", "charge", 1))
        for error in errors_in([request.charge], items)
    ]
    wrong += _usage_errors(request, items.get(request.charge.item_code))
    if wrong:
        raise InvalidError("The preview is not valid.", code="invalid_request", fields=wrong)
    currency = request.currency or request.charge.rates[0].currency
    charge = as_rated(request.charge, items[request.charge.item_code])
    if request.events is not None:
        rows = _rows(request.events, charge)
        return Preview(currency, rate_preview(charge, rows, currency=currency))
    quantity = request.quantity or Decimal(0)
    if charge.price_model == plan.FLAT:
        return Preview(currency, rate_preview(charge, [], currency=currency, quantity=quantity))
    counted = replace(charge, aggregation=plan.SUM, event_filter={})
    row = plan.UsageRow(_DAY, charge.event_type or "", {}, 0, quantity)
    return Preview(currency, rate_preview(counted, [row], currency=currency))


def _usage_errors(request: PricePreview, item: BillableItem | None) -> list[FieldError]:
    wrong = []
    known = {rate.currency for rate in request.charge.rates}
    if request.currency is None and len(known) > 1:
        wrong.append(FieldError("currency", f"choose one of {', '.join(sorted(known))}"))
    if request.currency is not None and request.currency not in known:
        wrong.append(FieldError("currency", f"the charge has no rate in {request.currency}"))
    if request.events is not None and item is not None and item.kind is not ItemKind.USAGE:
        wrong.append(FieldError("events", "a price per period has a quantity, not events"))
    return wrong


def _rows(events: tuple[PreviewEvent, ...], charge: plan.Charge) -> list[plan.UsageRow]:
    """The events by their dimensions, counted and summed."""
    totals: dict[tuple[tuple[str, str], ...], tuple[int, Decimal]] = defaultdict(
        lambda: (0, Decimal(0))
    )
    for event in events:
        key = tuple(sorted(event.dimensions.items()))
        count, quantity = totals[key]
        totals[key] = (count + 1, quantity + event.quantity)
    return [
        plan.UsageRow(_DAY, charge.event_type or "", dict(key), count, quantity)
        for key, (count, quantity) in totals.items()
    ]
