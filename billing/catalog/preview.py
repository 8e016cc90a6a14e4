"""What a charge would bill for a usage, before anything of it is stored."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from typing import Annotated, Self

from pydantic import Field, model_validator
from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.catalog.rated import as_rated, rates_of_deck
from billing.catalog.requests import ChargeInput
from billing.catalog.rules import errors_in
from billing.catalog.tables import BillableItem, ItemKind, PriceModel
from billing.commands import Request
from billing.errors import FieldError, InvalidError
from billing.fields import ExactDecimal
from billing.rating import plan
from billing.rating.rater import Rating
from billing.rating.rater import preview as rate_preview

Quantity = Annotated[ExactDecimal, Field(ge=0, max_digits=20, decimal_places=6)]

_DAY = date(2026, 1, 1)
_MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)
"""Any day: a preview prices one whole period, whichever it is."""


class PreviewEvent(Request):
    """Usage with the dimensions that choose its rate."""

    quantity: Quantity = Decimal(1)
    dimensions: dict[str, Annotated[str, Field(min_length=1, max_length=100)]] = Field(
        default_factory=dict, max_length=20
    )


class DaysInput(Request):
    """The part of a period that is billed."""

    billed: int = Field(ge=1, le=366)
    full: int = Field(ge=1, le=366)
    """Days of a full period."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.billed > self.full:
            raise ValueError("a part has no more days than the whole")
        return self


class PricePreview(Request):
    """A charge, and the usage of one period: a quantity, or events."""

    charge: ChargeInput
    currency: str | None = None
    """Needed if the charge has rates in several."""
    quantity: Quantity | None = None
    """Units as the item has aggregated them, under the rate for no dimension; seats if the price is
    by period; of a commitment, what everything else bills."""
    events: tuple[PreviewEvent, ...] | None = Field(default=None, max_length=10_000)
    """Events that the item's filter and aggregation still apply to, in their order."""
    days: DaysInput | None = None
    """For a part of a period; without it, a whole month."""

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
    deck = None
    if request.charge.rate_deck is not None:
        deck = rates_of_deck(session, request.charge.rate_deck)
        if not deck:
            wrong.append(FieldError("charge.rate_deck", "there is no such deck with prices"))
    currencies = {rate.currency for rate in deck or request.charge.rates}
    wrong += _usage_errors(request, currencies, items.get(request.charge.item_code))
    if wrong:
        raise InvalidError("The preview is not valid.", code="invalid_request", fields=wrong)
    currency = request.currency or min(currencies)
    charge = as_rated(request.charge, items[request.charge.item_code])
    if deck is not None:
        charge = replace(charge, rates=deck)
    return Preview(currency, _rate(request, charge, currency))


def _rate(request: PricePreview, charge: plan.Charge, currency: str) -> Rating:
    days = None if request.days is None else (request.days.billed, request.days.full)
    rate = partial(rate_preview, currency=currency, days=days)
    if request.events is not None:
        return rate(charge, _rows(request.events, charge))
    quantity = request.quantity or Decimal(0)
    if charge.price_model in plan.PERIOD_MODELS:
        return rate(charge, [], quantity=quantity)
    if charge.price_model == plan.COMMITMENT:
        found = rate(charge, [], others=[_everything_else(charge, quantity, currency)])
        lines = (line for line in found.lines if line.charge_code == charge.code)
        return replace(found, lines=tuple(lines))
    counted = replace(
        charge, aggregation=plan.SUM, event_filter={}, property_name=None, conversion=None
    )
    return rate(counted, [plan.UsageRow(_DAY, charge.event_type or "", {}, 0, quantity)])


def _everything_else(charge: plan.Charge, billed: Decimal, currency: str) -> plan.Charge:
    """One price that stands for all other lines of the period."""
    rates = (plan.Rate(1, currency, (plan.Tier(None, flat_amount=billed),)),)
    return replace(charge, code="", price_model=plan.FLAT, rates=rates, prorated=False)


def _usage_errors(
    request: PricePreview, known: Collection[str], item: BillableItem | None
) -> list[FieldError]:
    wrong = []
    if request.currency is None and len(known) > 1:
        wrong.append(FieldError("currency", f"choose one of {', '.join(sorted(known))}"))
    if request.currency is not None and request.currency not in known:
        wrong.append(FieldError("currency", f"the charge has no rate in {request.currency}"))
    if request.events is not None and item is not None and item.kind is not ItemKind.USAGE:
        wrong.append(FieldError("events", "a price per period has a quantity, not events"))
    if request.events is None and request.charge.price_model is PriceModel.PERCENTAGE:
        wrong.append(FieldError("quantity", "a percentage prices each event: give events"))
    return wrong


def _rows(events: tuple[PreviewEvent, ...], charge: plan.Charge) -> list[plan.UsageRow]:
    """The events by their dimensions, counted and summed."""
    groups: dict[tuple[tuple[str, str], ...], list[plan.SingleEvent]] = defaultdict(list)
    for number, event in enumerate(events):
        key = tuple(sorted(event.dimensions.items()))
        order = (_MIDNIGHT, "", f"{number:05}")
        single = plan.SingleEvent(order, event.quantity, (0, number), event.dimensions)
        groups[key].append(single)
    return [
        plan.UsageRow(
            _DAY,
            charge.event_type or "",
            dict(key),
            len(group),
            sum((event.quantity for event in group), Decimal(0)),
            tuple(group),
        )
        for key, group in groups.items()
    ]
