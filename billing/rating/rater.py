"""The order of rating, written once; the SQL models `int_rating__*` follow the same steps.

1. select usage: the segment's days, the item's event type and filter
2. aggregate per segment and rate: the rate that matches most exactly, what `measures` reads
3. convert what was measured to the charge's units: steps 1 to 3 are in `counting`
4. take free units, once per period and rate or pool, earliest segment first
5. price: per period, per unit, by tiers, by packages, or each event by itself
6. discount, maximum, the dearest of a group, minimum, the plan's commitment: see `limits`
7. round the line, once
8. what charges in advance billed before, and bill for the next period: see `ahead`; in between,
   what a coupon takes off: see `coupon`
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from uuid import UUID

from billing.money import to_minor
from billing.periods import Period, add_months
from billing.rating.adjustments.free_units import FreeUnits
from billing.rating.ahead import NOTHING_AHEAD, Ahead, lines_ahead, settled
from billing.rating.counting import Measured, measure
from billing.rating.coupon import Coupon
from billing.rating.limits import Frame, billed_charges, within_limits
from billing.rating.line import (
    RatedLine,
    UnratedUsage,
    breakdown_entry,
    describe,
    line_ref,
    percentage_entries,
    stored_amount,
    sum_of,
)
from billing.rating.plan import (
    COMMITMENT,
    DYNAMIC,
    GRADUATED,
    PER_UNIT,
    PERCENTAGE,
    PERIOD_MODELS,
    STAIRSTEP,
    VOLUME,
    Charge,
    Rate,
    Segment,
    Tier,
    UsageRow,
)
from billing.rating.prices.graduated import TierShare, graduated_shares, tier_share
from billing.rating.prices.package import package_amount
from billing.rating.prices.per_unit import per_unit_amount
from billing.rating.prices.percentage import Percentage, percentage_of
from billing.rating.prices.volume import volume_shares
from billing.rating.recurring import places_in, recurring_lines

_PREVIEW_SUBSCRIPTION = UUID(int=0)
_PREVIEW_DAY = date(2026, 1, 1)


@dataclass(frozen=True, slots=True)
class Rating:
    """What a period bills, and what it could not price."""

    lines: tuple[RatedLine, ...]
    unrated: tuple[UnratedUsage, ...]


@dataclass(frozen=True, slots=True)
class _Free:
    """One rate in one segment, with what of it is free."""

    covered: Period
    charge: Charge
    measured: Measured
    units: Decimal
    """Free units."""
    percentage: Percentage | None = None

    @property
    def billed(self) -> Decimal:
        """Units to pay."""
        return self.measured.quantity - self.units


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
    subscribed_on: date | None = None,
    full_days: int | None = None,
    whole: Period | None = None,
    ahead: Ahead = NOTHING_AHEAD,
    coupon: Coupon | None = None,
) -> Rating:
    """Rate one billing period of one subscription.

    Args:
        segments: of that subscription, not overlapping, in any order.
        usage: the account's usage of the latest revisions, by local day.
        currency: of the account; rates in others do not exist for it.
        anchor_day: day of the month on which full periods begin.
        subscribed_on: the subscription's first day, on which one-time prices are billed; that of
            the earliest segment if not given.
        full_days: days of a full period, if they are not those from anchor to anchor.
        whole: the whole period that it is part of, if that is not a month from anchor to anchor.
        ahead: the period that charges in advance bill with this one, and what was billed before.
        coupon: what makes the period's invoice smaller, if anything does.
    """
    if full_days is not None:
        whole = period
    whole = whole or full_period(period.start, anchor_day)
    first = min((segment.starts_on for segment in segments), default=period.start)
    frame = Frame(
        subscription_id,
        period,
        full_days or whole.days,
        currency,
        subscribed_on or first,
        whole,
    )
    places = places_in(period, segments)
    recurring = [one for one in places if one.charge.price_model in PERIOD_MODELS]
    lines, unrated = recurring_lines(frame, recurring)
    used: list[_Free] = []
    free = FreeUnits()
    for segment, covered, charge in places:
        if charge.price_model not in {*PERIOD_MODELS, COMMITMENT}:
            measured, missed = measure(frame, charge, covered, usage)
            unrated.extend(missed)
            used += [_freed(free, segment, covered, charge, one) for one in measured]
    billed = {id(one.charge): Decimal(0) for one in used}
    for one in used:
        billed[id(one.charge)] += one.billed
    lines += [
        _usage_line(frame, one, _shares(one, bills_zero=not billed[id(one.charge)])) for one in used
    ]
    limited, missing = within_limits(frame, billed_charges(period, segments), lines)
    following, without_rate = lines_ahead(frame, segments, ahead)
    final = settled(frame, segments, [*limited, *following], ahead, coupon)
    return Rating(tuple(final), (*unrated, *missing, *without_rate))


def preview(
    charge: Charge,
    usage: Sequence[UsageRow],
    *,
    currency: str = "INR",
    quantity: Decimal | int = 1,
    held: Sequence[tuple[Decimal, int]] = (),
    others: Sequence[Charge] = (),
    days: tuple[int, int] | None = None,
) -> Rating:
    """What charges would bill for the usage of a calendar month, or of a part of a period.

    Args:
        charge: what is previewed; `others` stand beside it, for a commitment that counts them.
        usage: rows whose days are all in one month.
        quantity: seats, for prices per period.
        held: seats and their days, one after the other, where they are not the same on all days.
        days: those that are billed, and those of a full period.
    """
    first = min((row.day for row in usage), default=_PREVIEW_DAY).replace(day=1)
    covered, full = days or ((add_months(first, 1) - first).days, None)
    period = Period(first, first + timedelta(days=covered))
    segments = []
    begins = period.start
    for seats, length in held or [(Decimal(quantity), covered)]:
        ends = begins + timedelta(days=length)
        segments.append(Segment(begins, ends, (charge, *others), seats))
        begins = ends
    return rate_period(
        _PREVIEW_SUBSCRIPTION, period, segments, usage, currency=currency, full_days=full
    )


def _freed(
    free: FreeUnits, segment: Segment, covered: Period, charge: Charge, measured: Measured
) -> _Free:
    """Step 4: what of a rate's units is free; a percentage is worked out with it."""
    if charge.price_model != PERCENTAGE:
        units = free.take(segment, charge, measured.rate, measured.quantity)
        return _Free(covered, charge, measured, units)
    if len(measured.events) != measured.event_count:
        raise ValueError(f"charge {charge.code} needs every event, not their sum")
    allowance = free.allowance(charge, measured.rate)
    quantities = (event.quantity for event in sorted(measured.events, key=lambda one: one.order))
    found = percentage_of(quantities, measured.rate.tiers[0], allowance)
    return _Free(covered, charge, measured, found.free, found)


