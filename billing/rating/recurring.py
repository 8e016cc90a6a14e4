"""Lines of prices for a period, for seats, and for once."""

from decimal import Decimal

from billing.money import to_minor
from billing.periods import Period
from billing.rating.book import RateBook
from billing.rating.limits import Frame
from billing.rating.line import RatedLine, UnratedUsage, describe, line_ref, stored_amount
from billing.rating.plan import LICENCE, ONE_TIME, Charge, Rate, Segment
from billing.rating.prices.flat import flat_amount


def recurring_lines(
    frame: Frame, segment: Segment, covered: Period, charge: Charge
) -> tuple[list[RatedLine], list[UnratedUsage]]:
    """A price per period, or once.

    Prorated, each segment bills its days of a full period. Otherwise the full price is billed
    once, by the segment that the period opens with; a one-time price by the first of the
    subscription or of the add-on, never prorated.
    """
    is_prorated = charge.price_model == LICENCE or (
        charge.prorated and charge.price_model != ONE_TIME
    )
    billed = segment.recurring_within(frame.period, frame.whole)
    if charge.price_model == ONE_TIME:
        billed = covered if covered.start == (segment.added_on or frame.starts_on) else None
    elif not is_prorated and billed is not None and frame.period.start not in billed:
        billed = None
    if billed is None:
        return [], []
    rates = RateBook(charge.rates, frame.currency)
    if is_prorated:
        parts = [(rate, days, frame.full_days) for rate, days in rates.days_by_rate(billed)]
    else:
        parts = [(rates.find(covered.start, {}), 1, 1)]
    lines = []
    unrated = []
    for rate, *days in parts:
        if rate is None:
            unrated.append(UnratedUsage(charge.code, charge.code, {}, 0, segment.quantity))
        else:
            lines.append(_flat_part(frame, segment, covered, charge, rate, (days[0], days[1])))
    return lines, unrated


def _flat_part(
    frame: Frame,
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
            frame.subscription_id, frame.invoiced.start, covered.start, charge.code, rate.key
        ),
        charge_code=charge.code,
        rate_id=rate.id,
        item_code=charge.item_code,
        sac=charge.sac,
        description=describe(
            charge.name, rate.match, covered=covered, period=frame.invoiced, part=days
        ),
        period=frame.invoiced,
        covered=covered,
        quantity=segment.quantity,
        free_quantity=Decimal(0),
        event_count=0,
        unit=charge.unit,
        unit_price=price,
        currency=frame.currency,
        amount=stored_amount(amount),
        amount_minor=to_minor(amount, frame.currency),
        is_recurring=charge.price_model != ONE_TIME,
        tier_breakdown=(),
    )
