"""What changes lines as a whole: discounts, maximums, dearer charges, minimums and commitments.

In that order. A discount and a maximum make lines smaller, and stand among their tiers; so does a
dearer charge of the same group, which leaves nothing of them. What is missing to a minimum of a
charge, or to the commitment of a plan, is a line of its own: it makes up for lines that are rounded
already.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal, localcontext
from uuid import UUID

from billing.money import currency, from_minor, round_half_up, to_minor
from billing.periods import Period
from billing.rating.line import (
    DEAREST,
    DISCOUNT,
    MAXIMUM,
    MINIMUM,
    RatedLine,
    UnratedUsage,
    adjustment_entry,
    describe,
    line_ref,
    stored_amount,
    sum_of,
)
from billing.rating.match import match_rate
from billing.rating.plan import COMMITMENT, PERIOD_MODELS, Charge, Segment

_PRECISION = 60


@dataclass(frozen=True, slots=True)
class Billed:
    """A charge over the segments of a period that have it."""

    charge: Charge
    segments: tuple[Period, ...]
    """Their days within the period, in order."""
    beside: frozenset[str] = frozenset()
    """The codes of all charges of these segments; an add-on's segments have other codes."""

    @property
    def days(self) -> int:
        """How many of the period's days have the charge."""
        return sum(covered.days for covered in self.segments)

    def holds(self, line: RatedLine) -> bool:
        """Whether a line is of one of its segments."""
        return line.covered in self.segments and line.charge_code in self.beside


@dataclass(frozen=True, slots=True)
class Frame:
    """One subscription's period, in the currency of its account."""

    subscription_id: UUID
    period: Period
    full_days: int
    currency: str
    starts_on: date
    """First day of the subscription."""
    whole: Period
    """The whole period that the period is, or is a part of."""
    billed_with: Period | None = None
    """The period on whose invoice it is billed, if that is another."""

    @property
    def invoiced(self) -> Period:
        """The period on whose invoice its lines are."""
        return self.billed_with or self.period

    def part(self, amount: Decimal, billed: Billed) -> Decimal:
        """An amount for a full period, for the days of a charge: a whole number of minor units."""
        exponent = currency(self.currency).minor_exponent
        if not billed.charge.prorated:
            return round_half_up(amount, exponent)
        with localcontext() as context:
            context.prec = _PRECISION
            return round_half_up(amount * billed.days / self.full_days, exponent)


def billed_charges(period: Period, segments: Sequence[Segment]) -> list[Billed]:
    """Every charge that a period has, with the segments that have it."""
    found: dict[Hashable, tuple[Charge, list[Period], set[str]]] = {}
    for segment in sorted(segments, key=lambda one: one.starts_on):
        covered = segment.within(period)
        for charge in segment.charges if covered else ():
            _, days, codes = found.setdefault(charge.id or id(charge), (charge, [], set()))
            days += [covered] if covered else []
            codes |= {one.code for one in segment.charges}
    return [Billed(charge, tuple(days), frozenset(codes)) for charge, days, codes in found.values()]


def within_limits(
    frame: Frame, charges: Sequence[Billed], rated: Iterable[RatedLine]
) -> tuple[list[RatedLine], list[UnratedUsage]]:
    """The lines of a period with discounts and limits of its charges, and its commitments.

    Also returns commitments that have no rate in the currency.
    """
    lines = sorted(rated, key=lambda line: line.line_ref)
    for billed in charges:
        if billed.charge.price_model not in PERIOD_MODELS:
            lines = _reduced(frame, billed, lines)
    lines = _dearest(charges, lines)
    for billed in charges:
        if billed.charge.price_model not in PERIOD_MODELS:
            lines += _minimum(frame, billed, lines)
    missing: list[UnratedUsage] = []
    made_up: list[RatedLine] = []
    for billed in charges:
        if billed.charge.price_model == COMMITMENT:
            line, without_rate = _commitment(frame, billed, lines)
            made_up += line
            missing += without_rate
    return sorted(lines + made_up, key=lambda line: line.line_ref), missing


def _of(billed: Billed, line: RatedLine) -> bool:
    return line.charge_code == billed.charge.code and billed.holds(line)


def _reduced(frame: Frame, billed: Billed, lines: list[RatedLine]) -> list[RatedLine]:
    """The discount, then the maximum, which the earliest lines use up first."""
    limit = billed.charge.limit(frame.currency).maximum
    percent = billed.charge.discount_percent
    if limit is None and not percent:
        return lines
    left = None if limit is None else frame.part(limit, billed)
    changed = []
    with localcontext() as context:
        context.prec = _PRECISION
        for line in lines:
            if _of(billed, line):
                discounted = line.amount * (100 - percent) / 100
                capped = discounted if left is None else min(discounted, left)
                left = None if left is None else left - capped
                line = _changed(frame, line, percent, discounted, capped)  # noqa: PLW2901
            changed.append(line)
    return changed


