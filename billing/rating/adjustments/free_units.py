"""Units that cost nothing: so many per period and rate, taken by the earliest segment first.

Charges of a version may share them in a pool: then the earliest segment's first charge takes them
first.
"""

from collections.abc import Hashable
from decimal import Decimal

from billing.rating.plan import Charge, Rate, Segment
from billing.rating.prices.percentage import Allowance


def free_units_taken(allowance: Decimal, used_before: Decimal, units: Decimal) -> Decimal:
    """How many of `units` are free.

    Args:
        allowance: free units of the charge, per period and rate.
        used_before: units of the same rate in earlier segments of the period.
        units: units of this segment.
    """
    left = max(allowance - used_before, Decimal(0))
    return min(left, units)


class FreeUnits:
    """What a period has used of what is free; ask in the order of segments, charges and rates."""

    def __init__(self) -> None:
        self._used: dict[Hashable, Decimal] = {}
        self._allowances: dict[Hashable, Allowance] = {}

    def take(self, segment: Segment, charge: Charge, rate: Rate, units: Decimal) -> Decimal:
        """How many of the units of a rate in a segment are free."""
        key = _shared_by(segment, charge, rate)
        before = self._used.get(key, Decimal(0))
        self._used[key] = before + units
        return free_units_taken(charge.free_units, before, units)

    def allowance(self, charge: Charge, rate: Rate) -> Allowance:
        """What is free of a percentage under a rate."""
        key = _charge_key(charge), rate.key
        fresh = Allowance(charge.free_units, charge.free_events)
        return self._allowances.setdefault(key, fresh)


def _shared_by(segment: Segment, charge: Charge, rate: Rate) -> Hashable:
    if charge.free_pool is None:
        return _charge_key(charge), rate.key
    same = (one for one in segment.charges if one.free_pool == charge.free_pool)
    return tuple(_charge_key(one) for one in same)


def _charge_key(charge: Charge) -> Hashable:
    return charge.id or id(charge)
