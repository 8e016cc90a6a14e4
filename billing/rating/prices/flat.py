"""A price per period, times a quantity, for all of the period or a part of it."""

from decimal import Decimal, localcontext

_PRECISION = 60


def flat_amount(
    price: Decimal, quantity: Decimal, *, covered_days: int = 1, full_days: int = 1
) -> Decimal:
    """The amount in the currency, not rounded.

    Args:
        price: for one full period.
        quantity: seats or licences.
        covered_days: the days that bill.
        full_days: the days of a full period.
    """
    with localcontext() as context:
        context.prec = _PRECISION
        return price * quantity * covered_days / full_days
