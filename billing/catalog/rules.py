"""What a set of charges must satisfy to be sold, and to be sold prepaid.

Everything wrong is reported at once, each with the path of its field.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import combinations

from billing.catalog.requests import ChargeInput, RateInput, TierInput
from billing.catalog.tables import BillableItem, Charge, ItemKind, PriceModel
from billing.errors import FieldError
from billing.money import CURRENCIES
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
    return errors


def refused_prepaid(charges: Sequence[Charge]) -> list[FieldError]:
    """Why these charges cannot be debited event by event; empty if they can.

    A price that depends on what else was used in the period is known only at its end.
    """
    return [
        FieldError(
            f"charges.{charge.code}",
            "a prepaid account needs per-unit usage prices without free units",
        )
        for charge in charges
        if charge.price_model is not PriceModel.FLAT
        and (charge.price_model is not PriceModel.PER_UNIT or charge.free_units)
    ]


def are_ambiguous(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether an event could match both of two rates equally well."""
    if len(one) != len(other):
        return False
    return all(other.get(name, value) == value for name, value in one.items())


def _charge_errors(
    path: str, charge: ChargeInput, item: BillableItem | None
) -> Iterator[FieldError]:
    if item is None:
        yield FieldError(f"{path}.item_code", f"there is no billable item {charge.item_code}")
    elif (item.kind is ItemKind.USAGE) == (charge.price_model is PriceModel.FLAT):
        yield FieldError(
            f"{path}.price_model", f"{charge.price_model.value} does not price {item.kind.value}"
        )
    if charge.price_model is PriceModel.FLAT and (charge.match_dimensions or charge.free_units):
        yield FieldError(path, "a flat charge has neither dimensions nor free units")
    if charge.prorated and charge.price_model is not PriceModel.FLAT:
        yield FieldError(f"{path}.prorated", "usage is never prorated")
    for dimension in charge.match_dimensions:
        if dimension not in DIMENSIONS:
            yield FieldError(f"{path}.match_dimensions", f"use only {', '.join(DIMENSIONS)}")
    for index, rate in enumerate(charge.rates):
        yield from _rate_errors(f"{path}.rates.{index}", charge, rate)
    yield from _ambiguities(path, charge.rates)


def _rate_errors(path: str, charge: ChargeInput, rate: RateInput) -> Iterator[FieldError]:
    known = CURRENCIES.get(rate.currency)
    if known is None:
        yield FieldError(f"{path}.currency", f"use one of {', '.join(sorted(CURRENCIES))}")
        return
    for dimension in sorted(set(rate.match) - set(charge.match_dimensions)):
        yield FieldError(f"{path}.match.{dimension}", "the charge does not match on this")
    for index, tier in enumerate(rate.tiers):
        tier_path = f"{path}.tiers.{index}"
        for name in ("unit_price", "flat_amount"):
            if _decimals(getattr(tier, name)) > known.wallet_exponent:
                yield FieldError(
                    f"{tier_path}.{name}",
                    f"{rate.currency} prices have at most {known.wallet_exponent} decimals",
                )
    yield from _tier_errors(path, charge.price_model, rate.tiers)


def _tier_errors(path: str, model: PriceModel, tiers: Sequence[TierInput]) -> Iterator[FieldError]:
    if model is not PriceModel.GRADUATED:
        if len(tiers) != 1 or tiers[0].up_to is not None:
            yield FieldError(f"{path}.tiers", f"a {model.value} price has one open tier")
        if model is PriceModel.FLAT and tiers[0].unit_price:
            yield FieldError(f"{path}.tiers.0.unit_price", "a flat price has no unit price")
        if model is PriceModel.PER_UNIT and tiers[0].flat_amount:
            yield FieldError(f"{path}.tiers.0.flat_amount", "a unit price has no flat amount")
        return
    bounds = [tier.up_to for tier in tiers]
    if bounds[-1] is not None or None in bounds[:-1]:
        yield FieldError(f"{path}.tiers", "the last tier, and only it, is open")
        return
    closed = [bound for bound in bounds if bound is not None]
    if closed and (closed[0] <= 0 or sorted(set(closed)) != closed):
        yield FieldError(f"{path}.tiers", "the bounds rise from above zero")


def _ambiguities(path: str, rates: Sequence[RateInput]) -> Iterator[FieldError]:
    for (first, one), (second, other) in combinations(enumerate(rates), 2):
        if one.currency == other.currency and are_ambiguous(one.match, other.match):
            yield FieldError(
                f"{path}.rates.{second}.match",
                f"an event could match this and rate {first} equally well",
            )


def _decimals(number: Decimal) -> int:
    exponent = number.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0
