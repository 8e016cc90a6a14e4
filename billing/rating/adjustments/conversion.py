"""From what was measured to the units a charge prices."""

from decimal import Decimal, localcontext

from billing.rating.plan import DOWN, HALF_UP, UP

_PRECISION = 60
_AS_IT_COMES = Decimal(10**6)
"""Converted units that are not rounded to whole ones keep 6 decimals, as all quantities do."""


def converted(quantity: Decimal, divisor: Decimal | None, rounding: str | None) -> Decimal:
    """Units of so much each: whole ones if they are rounded, else to 6 decimals, halves up.

    Args:
        quantity: as measured in a segment under a rate, not negative.
        divisor: how much makes a unit; None changes nothing.
        rounding: `UP`, `DOWN`, `HALF_UP` or None.
    """
    if divisor is None:
        return quantity
    with localcontext() as context:
        context.prec = _PRECISION
        if rounding == DOWN:
            return quantity // divisor
        if rounding == UP:
            return quantity // divisor + (1 if quantity % divisor else 0)
        scale = Decimal(1) if rounding == HALF_UP else _AS_IT_COMES
        return (2 * quantity * scale + divisor) // (2 * divisor) / scale
