"""What a charge would bill for a usage, before anything of it is stored."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
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
from billing.catalog.price_rules import WITHOUT_USAGE
from billing.catalog.rated import as_rated, rates_of_deck
from billing.catalog.requests import ChargeInput
from billing.catalog.rules import errors_in
from billing.catalog.tables import BillableItem, PriceModel
from billing.commands import Request
from billing.errors import FieldError, InvalidError
from billing.fields import ExactDecimal
from billing.rating import plan
from billing.rating.rater import Rating
from billing.rating.rater import preview as rate_preview

Quantity = Annotated[ExactDecimal, Field(ge=0, max_digits=20, decimal_places=6)]

_LONGEST = 366
"""Days of a period."""
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

    billed: int = Field(ge=1, le=_LONGEST)
    full: int = Field(ge=1, le=_LONGEST)
    """Days of a full period."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.billed > self.full:
            raise ValueError("a part has no more days than the whole")
        return self


class HeldInput(Request):
    """So many seats, for so many days."""

    quantity: Quantity
    days: int = Field(ge=1, le=_LONGEST)


class PricedUsage(Request):
    """A charge, and the usage of one period: a quantity, events, or what is held day by day."""

    charge: ChargeInput
    quantity: Quantity | None = None
    """Units as the item has aggregated them, under the rate for no dimension; seats if the price is
    by period; of a commitment, what everything else bills."""
    events: tuple[PreviewEvent, ...] | None = Field(default=None, max_length=10_000)
    """Events that the item's filter and aggregation still apply to, in their order."""
    held: tuple[HeldInput, ...] | None = Field(default=None, min_length=1, max_length=_LONGEST)
    """Of a price by period: one number of seats after the other."""

    @model_validator(mode="after")
    def _one_usage(self) -> Self:
        if [self.quantity, self.events, self.held].count(None) != 2:
            raise ValueError("give one of quantity, events and held")
        return self


class PricePreview(PricedUsage):
    """What is priced; of one charge, or of several that one plan version has for usage."""

    currency: str | None = None
    """Needed if the charge has rates in several."""
    beside: tuple[PricedUsage, ...] = Field(default=(), max_length=9)
    """Other charges and their usage, for what they share: free units, or that one of them bills."""
    days: DaysInput | None = None
    """For a part of a period; without it, a whole month, or the days of what is held."""

    @property
    def part(self) -> tuple[int, int] | None:
        """The days that are billed, and those of a full period, if anything says so."""
        if self.days is not None:
            return self.days.billed, self.days.full
        if self.held is not None:
            days = sum(one.days for one in self.held)
            return days, days
        return None


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


@dataclass(frozen=True, slots=True)
class _Part:
    """One charge of a preview."""

    path: str
    asked: PricedUsage
    deck: tuple[plan.Rate, ...] = ()
    """The rates of its deck, if it names one that has prices."""

    @property
    def currencies(self) -> set[str]:
        """Those that it has prices in."""
        return {rate.currency for rate in self.deck or self.asked.charge.rates}

    def errors(self, *, alone: bool) -> Iterator[FieldError]:
        """What does not fit the charge, of its deck and its usage."""
        charge = self.asked.charge
        if charge.rate_deck is not None and not self.deck:
            yield FieldError(f"{self.path}.rate_deck", "there is no such deck with prices")
        here = self.path.removesuffix("charge")
        is_usage = charge.price_model not in WITHOUT_USAGE
        if self.asked.events is not None and not is_usage:
            yield FieldError(f"{here}events", "a price per period has a quantity, not events")
        if self.asked.held is not None and charge.price_model not in plan.PERIOD_MODELS:
            yield FieldError(f"{here}held", "only seats, with a price per period, are held")
        if self.asked.events is None and charge.price_model is PriceModel.PERCENTAGE:
            yield FieldError(f"{here}quantity", "a percentage prices each event: give events")
        if not alone and not is_usage:
            yield FieldError(
                f"{self.path}.price_model", "only prices of usage are previewed beside others"
            )

    def rated(self, item: BillableItem) -> plan.Charge:
        """The charge as rating reads it, with an event type that no other part counts."""
        charge = as_rated(self.asked.charge, item)
        if self.deck:
            charge = replace(charge, rates=self.deck)
        if item.event_type is None:
            return charge
        charge = replace(charge, event_type=self.path)
        if self.asked.events is not None:
            return charge
        return replace(
            charge, aggregation=plan.SUM, event_filter={}, property_name=None, conversion=None
        )

    def rows(self) -> list[plan.UsageRow]:
        """The usage of that event type."""
        if self.asked.events is not None:
            return _rows(self.asked.events, self.path)
        return [plan.UsageRow(_DAY, self.path, {}, 0, self.asked.quantity or Decimal(0))]


