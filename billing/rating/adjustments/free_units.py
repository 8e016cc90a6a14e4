"""Units that cost nothing: so many per period and rate, taken by the earliest segment first."""

from decimal import Decimal


def free_units_taken(allowance: Decimal, used_before: Decimal, units: Decimal) -> Decimal:
    """How many of `units` are free.

    Args:
        allowance: free units of the charge, per period and rate.
        used_before: units of the same rate in earlier segments of the period.
        units: units of this segment.
    """
    left = max(allowance - used_before, Decimal(0))
    return min(left, units)
