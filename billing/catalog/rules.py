"""What a set of charges must satisfy to be sold, and to be sold prepaid.

Everything wrong is reported at once, each with the path of its field.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Final

from billing.catalog.ambiguity import equal_matches
from billing.catalog.price_rules import (
    WITHOUT_USAGE,
    option_errors,
    period_errors,
    shared_errors,
    tier_errors,
)
from billing.catalog.rated import as_rated_tier
from billing.catalog.requests import ChargeInput, CreateItem, RateInput
from billing.catalog.tables import (
    Aggregation,
    BillableItem,
    Charge,
    ItemKind,
    PriceModel,
    Rate,
)
from billing.errors import FieldError
from billing.money import CURRENCIES
from billing.rating.cumulative import cumulative_price
from billing.rating.match import DIMENSIONS
from billing.rating.measures import ADDITIVE


def measure_errors(item: CreateItem) -> Iterator[FieldError]:
    """What an item reads off its events that does not go together."""
    measures = (item.property_name, item.conversion)
    if item.kind is not ItemKind.USAGE:
        if measures != (None, None) or item.aggregation not in ADDITIVE:
            yield FieldError("aggregation", f"{item.kind.value} items have no events to aggregate")
    elif item.aggregation is Aggregation.COUNT:
        if measures != (None, None):
            yield FieldError("property_name", "what is counted is events, whatever they say")
    elif item.aggregation is Aggregation.UNIQUE:
        if item.property_name is None:
            yield FieldError("property_name", "name the property whose different values count")
        if item.conversion is not None:
            yield FieldError("conversion", "different values are counted as they are")


def errors_in(
    charges: Sequence[ChargeInput], items: Mapping[str, BillableItem]
) -> list[FieldError]:
    """Everything that keeps these charges from being published.

    Args:
        items: the billable items there are, by code.
    """
    errors = []
    codes = [charge.code for charge in charges]
    for index, charge in enumerate(charges):
        path = f"charges.{index}"
        if codes.index(charge.code) != index:
            errors.append(FieldError(f"{path}.code", "each charge has a code of its own"))
        errors.extend(_charge_errors(path, charge, items.get(charge.item_code)))
    errors.extend(_overlaps(charges, items))
    errors.extend(_missing_currencies(charges))
    errors.extend(shared_errors(charges))
    return errors


def refused_prepaid(charges: Sequence[Charge]) -> list[FieldError]:
    """Why these charges cannot be debited event by event; empty if they can.

    They can if integers say exactly what every count of a period costs. Discounts, limits and
    commitments come with the true-up at the end of the period.
    """
    refused = []
    for charge in charges:
        if charge.price_model in WITHOUT_USAGE:
            continue
        if charge.item.aggregation not in ADDITIVE:
            measured = _NOT_ADDED_UP[charge.item.aggregation]
            why = f"{measured}, which no event can be debited for by itself, is not sold"
            refused.append(FieldError(f"charges.{charge.code}", f"for a prepaid account, {why}"))
            continue
        reasons = {reason for rate in charge.rates if (reason := _not_exact(charge, rate))}
        refused += [
            FieldError(f"charges.{charge.code}", f"for a prepaid account, {reason}")
            for reason in sorted(reasons)
        ]
    return refused


_NOT_ADDED_UP: Final = {
    Aggregation.MAX: "the most that an event of the period says",
    Aggregation.UNIQUE: "the number of different values of the period",
    Aggregation.LATEST: "what the last event of the period says",
}


def _not_exact(charge: Charge, rate: Rate) -> str | None:
    if charge.unit_divisor is not None or charge.free_pool is not None:
        return "converted units and pools of free units, which other usage may change, are not sold"
    if charge.dearest_of is not None:
        return "what is billed only if no other charge comes to more is not sold"
    if charge.free_events:
        return "a percentage with free events is not sold"
    try:
        cumulative_price(
            charge.price_model,
            [as_rated_tier(tier) for tier in rate.tiers],
            free_units=charge.free_units,
            package_size=charge.package_size,
            code=rate.currency,
        )
    except ValueError as error:
        return str(error)
    return None


def _charge_errors(
    path: str, charge: ChargeInput, item: BillableItem | None
) -> Iterator[FieldError]:
    if item is None:
        yield FieldError(f"{path}.item_code", f"there is no billable item {charge.item_code}")
    elif item.retired_at is not None:
        yield FieldError(f"{path}.item_code", f"the billable item {charge.item_code} is retired")
    yield from option_errors(path, charge, item)
    yield from period_errors(path, charge)
    if not set(charge.match_dimensions) <= set(DIMENSIONS):
        yield FieldError(f"{path}.match_dimensions", f"use only {', '.join(DIMENSIONS)}")
    if len(set(charge.match_dimensions)) < len(charge.match_dimensions):
        yield FieldError(f"{path}.match_dimensions", "name each dimension once")
    yield from _deck_errors(path, charge)
    for index, rate in enumerate(charge.rates):
        yield from _rate_errors(f"{path}.rates.{index}", charge, rate)
    yield from _ambiguities(path, charge.rates)


def _deck_errors(path: str, charge: ChargeInput) -> Iterator[FieldError]:
    """A deck prices units one by one, whatever their number, by dimensions of its own."""
    if charge.rate_deck is None:
        if not charge.rates:
            yield FieldError(f"{path}.rates", "give at least one rate, or a rate deck")
    elif charge.rates or charge.match_dimensions:
        yield FieldError(f"{path}.rates", "with a rate deck there are no other rates or dimensions")
    elif charge.price_model is not PriceModel.PER_UNIT or charge.free_units:
        yield FieldError(f"{path}.rate_deck", "a deck needs a per_unit price without free units")


def _rate_errors(path: str, charge: ChargeInput, rate: RateInput) -> Iterator[FieldError]:
    if rate.currency not in CURRENCIES:
        yield FieldError(f"{path}.currency", f"use one of {', '.join(sorted(CURRENCIES))}")
        return
    for dimension in sorted(set(rate.match) - set(charge.match_dimensions)):
        yield FieldError(f"{path}.match.{dimension}", "the charge does not match on this")
    yield from tier_errors(path, charge, rate)


def _ambiguities(path: str, rates: Sequence[RateInput]) -> Iterator[FieldError]:
    for second, first in equal_matches(rates).items():
        yield FieldError(
            f"{path}.rates.{second}.match",
            f"an event could match this and rate {first} equally well",
        )


def _overlaps(
    charges: Sequence[ChargeInput], items: Mapping[str, BillableItem]
) -> Iterator[FieldError]:
    """Usage charges that would bill one event twice."""
    for (first, one), (second, other) in combinations(enumerate(charges), 2):
        item, other_item = items.get(one.item_code), items.get(other.item_code)
        if item is not None and other_item is not None and count_the_same(item, other_item):
            yield FieldError(
                f"charges.{second}.item_code", f"charge {first} counts the same events"
            )


def count_the_same(item: BillableItem, other: BillableItem) -> bool:
    """Whether an event could be billed by both items; a wallet is debited once for an event.

    The most, the last or the different values of events are another thing than the events.
    """
    return (
        item.kind is ItemKind.USAGE
        and item.event_type == other.event_type
        and ADDITIVE.issuperset((item.aggregation, other.aggregation))
        and _could_share(item.event_filter, other.event_filter)
    )


def _could_share(one: Mapping[str, Sequence[str]], other: Mapping[str, Sequence[str]]) -> bool:
    return all(set(one[name]) & set(other[name]) for name in one.keys() & other.keys())


def _missing_currencies(charges: Sequence[ChargeInput]) -> Iterator[FieldError]:
    """A version is sold in a currency as a whole, or not at all."""
    wanted = {rate.currency for charge in charges for rate in charge.rates}
    for index, charge in enumerate(charges):
        missing = sorted(wanted - {rate.currency for rate in charge.rates})
        if missing and charge.rate_deck is None:
            yield FieldError(f"charges.{index}.rates", f"there is no rate in {', '.join(missing)}")