def preview_price(session: Session, actor: Actor, request: PricePreview) -> Preview:
    """Rate a usage by charges that may or may not be part of a plan; nothing is stored.

    Raises:
        InvalidError: with every field that keeps a charge from being published, or if the
            usage or the currency does not fit it.
    """
    actor.require(Permission.CATALOG_READ)
    asked: dict[str, PricedUsage] = {
        "charge": request,
        **{f"beside.{number}.charge": one for number, one in enumerate(request.beside)},
    }
    codes = {one.charge.item_code for one in asked.values()}
    items = {
        item.code: item
        for item in session.scalars(select(BillableItem).where(BillableItem.code.in_(codes)))
    }
    parts = [
        _Part(
            path,
            one,
            rates_of_deck(session, one.charge.rate_deck) if one.charge.rate_deck else (),
        )
        for path, one in asked.items()
    ]
    wrong = []
    for error in errors_in([one.charge for one in asked.values()], items):
        _, number, field = error.field.split(".", 2)
        wrong.append(replace(error, field=f"{parts[int(number)].path}.{field}"))
    for part in parts:
        wrong += part.errors(alone=len(parts) == 1)
    known = set.intersection(*(part.currencies for part in parts))
    wrong += [*_currency_errors(request.currency, known), *_day_errors(request)]
    if wrong:
        raise InvalidError("The preview is not valid.", code="invalid_request", fields=wrong)
    currency = request.currency or min(known)
    charges = [part.rated(items[part.asked.charge.item_code]) for part in parts]
    return Preview(currency, _rate(parts, charges, currency, request.part))


def _rate(
    parts: Sequence[_Part],
    charges: Sequence[plan.Charge],
    currency: str,
    days: tuple[int, int] | None,
) -> Rating:
    rate = partial(rate_preview, currency=currency, days=days)
    charge, *others = charges
    quantity = parts[0].asked.quantity or Decimal(0)
    if charge.price_model in plan.PERIOD_MODELS:
        held = [(one.quantity, one.days) for one in parts[0].asked.held or ()]
        return rate(charge, [], quantity=quantity, held=held)
    if charge.price_model == plan.COMMITMENT:
        found = rate(charge, [], others=[_everything_else(charge, quantity, currency)])
        lines = (line for line in found.lines if line.charge_code == charge.code)
        return replace(found, lines=tuple(lines))
    return rate(charge, [row for part in parts for row in part.rows()], others=others)


def _everything_else(charge: plan.Charge, billed: Decimal, currency: str) -> plan.Charge:
    """One price that stands for all other lines of the period."""
    rates = (plan.Rate(1, currency, (plan.Tier(None, flat_amount=billed),)),)
    return replace(charge, code="", price_model=plan.FLAT, rates=rates, prorated=False)


def _day_errors(request: PricePreview) -> Iterator[FieldError]:
    if request.held is None:
        return
    days = sum(one.days for one in request.held)
    if days > _LONGEST or (request.days is not None and request.days.billed != days):
        yield FieldError("days.billed", f"seats are held for {days} days, of {_LONGEST} at most")


def _currency_errors(wanted: str | None, known: Collection[str]) -> Iterator[FieldError]:
    if wanted is None and len(known) > 1:
        yield FieldError("currency", f"choose one of {', '.join(sorted(known))}")
    if wanted is None and not known:
        yield FieldError("currency", "there is no currency that all charges have rates in")
    if wanted is not None and wanted not in known:
        yield FieldError("currency", f"there is no rate in {wanted}")


def _rows(events: tuple[PreviewEvent, ...], event_type: str) -> list[plan.UsageRow]:
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
            event_type,
            dict(key),
            len(group),
            sum((event.quantity for event in group), Decimal(0)),
            tuple(group),
        )
        for key, group in groups.items()
    ]
