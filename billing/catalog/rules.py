"""What a set of charges must satisfy to be sold, and to be sold prepaid.

Everything wrong is reported at once, each with the path of its field.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from billing.catalog.price_rules import (
    WITHOUT_USAGE,
    option_errors,
    shared_errors,
    tier_errors,
)
from billing.catalog.rated import as_rated_tier
from billing.catalog.requests import ChargeInput, RateInput
from billing.catalog.tables import BillableItem, Charge, ItemKind, PriceModel, Rate
from billing.errors import FieldError
from billing.money import CURRENCIES
from billing.rating.cumulative import cumulative_price
from billing.rating.match import DIMENSIONS


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

    They can if integers say exactly what every count of a period costs, or, for a percentage, if
    each event has its price. Discounts, limits and commitments come with the true-up at the end of
    the period.
    """
    refused = []
    for charge in charges:
        if charge.price_model in WITHOUT_USAGE:
            continue
        reasons = {reason for rate in charge.rates if (reason := _not_exact(charge, rate))}
        refused += [
            FieldError(f"charges.{charge.code}", f"for a prepaid account, {reason}")
            for reason in sorted(reasons)
        ]
    return refused


def _not_exact(charge: Charge, rate: Rate) -> str | None:
    if charge.unit_divisor is not None or charge.free_pool is not None:
        return "converted units and pools of free units, which other usage may change, are not sold"
    if charge.price_model is PriceModel.PERCENTAGE:
        is_free = charge.free_units or charge.free_events
        return "a percentage with free amounts or events is not sold" if is_free else None
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
    yield from option_errors(path, charge, item)
    if not set(charge.match_dimensions) <= set(DIMENSIONS):
        yield FieldError(f"{path}.match_dimensions", f"use only {', '.join(DIMENSIONS)}")
    if len(set(charge.match_dimensions)) < len(charge.match_dimensions):
        yield FieldError(f"{path}.match_dimensions", "name each dimension once")
    for index, rate in enumerate(charge.rates):
        yield from _rate_errors(f"{path}.rates.{index}", charge, rate)
    yield from _ambiguities(path, charge.rates)


def _rate_errors(path: str, charge: ChargeInput, rate: RateInput) -> Iterator[FieldError]:
    if rate.currency not in CURRENCIES:
        yield FieldError(f"{path}.currency", f"use one of {', '.join(sorted(CURRENCIES))}")
        return
    for dimension in sorted(set(rate.match) - set(charge.match_dimensions)):
        yield FieldError(f"{path}.match.{dimension}", "the charge does not match on this")
    yield from tier_errors(path, charge, rate)


def _ambiguities(path: str, rates: Sequence[RateInput]) -> Iterator[FieldError]:
    """Rates that one event could match equally well: as many dimensions, and none that differs.

    Compared by groups of rates that name the same dimensions, not pair by pair, so that a long
    list costs no more than its length.
    """
    groups: dict[tuple[str, frozenset[str]], list[int]] = {}
    for index, rate in enumerate(rates):
        groups.setdefault((rate.currency, frozenset(rate.match)), []).append(index)
    found: dict[int, int] = {}
    for names, members in groups.items():
        for other_names, others in groups.items():
            if names[0] == other_names[0] and len(names[1]) == len(other_names[1]):
                shared = sorted(names[1] & other_names[1])
                _note_equals(rates, (members, others), shared, found)
    for second, first in sorted(found.items()):
        yield FieldError(
            f"{path}.rates.{second}.match",
            f"an event could match this and rate {first} equally well",
        )


def _note_equals(
    rates: Sequence[RateInput],
    groups: tuple[Sequence[int], Sequence[int]],
    shared: Sequence[str],
    found: dict[int, int],
) -> None:
    """Note each rate of the second group that equals an earlier one of the first where it can."""
    first_with: dict[tuple[str, ...], int] = {}
    for index in groups[0]:
        first_with.setdefault(tuple(rates[index].match[name] for name in shared), index)
    for index in groups[1]:
        earlier = first_with.get(tuple(rates[index].match[name] for name in shared))
        if earlier is not None and earlier < index:
            found.setdefault(index, earlier)


def _overlaps(
    charges: Sequence[ChargeInput], items: Mapping[str, BillableItem]
) -> Iterator[FieldError]:
    """Usage charges that would count one event twice; a wallet is debited once for an event."""
    for (first, one), (second, other) in combinations(enumerate(charges), 2):
        item, other_item = items.get(one.item_code), items.get(other.item_code)
        if item is None or other_item is None or item.kind is not ItemKind.USAGE:
            continue
        if item.event_type == other_item.event_type and _could_share(
            item.event_filter, other_item.event_filter
        ):
            yield FieldError(
                f"charges.{second}.item_code", f"charge {first} counts the same events"
            )


def _could_share(one: Mapping[str, Sequence[str]], other: Mapping[str, Sequence[str]]) -> bool:
    return all(set(one[name]) & set(other[name]) for name in one.keys() & other.keys())


def _missing_currencies(charges: Sequence[ChargeInput]) -> Iterator[FieldError]:
    """A version is sold in a currency as a whole, or not at all."""
    wanted = {rate.currency for charge in charges for rate in charge.rates}
    for index, charge in enumerate(charges):
        if missing := sorted(wanted - {rate.currency for rate in charge.rates}):
            yield FieldError(f"charges.{index}.rates", f"there is no rate in {', '.join(missing)}")
