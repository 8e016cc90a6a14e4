"""The order of rating, written once; the SQL models `int_rating__*` follow the same steps.

1. select usage: the segment's days, the item's event type and filter
2. aggregate per segment and rate: the rate that matches most exactly
3. take free units, once per period and rate, earliest segment first
4. price: flat, per unit, by tiers (graduated, volume, stairstep) or by packages
5. round the line, once
"""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from uuid import UUID

from billing.money import to_minor
from billing.periods import Period, add_months
from billing.rating.adjustments.free_units import free_units_taken
from billing.rating.book import RateBook
from billing.rating.line import (
    RatedLine,
    UnratedUsage,
    breakdown_entry,
    describe,
    line_ref,
    stored_amount,
)
from billing.rating.match import counts
from billing.rating.plan import (
    FLAT,
    GRADUATED,
    PER_UNIT,
    STAIRSTEP,
    SUM,
    VOLUME,
    Charge,
    Rate,
    Segment,
    Tier,
    UsageRow,
)
from billing.rating.prices.flat import flat_amount
from billing.rating.prices.graduated import TierShare, graduated_shares, total
from billing.rating.prices.package import package_amount
from billing.rating.prices.per_unit import per_unit_amount
from billing.rating.prices.volume import volume_shares

_PREVIEW_SUBSCRIPTION = UUID(int=0)
_PREVIEW_DAY = date(2026, 1, 1)


@dataclass(frozen=True, slots=True)
class Rating:
    """What a period bills, and what it could not price."""

    lines: tuple[RatedLine, ...]
    unrated: tuple[UnratedUsage, ...]


@dataclass(frozen=True, slots=True)
class _Frame:
    """One subscription's period, in the currency of its account."""

    subscription_id: UUID
    period: Period
    full_days: int
    currency: str


@dataclass(slots=True)
class _Measured:
    """Units and events of one rate in one segment."""

    rate: Rate
    quantity: Decimal = Decimal(0)
    event_count: int = 0


def full_period(starts_on: date, anchor_day: int) -> Period:
    """The whole month, from anchor to anchor, that a period starting on that day is (a part) of."""
    first = starts_on.replace(day=1)
    anchor = add_months(first, 0, anchor_day)
    if anchor <= starts_on:
        return Period(anchor, add_months(first, 1, anchor_day))
    return Period(add_months(first, -1, anchor_day), anchor)


def rate_period(
    subscription_id: UUID,
    period: Period,
    segments: Sequence[Segment],
    usage: Sequence[UsageRow],
    *,
    currency: str,
    anchor_day: int = 1,
) -> Rating:
    """Rate one billing period of one subscription.

    Args:
        segments: of that subscription, not overlapping, in any order.
        usage: the account's usage of the latest revisions, by local day.
        currency: of the account; rates in others do not exist for it.
        anchor_day: day of the month on which full periods begin.
    """
    full_days = full_period(period.start, anchor_day).days
    frame = _Frame(subscription_id, period, full_days, currency)
    lines: list[RatedLine] = []
    unrated: list[UnratedUsage] = []
    used: dict[Hashable, Decimal] = {}
    for segment in sorted(segments, key=lambda one: one.starts_on):
        covered = segment.within(period)
        if covered is None:
            continue
        for charge in segment.charges:
            if charge.price_model == FLAT:
                line, missing = _flat_line(frame, segment, covered, charge)
                lines.extend(line)
                unrated.extend(missing)
                continue
            measured, missed = _measure(charge, covered, usage, currency)
            unrated.extend(missed)
            for amount in measured:
                key = (charge.id or id(charge), amount.rate.key)
                before = used.get(key, Decimal(0))
                used[key] = before + amount.quantity
                lines.append(_usage_line(frame, covered, charge, amount, before))
    return Rating(tuple(sorted(lines, key=lambda line: line.line_ref)), tuple(unrated))


def preview(
    charge: Charge,
    usage: Sequence[UsageRow],
    *,
    currency: str = "INR",
    quantity: Decimal | int = 1,
) -> Rating:
    """What a charge would bill for the usage of one full calendar month.

    Args:
        usage: rows whose days are all in one month.
        quantity: seats, for flat charges.
    """
    first = min((row.day for row in usage), default=_PREVIEW_DAY).replace(day=1)
    period = Period(first, add_months(first, 1))
    segment = Segment(period.start, period.end, (charge,), Decimal(quantity))
    return rate_period(_PREVIEW_SUBSCRIPTION, period, [segment], usage, currency=currency)


def _measure(
    charge: Charge, days: Period, usage: Sequence[UsageRow], currency: str
) -> tuple[list[_Measured], list[UnratedUsage]]:
    """Steps 1 and 2: what each rate measures, and what no rate matches."""
    measured: dict[str, _Measured] = {}
    missed = []
    for row, rate in counted_usage(charge, days, usage, currency):
        units = row.quantity if charge.aggregation == SUM else Decimal(row.event_count)
        if rate is None:
            missed.append(
                UnratedUsage(charge.code, row.event_type, row.dimensions, row.event_count, units)
            )
            continue
        sums = measured.setdefault(rate.key, _Measured(rate))
        sums.quantity += units
        sums.event_count += row.event_count
    return list(measured.values()), missed


