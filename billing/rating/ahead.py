"""Prices per period that are billed in advance, with the period before the one that they are for.

A period bills three things: what its charges in advance come to by what is known now, less what was
billed for it before; and those charges for the period that follows. What was billed before and is
not due any more is a credit, which the lines of the invoice use up in their order. What they leave
of it is kept, on a line of its own without an amount, and joins the credit of the next period.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any, Final

from billing.money import from_minor, to_minor
from billing.periods import Period, month_of
from billing.rating.coupon import Coupon, discounted
from billing.rating.limits import Frame
from billing.rating.line import (
    BILLED_AHEAD,
    COUPON,
    CREDIT,
    KEPT,
    RatedLine,
    UnratedUsage,
    adjustment_entry,
    line_ref,
    reduced,
)
from billing.rating.plan import ADVANCE, Segment
from billing.rating.recurring import places_in, recurring_lines


@dataclass(frozen=True, slots=True)
class BilledAhead:
    """A line for a period on the invoice of the period before."""

    key: str
    """What follows the period in its reference: days, charge and rate."""
    amount_minor: int
    """Before anything was taken off on that invoice."""
    paid_minor: int
    """After coupons: what it is worth if it is not due any more."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """What lies around a billing period for charges in advance."""

    following: Period | None = None
    """The period after it, if there is one."""
    whole: Period | None = None
    """The whole period that the following one is, or is a part of."""
    billed: tuple[BilledAhead, ...] = ()
    kept_minor: int = 0
    """Credit that the invoice before could not use."""
    segments: Sequence[Segment] | None = None
    """By which the following period was billed, if they were changed since."""


NOTHING_AHEAD: Final = Ahead()
KEPT_END: Final = f":{CREDIT}:{KEPT}"
"""How the name of a line ends that keeps credit for the next invoice."""
_TAKEN_OFF: Final = frozenset({COUPON, CREDIT})
"""Entries of a line that make it smaller after it was rated."""


def bills_ahead(period: Period, following: Period) -> bool:
    """Whether a period's invoice bills the one after it; not if both are invoiced together."""
    return month_of(following.last_day) > month_of(period.last_day)


def lines_ahead(
    frame: Frame, segments: Sequence[Segment], ahead: Ahead
) -> tuple[list[RatedLine], list[UnratedUsage]]:
    """What charges in advance bill for the following period."""
    if ahead.following is None or ahead.whole is None:
        return [], []
    if not bills_ahead(frame.period, ahead.following):
        return [], []
    then = replace(
        frame,
        period=ahead.following,
        full_days=ahead.whole.days,
        whole=ahead.whole,
        billed_with=frame.period,
    )
    places = places_in(ahead.following, ahead.segments or segments)
    return recurring_lines(then, [one for one in places if one.charge.timing == ADVANCE])


def settled(
    frame: Frame,
    segments: Sequence[Segment],
    lines: Iterable[RatedLine],
    ahead: Ahead,
    coupon: Coupon | None,
) -> list[RatedLine]:
    """The lines as they are invoiced: less what was billed before, a coupon, and a credit."""
    before = {one.key: one for one in ahead.billed}
    credit = ahead.kept_minor
    kept = []
    for line in sorted(lines, key=lambda one: one.line_ref):
        billed = before.pop(key_of(line), None)
        if billed is None:
            kept.append(line)
            continue
        used = min(line.amount_minor, billed.amount_minor)
        credit += _worth(billed, billed.amount_minor - used)
        if used < line.amount_minor:
            kept.append(reduced(line, BILLED_AHEAD, used))
    credit += sum(_worth(one, one.amount_minor) for one in before.values())
    then = _as_billed(frame.period, segments, ahead)
    return _credited(frame, segments, discounted(kept, then, coupon), credit)


def carried(
    lines: Iterable[tuple[str, int, Sequence[Mapping[str, Any]]]], until: date, currency: str
) -> tuple[tuple[BilledAhead, ...], int]:
    """What the lines of a period's invoice leave for the next one: billed ahead, and credit.

    Args:
        lines: what follows the period in their references, minor units, and their entries.
        until: the day after the period.
    """
    billed: list[BilledAhead] = []
    kept_minor = 0
    for key, minor, entries in lines:
        if key.endswith(KEPT_END):
            kept_minor += sum(to_minor(Decimal(one["left"]), currency) for one in entries)
        elif key.partition(":")[0] >= f"{until:%Y%m%d}":
            gross = minor + _off(entries, _TAKEN_OFF, currency)
            billed.append(BilledAhead(key, gross, gross - _off(entries, {COUPON}, currency)))
    return tuple(billed), kept_minor


def _off(entries: Iterable[Mapping[str, Any]], kinds: Collection[str], currency: str) -> int:
    return -sum(
        to_minor(Decimal(one["amount"]), currency) for one in entries if one.get("kind") in kinds
    )


def _as_billed(period: Period, segments: Sequence[Segment], ahead: Ahead) -> Sequence[Segment]:
    """The segments of its own days, and those by which it bills the days after them."""
    if ahead.segments is None:
        return segments
    own = [replace(one, ends_on=days.end) for one in segments if (days := one.within(period))]
    later = [
        replace(one, starts_on=max(one.starts_on, period.end))
        for one in ahead.segments
        if one.ends_on is None or one.ends_on > period.end
    ]
    return [*own, *later]


def key_of(line: RatedLine) -> str:
    """What follows the period in a line's reference."""
    return line.line_ref.split(":", 2)[2]


def _worth(billed: BilledAhead, minor: int) -> int:
    """What minor units of a line are worth that a coupon had made smaller."""
    if billed.paid_minor == billed.amount_minor:
        return minor
    return (2 * minor * billed.paid_minor + billed.amount_minor) // (2 * billed.amount_minor)


def _credited(
    frame: Frame, segments: Sequence[Segment], lines: list[RatedLine], credit: int
) -> list[RatedLine]:
    found = []
    for line in lines:
        used = min(line.amount_minor, credit)
        credit -= used
        found.append(reduced(line, CREDIT, used))
    if credit:
        found.append(_kept_line(frame, segments, credit))
    return sorted(found, key=lambda one: one.line_ref)


def _kept_line(frame: Frame, segments: Sequence[Segment], minor: int) -> RatedLine:
    """A line without an amount that says what is left; it is of the period's first charge."""
    first = min(
        (one for one in segments if one.within(frame.period) and one.added_on is None),
        key=lambda one: one.starts_on,
    )
    covered = first.within(frame.period) or frame.period
    entry: Mapping[str, str | None] = adjustment_entry(
        KEPT, Decimal(0), left=from_minor(minor, frame.currency)
    )
    return RatedLine(
        line_ref=line_ref(
            frame.subscription_id, frame.period.start, frame.period.start, CREDIT, KEPT
        ),
        charge_code=CREDIT,
        rate_id=None,
        item_code=first.charges[0].item_code,
        sac=first.charges[0].sac,
        description="Credit kept for the next invoice",
        period=frame.period,
        covered=covered,
        quantity=Decimal(1),
        free_quantity=Decimal(0),
        event_count=0,
        unit="credit",
        unit_price=None,
        currency=frame.currency,
        amount=Decimal(0),
        amount_minor=0,
        is_recurring=False,
        tier_breakdown=(entry,),
    )