def _changed(
    frame: Frame, line: RatedLine, percent: Decimal, discounted: Decimal, capped: Decimal
) -> RatedLine:
    entries = []
    if discounted != line.amount:
        entries.append(adjustment_entry(DISCOUNT, discounted - line.amount, percent=percent))
    if capped != discounted:
        entries.append(adjustment_entry(MAXIMUM, capped - discounted))
    return replace(
        line,
        amount=stored_amount(capped),
        amount_minor=to_minor(capped, frame.currency),
        unit_price=None if entries else line.unit_price,
        tier_breakdown=(*line.tier_breakdown, *entries),
    )


def _dearest(charges: Sequence[Billed], lines: list[RatedLine]) -> list[RatedLine]:
    """The lines without what charges bill of whose group another one bills more."""
    groups: dict[Hashable, list[Billed]] = defaultdict(list)
    for billed in charges:
        if billed.charge.dearest_of is not None:
            # the same segments have the same plan version, beside an add-on of other codes
            groups[billed.charge.dearest_of, billed.segments, billed.beside].append(billed)
    for group in groups.values():
        dearest = max(
            group, key=lambda one: sum(line.amount_minor for line in lines if _of(one, line))
        )
        others = [one for one in group if one is not dearest]
        lines = [
            _left_out(line, dearest.charge) if any(_of(one, line) for one in others) else line
            for line in lines
        ]
    return lines


def _left_out(line: RatedLine, dearest: Charge) -> RatedLine:
    exact = sum_of(line.tier_breakdown)
    if not exact:
        return line
    entry = adjustment_entry(DEAREST, -exact) | {"charge": dearest.name}
    return replace(
        line,
        amount=Decimal(0),
        amount_minor=0,
        unit_price=None,
        tier_breakdown=(*line.tier_breakdown, entry),
    )


def _minimum(frame: Frame, billed: Billed, lines: Sequence[RatedLine]) -> list[RatedLine]:
    minimum = billed.charge.limit(frame.currency).minimum
    if minimum is None:
        return []
    due = to_minor(frame.part(minimum, billed), frame.currency)
    missing = due - sum(line.amount_minor for line in lines if _of(billed, line))
    return [_made_up(frame, billed, MINIMUM, missing, due, None)] if missing > 0 else []


def _commitment(
    frame: Frame, billed: Billed, lines: Sequence[RatedLine]
) -> tuple[list[RatedLine], list[UnratedUsage]]:
    """What all other lines of the segments leave open of what was committed."""
    rates = [rate for rate in billed.charge.rates if rate.currency == frame.currency]
    rate = match_rate(rates, {})
    if rate is None:
        code = billed.charge.code
        return [], [UnratedUsage(code, code, {}, 0, Decimal(1))]
    due = to_minor(frame.part(rate.tiers[0].flat_amount, billed), frame.currency)
    missing = due - sum(line.amount_minor for line in lines if billed.holds(line))
    if missing <= 0:
        return [], []
    return [_made_up(frame, billed, str(rate.ordinal), missing, due, rate.id)], []


def _made_up(
    frame: Frame, billed: Billed, key: str, missing: int, due: int, rate_id: UUID | None
) -> RatedLine:
    """The line for what is missing, in the last segment that has the charge."""
    charge, covered = billed.charge, billed.segments[-1]
    amount = from_minor(missing, frame.currency)
    name = f"{charge.name}, minimum" if key == MINIMUM else charge.name
    whole = from_minor(due, frame.currency)
    entry = adjustment_entry(
        MINIMUM if key == MINIMUM else COMMITMENT, amount, due=whole, billed=whole - amount
    )
    return RatedLine(
        line_ref=line_ref(
            frame.subscription_id, frame.period.start, covered.start, charge.code, key
        ),
        charge_code=charge.code,
        rate_id=rate_id,
        item_code=charge.item_code,
        sac=charge.sac,
        description=describe(name, {}, covered=covered, period=frame.period),
        period=frame.period,
        covered=covered,
        quantity=Decimal(1),
        free_quantity=Decimal(0),
        event_count=0,
        unit="period",
        unit_price=amount,
        currency=frame.currency,
        amount=amount,
        amount_minor=missing,
        is_recurring=False,
        tier_breakdown=(entry,),
    )
