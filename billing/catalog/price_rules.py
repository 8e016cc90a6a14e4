"""What each price model may have, and what it must."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final

from billing.catalog.requests import ChargeInput, RateInput, TierInput
from billing.catalog.tables import Aggregation, BillableItem, ItemKind, PriceModel, Timing
from billing.errors import FieldError
from billing.money import CURRENCIES
from billing.rating.measures import ADDITIVE, reads_events
from billing.rating.plan import PERIOD_MODELS, TIERED

_MODELS_OF: Final[Mapping[ItemKind, frozenset[PriceModel]]] = {
    ItemKind.RECURRING: frozenset({PriceModel.FLAT, PriceModel.COMMITMENT}),
    ItemKind.LICENCE: frozenset({PriceModel.LICENCE}),
    ItemKind.ONE_TIME: frozenset({PriceModel.ONE_TIME}),
}
WITHOUT_USAGE: Final = frozenset({*PERIOD_MODELS, PriceModel.COMMITMENT})
_ON_AMOUNTS: Final = frozenset({PriceModel.PERCENTAGE, PriceModel.DYNAMIC})
_WITH_PACKAGES: Final = frozenset({PriceModel.GRADUATED, PriceModel.VOLUME})
_FACTOR_DECIMALS: Final = 6
"""Of the part of an amount, and of what an amount is multiplied by."""


def option_errors(
    path: str, charge: ChargeInput, item: BillableItem | None
) -> Iterator[FieldError]:
    """What a charge has that its model does not, or lacks that it needs."""
    model = charge.price_model
    if item is not None and not _is_priced_by(item, model):
        yield FieldError(f"{path}.price_model", f"{model.value} does not price {item.kind.value}")
    if model in _ON_AMOUNTS and item is not None and item.aggregation is not Aggregation.SUM:
        yield FieldError(f"{path}.price_model", "its item must sum up amounts")
    if model is PriceModel.PERCENTAGE and item is not None and reads_events(item):
        yield FieldError(f"{path}.price_model", "a percentage is of the quantity of each event")
    if charge.rate_deck is not None and item is not None and item.aggregation not in ADDITIVE:
        yield FieldError(f"{path}.rate_deck", "a deck prices what is counted or summed up")
    if model in WITHOUT_USAGE:
        yield from _needs_usage(path, charge)
        if charge.prorated and model is PriceModel.ONE_TIME:
            yield FieldError(f"{path}.prorated", "a one-time price is never prorated")
        return
    if (model is PriceModel.PACKAGE) != bool(charge.package_size):
        yield FieldError(
            f"{path}.package_size", "a package price, and only it, has a size above zero"
        )
    if charge.prorated and not charge.limits:
        yield FieldError(f"{path}.prorated", "usage is never prorated, only its limits are")
    yield from _free_errors(path, charge)
    yield from _conversion_errors(path, charge)
    if charge.bills_zero:
        yield from _zero_errors(path, charge)
    yield from _limit_errors(path, charge)
    yield from _dearest_errors(path, charge)


def period_errors(path: str, charge: ChargeInput) -> Iterator[FieldError]:
    """What only prices per period have: to be billed in advance, and seats with tiers."""
    periods = {PriceModel.FLAT, PriceModel.LICENCE}
    if charge.timing is Timing.ADVANCE and charge.price_model not in periods:
        yield FieldError(f"{path}.timing", "only a flat price and a licence are billed in advance")
    if charge.tier_mode is not None and charge.price_model is not PriceModel.LICENCE:
        yield FieldError(f"{path}.tier_mode", "only the seats of a licence choose tiers by it")


def _is_priced_by(item: BillableItem, model: PriceModel) -> bool:
    allowed = _MODELS_OF.get(item.kind)
    return model in allowed if allowed else model not in WITHOUT_USAGE


def _needs_usage(path: str, charge: ChargeInput) -> Iterator[FieldError]:
    fresh = ChargeInput.model_fields
    for name in (
        "match_dimensions",
        "free_units",
        "free_pool",
        "dearest_of",
        "free_events",
        "unit_divisor",
        "unit_rounding",
        "bills_zero",
        "discount_percent",
        "limits",
        "package_size",
    ):
        if getattr(charge, name) != fresh[name].default:
            yield FieldError(f"{path}.{name}", f"a {charge.price_model.value} price has none")


def _free_errors(path: str, charge: ChargeInput) -> Iterator[FieldError]:
    is_percentage = charge.price_model is PriceModel.PERCENTAGE
    if charge.free_events and not is_percentage:
        yield FieldError(f"{path}.free_events", "only a percentage has free events; use free_units")
    if charge.free_pool is not None and (is_percentage or not charge.free_units):
        yield FieldError(f"{path}.free_pool", "a pool is of free units, and not of percentages")


def _conversion_errors(path: str, charge: ChargeInput) -> Iterator[FieldError]:
    if charge.unit_divisor is None:
        if charge.unit_rounding is not None:
            yield FieldError(f"{path}.unit_rounding", "only converted units are rounded")
    elif not charge.unit_divisor or charge.price_model in _ON_AMOUNTS:
        yield FieldError(f"{path}.unit_divisor", "above zero, and not for prices on amounts")


def _zero_errors(path: str, charge: ChargeInput) -> Iterator[FieldError]:
    if charge.price_model not in TIERED:
        yield FieldError(f"{path}.bills_zero", "only tiers have a flat amount for no units")
    for_all = {rate.currency for rate in charge.rates if not rate.match}
    if missing := sorted({rate.currency for rate in charge.rates} - for_all):
        yield FieldError(
            f"{path}.bills_zero", f"there is no rate for everything in {', '.join(missing)}"
        )


def _dearest_errors(path: str, charge: ChargeInput) -> Iterator[FieldError]:
    """What would bill or use up something although another charge is dearer."""
    if charge.dearest_of is None:
        return
    for index, limit in enumerate(charge.limits):
        if limit.minimum is not None:
            yield FieldError(
                f"{path}.limits.{index}.minimum", "what is left out for a dearer one has no minimum"
            )
    if charge.free_pool is not None:
        yield FieldError(
            f"{path}.free_pool", "what is left out for a dearer one takes no units of others"
        )


def _limit_errors(path: str, charge: ChargeInput) -> Iterator[FieldError]:
    priced = {rate.currency for rate in charge.rates}
    currencies = [limit.currency for limit in charge.limits]
    for index, limit in enumerate(charge.limits):
        here = f"{path}.limits.{index}"
        known = CURRENCIES.get(limit.currency)
        if known is None or limit.currency not in priced:
            yield FieldError(f"{here}.currency", "use a currency of the charge's rates")
            continue
        if currencies.index(limit.currency) != index:
            yield FieldError(f"{here}.currency", "limit each currency once")
        amounts = [amount for amount in (limit.minimum, limit.maximum) if amount is not None]
        if not amounts or sorted(amounts) != amounts:
            yield FieldError(here, "give a minimum, or a maximum not below it, or both")
        if any(decimals(amount) > known.minor_exponent for amount in amounts):
            yield FieldError(here, f"{limit.currency} has {known.minor_exponent} decimals")


def tier_errors(path: str, charge: ChargeInput, rate: RateInput) -> Iterator[FieldError]:
    """What is wrong with the tiers of a rate whose currency is known."""
    exponent = CURRENCIES[rate.currency].wallet_exponent
    for index, tier in enumerate(rate.tiers):
        here = f"{path}.tiers.{index}"
        for name in ("unit_price", "flat_amount", "event_minimum", "event_maximum"):
            is_factor = name == "unit_price" and charge.price_model in _ON_AMOUNTS
            most = _FACTOR_DECIMALS if is_factor else exponent
            if decimals(getattr(tier, name) or Decimal(0)) > most:
                yield FieldError(
                    f"{here}.{name}", f"{rate.currency} prices have at most {most} decimals"
                )
        yield from _parts_errors(here, charge, tier)
    if charge.price_model not in TIERED and charge.tier_mode is None:
        if len(rate.tiers) != 1 or rate.tiers[0].up_to is not None:
            yield FieldError(
                f"{path}.tiers", f"a {charge.price_model.value} price has one open tier"
            )
        return
    yield from _bound_errors(path, rate.tiers)


def _parts_errors(path: str, charge: ChargeInput, tier: TierInput) -> Iterator[FieldError]:
    model = charge.price_model
    if tier.unit_price and model in WITHOUT_USAGE and charge.tier_mode is None:
        yield FieldError(f"{path}.unit_price", f"a {model.value} price has no unit price")
    if tier.unit_price and model is PriceModel.STAIRSTEP:
        yield FieldError(f"{path}.unit_price", "a stairstep has flat amounts alone")
    if tier.flat_amount and model in {
        PriceModel.PER_UNIT,
        PriceModel.PACKAGE,
        PriceModel.DYNAMIC,
    }:
        yield FieldError(f"{path}.flat_amount", "a unit price has no flat amount")
    if tier.package_size is not None and (model not in _WITH_PACKAGES or not tier.package_size):
        yield FieldError(f"{path}.package_size", "graduated and volume tiers have one above zero")
    bounds = [bound for bound in (tier.event_minimum, tier.event_maximum) if bound is not None]
    if bounds and model is not PriceModel.PERCENTAGE:
        yield FieldError(f"{path}.event_minimum", "only a percentage has bounds for an event")
    if sorted(bounds) != bounds:
        yield FieldError(f"{path}.event_maximum", "not below the minimum")
    if model is PriceModel.PERCENTAGE and tier.unit_price > 1:
        yield FieldError(f"{path}.unit_price", "the part of an amount: 0.029 is 2.9 %")


def _bound_errors(path: str, tiers: Sequence[TierInput]) -> Iterator[FieldError]:
    bounds = [tier.up_to for tier in tiers]
    if bounds[-1] is not None or None in bounds[:-1]:
        yield FieldError(f"{path}.tiers", "the last tier, and only it, is open")
        return
    closed = [bound for bound in bounds if bound is not None]
    if closed and (closed[0] <= 0 or sorted(set(closed)) != closed):
        yield FieldError(f"{path}.tiers", "the bounds rise from above zero")


def shared_errors(charges: Sequence[ChargeInput]) -> Iterator[FieldError]:
    """What charges of one version may not have together."""
    pools: dict[str, Decimal] = {}
    groups = Counter(charge.dearest_of for charge in charges)
    committed = False
    for index, charge in enumerate(charges):
        if charge.price_model is PriceModel.COMMITMENT:
            if committed:
                yield FieldError(f"charges.{index}.price_model", "a version has one commitment")
            committed = True
        if charge.dearest_of is not None and groups[charge.dearest_of] == 1:
            yield FieldError(
                f"charges.{index}.dearest_of", f"no other charge is of {charge.dearest_of}"
            )
        if charge.free_pool is not None:
            units = pools.setdefault(charge.free_pool, charge.free_units)
            if units != charge.free_units:
                yield FieldError(
                    f"charges.{index}.free_units", f"pool {charge.free_pool} has {units} free units"
                )


def decimals(number: Decimal) -> int:
    """How many decimals a number needs."""
    exponent = number.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0
