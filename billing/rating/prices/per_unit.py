"""Every unit at the same price."""

from decimal import Decimal, localcontext

_PRECISION = 60


def per_unit_amount(units: Decimal, unit_price: Decimal) -> Decimal:
    """The amount in the currency, exact."""
    with localcontext() as context:
        context.prec = _PRECISION
        return units * unit_price
