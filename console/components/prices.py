"""Prices in words: what a charge bills, for which usage, and what changes between versions."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from billing.catalog.diff import Change
from billing.catalog.tables import Charge, PlanVersion, PriceModel, Rate, RateTier, TierMode, Timing
from billing.formatting import format_quantity, format_rate
from billing.periods import Interval
from console.components.countries import country_name
from console.components.money import unit_price
from console.components.status import words

PERIODS: Final = {
    Interval.WEEK: "week",
    Interval.MONTH: "month",
    Interval.QUARTER: "quarter",
    Interval.HALF_YEAR: "half-year",
    Interval.YEAR: "year",
}
_WHOLE_TIER: Final = frozenset({PriceModel.VOLUME, PriceModel.STAIRSTEP})
_IN_TIERS: Final = _WHOLE_TIER | {PriceModel.GRADUATED}


def matched(match: Mapping[str, str]) -> str:
    """Which usage a rate is for."""
    said = []
    for name, value in sorted(match.items(), key=lambda one: (one[0] != "country", one[0])):
        if name == "country":
            said.append(country_name(value))
        elif name in {"channel", "status"}:
            said.append(words(value))
        else:
            said.append(f"{words(name).lower()} {value}")
    return ", ".join(said)


def charge_rows(version: PlanVersion) -> list[tuple[str, str, str | None, str, str]]:
    """For each rate of each charge: the charge, what it is for, its currency, its price, and what
    else is agreed.

    Args:
        version: with its charges loaded.
    """
    period = PERIODS[version.interval]
    rows: list[tuple[str, str, str | None, str, str]] = []
    for charge in version.charges:
        said = conditions(charge)
        if charge.rate_deck is not None:
            deck = f"Prices of the rate deck {charge.rate_deck.name}"
            rows.append((charge.name, "All", None, deck, said))
        rest = "All other usage" if any(rate.match for rate in charge.rates) else "All"
        for at, rate in enumerate(sorted(charge.rates, key=_order)):
            price = price_of(charge, rate, period)
            whose = matched(rate.match) or rest
            rows.append((charge.name, whose, rate.currency, price, "" if at else said))
    return rows


def _order(rate: Rate) -> tuple[str, int, str]:
    return rate.currency, -len(rate.match), str(sorted(rate.match.items()))


def price_of(charge: Charge, rate: Rate, period: str) -> str:
    """What a rate bills, as a sentence without its full stop.

    Args:
        period: of the version, such as month.
    """
    code, first = rate.currency, rate.tiers[0]
    fee, price = unit_price(first.flat_amount, code), unit_price(first.unit_price, code)
    unit = charge.item.unit
    seats = charge.price_model is PriceModel.LICENCE
    if not (seats and charge.tier_mode is not None) and charge.price_model not in _IN_TIERS:
        packed = f"{_number(charge.package_size or Decimal(1))} {unit}s"
        return {
            PriceModel.FLAT: f"{fee} a {period}",
            PriceModel.ONE_TIME: f"{fee} once",
            PriceModel.COMMITMENT: f"At least {fee} a {period}, in all",
            PriceModel.PER_UNIT: f"{price} per {unit}",
            PriceModel.DYNAMIC: f"{_number(first.unit_price)} × the amount that each event says",
            PriceModel.PERCENTAGE: _percentage(first, code),
            PriceModel.PACKAGE: f"{price} for each {packed} begun",
            PriceModel.LICENCE: f"{fee} per {unit} and {period}",
        }[charge.price_model]
    said = tiers_of(rate.tiers, code, f"{unit} and {period}" if seats else unit)
    whole = charge.price_model in _WHOLE_TIER or charge.tier_mode is TierMode.VOLUME
    return f"{said} (the tier that holds all prices all)" if whole and len(rate.tiers) > 1 else said


def tiers_of(tiers: Sequence[RateTier], code: str, each: str) -> str:
    """Tiers one after the other: up to where, and at which price."""
    if len(tiers) == 1:
        return _tier(tiers[0], code, each)
    said = []
    for tier in tiers:
        bound = "above" if tier.up_to is None else f"up to {format_quantity(tier.up_to, code)}"
        said.append(f"{bound}: {_tier(tier, code, each)}")
    joined = "; ".join(said)
    return joined[0].upper() + joined[1:]


def _tier(tier: RateTier, code: str, each: str) -> str:
    size = "" if tier.package_size is None else f"{format_quantity(tier.package_size, code)} "
    parts = []
    if tier.unit_price or not tier.flat_amount:
        parts.append(f"{unit_price(tier.unit_price, code)} per {size}{each}")
    if tier.flat_amount:
        parts.append(unit_price(tier.flat_amount, code))
    return " and ".join(parts)


def _percentage(tier: RateTier, code: str) -> str:
    said = f"{format_rate(tier.unit_price * 100)} of each amount"
    if tier.flat_amount:
        said += f" and {unit_price(tier.flat_amount, code)} for each event"
    if tier.event_minimum is not None:
        said += f", at least {unit_price(tier.event_minimum, code)}"
    if tier.event_maximum is not None:
        said += f", at most {unit_price(tier.event_maximum, code)}"
    return said


def conditions(charge: Charge) -> str:
    """What is agreed besides the price."""
    unit = charge.item.unit
    free = "of the amount" if charge.price_model is PriceModel.PERCENTAGE else f"{unit}s"
    counted = _number(charge.unit_divisor or Decimal(1))
    rounding = charge.unit_rounding.value.replace("_", " ") if charge.unit_rounding else ""
    limits = [
        f"{word} {unit_price(amount, limit.currency)}"
        for limit in charge.limits
        for word, amount in (("at least", limit.minimum), ("at most", limit.maximum))
        if amount is not None
    ]
    every = (
        (charge.free_units, f"{_number(charge.free_units)} {free} free"),
        (charge.free_events, f"{charge.free_events} events free"),
        (charge.free_pool, f"free units shared as “{charge.free_pool}”"),
        (charge.unit_divisor, f"counted in {counted}s {rounding}".strip()),
        (charge.discount_percent, f"{format_rate(charge.discount_percent)} off"),
        (limits, ", ".join(limits)),
        (charge.dearest_of, f"only the dearest of “{charge.dearest_of}”"),
        (charge.timing is Timing.ADVANCE, "in advance"),
        (charge.prorated, "by days"),
        (charge.bills_zero, "also without usage"),
    )
    said = ", ".join(text for holds, text in every if holds)
    return said[:1].upper() + said[1:]


_CHARGE: Final = re.compile(r"charges\.(?P<charge>[^.]+)\.(?P<rest>.+)")
_RATE: Final = re.compile(
    r"rates\.(?P<code>[A-Z]{3})\[(?P<match>[^]]*)\]\.tiers\.(?P<tier>\d+)\.(?P<what>.+)"
)
_PRICES: Final = {"unit_price", "flat_amount", "event_minimum", "event_maximum"}


def change_rows(
    changes: Sequence[Change],
) -> list[tuple[str, str, str | None, str | None]]:
    """The differences between two versions: of what, which, before and after.

    A charge that is new or gone is one row, and so is a rate.
    """
    whole = {
        (found["charge"], one.kind)
        for one in changes
        if (found := _CHARGE.fullmatch(one.path))
        and found["rest"] == "item"
        and one.kind != "changed"
    }
    rows: dict[tuple[str, str], tuple[str, str, str | None, str | None]] = {}
    for one in changes:
        charge = _CHARGE.fullmatch(one.path)
        if charge is None:
            rows[one.path, ""] = ("Terms", words(one.path), _said(one.before), _said(one.after))
        elif (charge["charge"], one.kind) in whole:
            new = one.kind == "added"
            states = (None, "New charge") if new else ("Charge", "Left out")
            rows[charge["charge"], ""] = (words(charge["charge"]), "The whole charge", *states)
        else:
            which, before, after = _within(charge["rest"], one)
            rows[one.path, which] = (words(charge["charge"]), which, before, after)
    return list(rows.values())


def _within(rest: str, change: Change) -> tuple[str, str | None, str | None]:
    rate = _RATE.fullmatch(rest)
    if rate is None:
        *place, what = rest.removeprefix("limits.").split(".")
        which = ", ".join([*place, words(what).lower() if place else words(what)])
        return which, _said(change.before), _said(change.after)
    pairs = [part.split("=", 1) for part in rate["match"].split(",") if part]
    where = matched({name: value for name, value in pairs})  # noqa: C416
    where = f"{where}, {rate['code']}" if where else rate["code"]
    tier = "" if rate["tier"] == "1" and rate["what"] != "up_to" else f", tier {rate['tier']}"
    which = f"{where}{tier}: {words(rate['what']).lower()}"
    if rate["what"] not in _PRICES:
        return which, _said(change.before), _said(change.after)
    before, after = (
        None if value is None else unit_price(Decimal(value), rate["code"])
        for value in (change.before, change.after)
    )
    return which, before, after


def _said(value: str | None) -> str | None:
    if value is None or value == "none":
        return None
    return {"true": "Yes", "false": "No"}.get(value, words(value))


def _number(number: Decimal) -> str:
    return format_quantity(number, "USD")
