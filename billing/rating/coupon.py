"""What a coupon takes off the lines of an invoice: a part of each, or an amount from them in order.

In whole minor units, after the lines are rounded and what was billed in advance is taken off.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final
from uuid import UUID

from billing.rating.line import COUPON, RatedLine, reduced
from billing.rating.plan import Segment

_SCALE: Final = 10_000
"""A percentage has four decimals."""


@dataclass(frozen=True, slots=True)
class Coupon:
    """One coupon, in the currency of the account."""

    code: str
    percent: Decimal | None
    amount_minor: int | None
    """Off each period's invoice, where there is no percentage."""
    plan_ids: frozenset[UUID] = frozenset()
    """Only lines of these plans; of all, if it is empty."""

    def fits(self, line: RatedLine, segments: Iterable[Segment]) -> bool:
        """Whether it makes a line smaller."""
        day = line.covered.start
        return not self.plan_ids or any(
            one.plan_id in self.plan_ids
            and any(charge.code == line.charge_code for charge in one.charges)
            and one.starts_on <= day
            and (one.ends_on is None or day < one.ends_on)
            for one in segments
        )


def discounted(
    lines: Iterable[RatedLine], segments: Sequence[Segment], coupon: Coupon | None
) -> list[RatedLine]:
    """The lines in their order, with what the coupon takes off each."""
    if coupon is None:
        return list(lines)
    left = coupon.amount_minor or 0
    found = []
    for line in lines:
        off = 0
        if coupon.fits(line, segments):
            if coupon.percent is not None:
                part = int(coupon.percent * _SCALE)
                off = (2 * line.amount_minor * part + 100 * _SCALE) // (200 * _SCALE)
            else:
                off = min(line.amount_minor, left)
                left -= off
        found.append(reduced(line, COUPON, off, code=coupon.code))
    return found
