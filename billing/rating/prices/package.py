"""Units sold in packages: a begun package is paid whole."""

from decimal import Decimal, localcontext

_PRECISION = 60


def packages_begun(units: Decimal, size: Decimal) -> Decimal:
    """How many packages of `size` units hold these units; none for no units."""
    with localcontext() as context:
        context.prec = _PRECISION
        whole, rest = divmod(units, size)
        return whole + (1 if rest else 0)


def package_amount(units: Decimal, size: Decimal, price: Decimal) -> Decimal:
    """The amount in the currency, exact.

    Args:
        price: of a package.
    """
    with localcontext() as context:
        context.prec = _PRECISION
        return packages_begun(units, size) * price