def counted_usage(
    charge: Charge, days: Period, usage: Iterable[UsageRow], currency: str
) -> Iterator[tuple[UsageRow, Rate | None]]:
    """The usage that a charge counts on some days, each row with the rate that it falls under."""
    rates = RateBook(charge.rates, currency)
    for row in usage:
        wanted = row.event_type == charge.event_type and row.day in days
        if wanted and counts(charge.event_filter, row.dimensions):
            yield row, rates.find(row.day, row.dimensions)


def _usage_line(
    frame: _Frame, covered: Period, charge: Charge, measured: _Measured, used_before: Decimal
) -> RatedLine:
    """Steps 3 to 5 for one rate."""
    rate = measured.rate
    free = free_units_taken(charge.free_units, used_before, measured.quantity)
    units = measured.quantity - free
    shares = tier_shares(charge, rate, units)
    amount = total(shares)
    return RatedLine(
        line_ref=line_ref(
            frame.subscription_id, frame.period.start, covered.start, charge.code, rate.key
        ),
        charge_code=charge.code,
        rate_id=rate.id,
        item_code=charge.item_code,
        sac=charge.sac,
        description=describe(charge.name, rate.match, covered=covered, period=frame.period),
        period=frame.period,
        covered=covered,
        quantity=measured.quantity,
        free_quantity=free,
        event_count=measured.event_count,
        unit=charge.unit,
        unit_price=rate.tiers[0].unit_price if charge.price_model == PER_UNIT else None,
        currency=frame.currency,
        amount=stored_amount(amount),
        amount_minor=to_minor(amount, frame.currency),
        is_recurring=False,
        tier_breakdown=tuple(breakdown_entry(share) for share in shares),
    )


def tier_shares(charge: Charge, rate: Rate, units: Decimal) -> list[TierShare]:
    """Step 4 for usage: what every tier entered comes to.

    Args:
        units: those to pay, the free ones taken away.
    """
    if charge.price_model == GRADUATED:
        return graduated_shares(units, rate.tiers)
    if charge.price_model in {VOLUME, STAIRSTEP}:
        return volume_shares(units, rate.tiers)
    if charge.package_size is not None:
        return _packages(units, rate.tiers[0], charge.package_size)
    return _single_share(units, rate.tiers[0])


def _single_share(units: Decimal, tier: Tier) -> list[TierShare]:
    """A per-unit price seen as one open tier without a flat amount; none for zero units."""
    if not units:
        return []
    amount = per_unit_amount(units, tier.unit_price)
    return [TierShare(Decimal(0), None, units, tier.unit_price, Decimal(0), amount)]


def _packages(units: Decimal, tier: Tier, size: Decimal) -> list[TierShare]:
    """The packages begun; none for zero units."""
    if not units:
        return []
    amount = package_amount(units, size, tier.unit_price)
    return [TierShare(Decimal(0), None, units, tier.unit_price, Decimal(0), amount, size)]


def _flat_line(
    frame: _Frame, segment: Segment, covered: Period, charge: Charge
) -> tuple[list[RatedLine], list[UnratedUsage]]:
    """Steps 4 and 5 for a price per period.

    Prorated, each segment bills its days of a full period. Otherwise the full price is billed
    once, by the segment that the period opens with.
    """
    if not charge.prorated and covered.start != frame.period.start:
        return [], []
    rates = RateBook(charge.rates, frame.currency)
    if charge.prorated:
        parts = [(rate, (days, frame.full_days)) for rate, days in rates.days_by_rate(covered)]
    else:
        parts = [(rates.find(covered.start, {}), (1, 1))]
    lines = [
        _flat_part(frame, segment, covered, charge, rate, days)
        for rate, days in parts
        if rate is not None
    ]
    unrated = [UnratedUsage(charge.code, charge.code, {}, 0, segment.quantity)]
    return lines, [] if len(lines) == len(parts) else unrated


def _flat_part(
    frame: _Frame,
    segment: Segment,
    covered: Period,
    charge: Charge,
    rate: Rate,
    days: tuple[int, int],
) -> RatedLine:
    """What one rate bills for the days of the segment on which it is in force."""
    price = rate.tiers[0].flat_amount
    amount = flat_amount(price, segment.quantity, covered_days=days[0], full_days=days[1])
    return RatedLine(
        line_ref=line_ref(
            frame.subscription_id, frame.period.start, covered.start, charge.code, rate.key
        ),
        charge_code=charge.code,
        rate_id=rate.id,
        item_code=charge.item_code,
        sac=charge.sac,
        description=describe(
            charge.name, rate.match, covered=covered, period=frame.period, part=days
        ),
        period=frame.period,
        covered=covered,
        quantity=segment.quantity,
        free_quantity=Decimal(0),
        event_count=0,
        unit=charge.unit,
        unit_price=price,
        currency=frame.currency,
        amount=stored_amount(amount),
        amount_minor=to_minor(amount, frame.currency),
        is_recurring=True,
        tier_breakdown=(),
    )