def _shares(one: _Free, *, bills_zero: bool) -> Sequence[Mapping[str, str | None]]:
    """Step 5: the tiers, as a line has them, of what is not free."""
    tier = one.measured.rate.tiers[0]
    if one.percentage is not None:
        return percentage_entries(one.percentage, one.billed, tier)
    shares = tier_shares(one.charge, one.measured.rate, one.billed)
    if bills_zero and one.measured.opens:
        shares = [tier_share(tier, Decimal(0), Decimal(0))]
    return [breakdown_entry(share) for share in shares]


def _usage_line(frame: Frame, one: _Free, entries: Sequence[Mapping[str, str | None]]) -> RatedLine:
    """The line of one rate in one segment, before discounts and limits."""
    charge, covered, rate = one.charge, one.covered, one.measured.rate
    amount = sum_of(entries)
    is_plain = charge.price_model in {PER_UNIT, DYNAMIC}
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
        quantity=one.measured.quantity,
        free_quantity=one.units,
        event_count=one.measured.event_count,
        unit=charge.unit,
        unit_price=rate.tiers[0].unit_price if is_plain else None,
        currency=frame.currency,
        amount=stored_amount(amount),
        amount_minor=to_minor(amount, frame.currency),
        is_recurring=False,
        tier_breakdown=tuple(entries),
    )


def tier_shares(charge: Charge, rate: Rate, units: Decimal) -> list[TierShare]:
    """What every tier entered comes to.

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
