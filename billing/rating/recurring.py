"""Lines of prices for a period, for seats, and for once."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import NamedTuple

from billing.money import to_minor
from billing.periods import Period
from billing.rating.book import RateBook
from billing.rating.limits import Frame
from billing.rating.line import (
    RatedLine,
    UnratedUsage,
    breakdown_entry,
    describe,
    line_ref,
    stored_amount,
)
from billing.rating.plan import LICENCE, ONE_TIME, VOLUME, Charge, Rate, Segment
from billing.rating.prices.flat import flat_amount
from billing.rating.prices.seats import Held, seat_shares, seats_amount


class Place(NamedTuple):
    """A charge in one segment of a period."""

    segment: Segment
    covered: Period
    """The segment's days within the period."""
    charge: Charge


def places_in(period: Period, segments: Iterable[Segment]) -> list[Place]:
    """Every charge that a period has, in the order of their days and of their plan."""
    return [
        Place(segment, covered, charge)
        for segment in sorted(segments, key=lambda one: one.starts_on)
        if (covered := segment.within(period)) is not None
        for charge in segment.charges
    ]


@dataclass(frozen=True, slots=True)
class _Part:
    """What one rate bills in one place."""

    place: Place
    rate: Rate
    days: tuple[int, int]
    """Those on which it is in force, and those of a full period."""


def recurring_lines(
    frame: Frame, places: Sequence[Place]
) -> tuple[list[RatedLine], list[UnratedUsage]]:
    """Prices per period, or once.

    Prorated, each segment bills its days of a full period. Otherwise the full price is billed
    once, by the segment that the period opens with; a one-time price by the first of the
    subscription or of the add-on, never prorated.

    Args:
        places: of such prices, in the order of their days.
    """
    lines: list[RatedLine] = []
    unrated: list[UnratedUsage] = []
    tiered: dict[Hashable, list[_Part]] = defaultdict(list)
    for place in places:
        charge = place.charge
        for rate, days in _rates(frame, place):
            if rate is None:
                quantity = place.segment.quantity
                unrated.append(UnratedUsage(charge.code, charge.code, {}, 0, quantity))
            elif charge.tier_mode is None:
                lines.append(_flat_line(frame, _Part(place, rate, days)))
            else:
                same = charge.id or id(charge), rate.key
                tiered[same].append(_Part(place, rate, days))
    for parts in tiered.values():
        lines += _tiered_lines(frame, parts)
    return lines, unrated


def _rates(frame: Frame, place: Place) -> list[tuple[Rate | None, tuple[int, int]]]:
    """Each rate that is in force in a place, with the days that it bills there of how many."""
    segment, covered, charge = place
    is_prorated = charge.price_model == LICENCE or (
        charge.prorated and charge.price_model != ONE_TIME
    )
    billed = segment.recurring_within(frame.period, frame.whole)
    if charge.price_model == ONE_TIME:
        billed = covered if covered.start == (segment.added_on or frame.starts_on) else None
    elif not is_prorated and billed is not None and frame.period.start not in billed:
        billed = None
    if billed is None:
        return []
    rates = RateBook(charge.rates, frame.currency)
    if is_prorated:
        return [(rate, (days, frame.full_days)) for rate, days in rates.days_by_rate(billed)]
    return [(rates.find(covered.start, {}), (1, 1))]


def _flat_line(frame: Frame, part: _Part) -> RatedLine:
    """One price of a seat."""
    price = part.rate.tiers[0].flat_amount
    billed, full = part.days
    quantity = part.place.segment.quantity
    amount = flat_amount(price, quantity, covered_days=billed, full_days=full)
    return _line(frame, part, amount, unit_price=price)


def _tiered_lines(frame: Frame, parts: Sequence[_Part]) -> list[RatedLine]:
    """What a rate with tiers bills over the segments of a period."""
    most = max(part.place.segment.quantity for part in parts)
    before = Decimal(0)
    lines = []
    for part in parts:
        charge, seats = part.place.charge, part.place.segment.quantity
        held = Held(seats, most, before, *part.days)
        shares = seat_shares(held, part.rate.tiers, by_volume=charge.tier_mode == VOLUME)
        entries = [
            breakdown_entry(replace(share, amount=stored_amount(share.amount)))
            | {"days": str(held.days), "full_days": str(held.full_days)}
            for share in shares
        ]
        lines.append(_line(frame, part, seats_amount(held, shares), entries=entries))
        before = max(before, seats)
    return lines


def _line(
    frame: Frame,
    part: _Part,
    amount: Decimal,
    *,
    unit_price: Decimal | None = None,
    entries: Sequence[Mapping[str, str | None]] = (),
) -> RatedLine:
    segment, covered, charge = part.place
    return RatedLine(
        line_ref=line_ref(
            frame.subscription_id, frame.invoiced.start, covered.start, charge.code, part.rate.key
        ),
        charge_code=charge.code,
        rate_id=part.rate.id,
        item_code=charge.item_code,
        sac=charge.sac,
        description=describe(
            charge.name, part.rate.match, covered=covered, period=frame.invoiced, part=part.days
        ),
        period=frame.invoiced,
        covered=covered,
        quantity=segment.quantity,
        free_quantity=Decimal(0),
        event_count=0,
        unit=charge.unit,
        unit_price=unit_price,
        currency=frame.currency,
        amount=stored_amount(amount),
        amount_minor=to_minor(amount, frame.currency),
        is_recurring=charge.price_model != ONE_TIME,
        tier_breakdown=tuple(entries),
    )
