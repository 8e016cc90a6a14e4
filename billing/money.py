"""Money without floats: currencies, the one rounding rule, and splits that add up.

Three representations, each with one unit in its name:

* rated amounts and prices: `Decimal` in the currency itself (rupees, dollars);
* `*_minor`: integer minor units, on documents (paise, cents, whole rupiah);
* `*_units`: integer wallet units, finer than any unit price (see `Currency.wallet_exponent`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Decimal, localcontext
from typing import Final

WALLET_UNITS_LIMIT: Final = 2**53
"""Balances stay below this, because Redis scripts compare them as doubles."""

_WORKING_PRECISION: Final = 60


@dataclass(frozen=True, slots=True)
class Currency:
    """A currency with the number of decimals of its documents and of its wallets."""

    code: str
    minor_exponent: int
    wallet_exponent: int

    @property
    def units_per_minor(self) -> int:
        """Wallet units in one minor unit (INR: 10,000 micro-rupees in a paisa)."""
        return int(10 ** (self.wallet_exponent - self.minor_exponent))


CURRENCIES: Final[dict[str, Currency]] = {
    "INR": Currency("INR", minor_exponent=2, wallet_exponent=6),
    "USD": Currency("USD", minor_exponent=2, wallet_exponent=6),
    "IDR": Currency("IDR", minor_exponent=0, wallet_exponent=4),
}


def currency(code: str) -> Currency:
    """The currency of that ISO 4217 code.

    Raises:
        KeyError: if the system does not bill in it.
    """
    return CURRENCIES[code]


def round_half_up(amount: Decimal, exponent: int) -> Decimal:
    """Round to `exponent` decimals, halves away from zero: the system's only rounding rule.

    PostgreSQL's `round(numeric, n)` does the same, which keeps SQL and Python rating equal.
    """
    with localcontext() as context:
        context.prec = _WORKING_PRECISION
        return amount.quantize(Decimal(1).scaleb(-exponent), rounding=ROUND_HALF_UP)


def plain(number: Decimal) -> Decimal:
    """The same number with one spelling, whatever scale its column gave it: 9.00 is 9."""
    return Decimal(f"{number.normalize():f}")


def to_minor(amount: Decimal, code: str) -> int:
    """A rated amount as integer minor units, rounded once."""
    exponent = currency(code).minor_exponent
    return int(round_half_up(amount, exponent).scaleb(exponent))


def from_minor(amount_minor: int, code: str) -> Decimal:
    """Integer minor units as an amount of the currency."""
    return Decimal(amount_minor).scaleb(-currency(code).minor_exponent)


def to_units(amount: Decimal, code: str) -> int:
    """A rated amount as integer wallet units, rounded once.

    Raises:
        OverflowError: if the result would reach `WALLET_UNITS_LIMIT`.
    """
    exponent = currency(code).wallet_exponent
    units = int(round_half_up(amount, exponent).scaleb(exponent))
    if abs(units) >= WALLET_UNITS_LIMIT:
        raise OverflowError(f"{amount} {code} exceeds what a wallet can hold")
    return units


def from_units(amount_units: int, code: str) -> Decimal:
    """Integer wallet units as an amount of the currency."""
    return Decimal(amount_units).scaleb(-currency(code).wallet_exponent)


def minor_to_units(amount_minor: int, code: str) -> int:
    """Minor units as wallet units; always exact."""
    return amount_minor * currency(code).units_per_minor


def split(total: int, weights: Sequence[Decimal | int]) -> list[int]:
    """Split an integer by weights so that the parts add up (largest remainder, ties to the first).

    Args:
        total: the amount to split, in any integer unit.
        weights: non-negative; all zero means equal parts.
    """
    if not weights:
        raise ValueError("an amount cannot be split into no parts")
    exact_weights = [Decimal(weight) for weight in weights]
    if any(weight < 0 for weight in exact_weights):
        raise ValueError("weights must not be negative")
    if not any(exact_weights):
        exact_weights = [Decimal(1)] * len(exact_weights)
    with localcontext() as context:
        context.prec = _WORKING_PRECISION
        whole = sum(exact_weights, Decimal(0))
        shares = [Decimal(total) * weight / whole for weight in exact_weights]
        floors = [int(share.to_integral_value(rounding=ROUND_FLOOR)) for share in shares]
    missing = total - sum(floors)
    by_remainder = sorted(
        range(len(shares)), key=lambda index: (floors[index] - shares[index], index)
    )
    for index in by_remainder[:missing]:
        floors[index] += 1
    return floors
