"""What a period's usage costs up to a quantity, in integers: for debits event by event.

An event costs `at(before + quantity) - at(before)`. The amount is rounded once, where it is
reached, so the debits of a period add up to its rated amount rounded to a wallet unit, whatever
the steps in between. `scripts/price.lua` does the same in the wallet path.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple

from billing.money import WALLET_UNITS_LIMIT, currency
from billing.rating.plan import GRADUATED, PACKAGE, PERCENTAGE, STAIRSTEP, VOLUME, Tier

MICROS: Final = 1_000_000
"""Quantities have at most 6 decimals, and are counted in millionths of a unit."""
MICROS_DECIMALS: Final = 6
COUNT_LIMIT: Final = 2**53
"""Of a counter, in millionths: some 9,007 million units a period and rate."""
UNIT_PRICE_LIMIT: Final = 9_000_000_000
"""Wallet units: a millionth of a unit must be priced exactly in a double."""


class Step(NamedTuple):
    """The units above a bound, up to the next step's."""

    above: int
    """Millionths of a unit."""
    unit_price: int
    """Wallet units for a unit; for packages, for a package."""
    base: int
    """Wallet units for everything below, and for entering this step."""
    base_micros: int
    """The millionths of a wallet unit that `base` leaves."""


@dataclass(frozen=True, slots=True)
class CumulativePrice:
    """The price of a rate as a function of the quantity of a period."""

    free: int
    """Millionths of a unit that cost nothing."""
    size: int
    """Millionths of a unit in a package; 0 if units are not sold in packages."""
    steps: tuple[Step, ...]

    def at(self, quantity: int) -> int:
        """Wallet units for that many millionths of a unit, rounded once, halves up.

        Raises:
            OverflowError: if it is more than a wallet can hold.
        """
        units = quantity - self.free
        if units <= 0:
            return 0
        if self.size:
            amount = -(-units // self.size) * self.steps[0].unit_price
        else:
            step = next(step for step in reversed(self.steps) if step.above < units)
            parts = (units - step.above) * step.unit_price + step.base_micros
            amount = step.base + (parts + MICROS // 2) // MICROS
        if amount >= WALLET_UNITS_LIMIT:
            raise OverflowError(f"{quantity} millionths cost more than a wallet can hold")
        return amount

    def between(self, before: int, quantity: int) -> int:
        """What `quantity` more costs when `before` were counted; negative quantities take back.

        Raises:
            OverflowError: as `at`, or if the count itself is too large.
        """
        if before + quantity >= COUNT_LIMIT:
            raise OverflowError("the count of the period is too large")
        return self.at(before + quantity) - self.at(before)

    def most(self, quantity: int) -> int:
        """The most that this many may cost, wherever the count stands.

        Raises:
            OverflowError: if it is more than a wallet can hold.
        """
        if self.size:
            packages = -(-quantity // self.size)
            return CumulativePrice(0, 0, (Step(0, self.steps[0].unit_price, 0, 0),)).at(
                packages * MICROS
            )
        entering = sum(
            max(step.base - _below(before, step), 0)
            for before, step in zip((None, *self.steps), self.steps, strict=False)
        )
        dearest = max(step.unit_price for step in self.steps)
        # what rounding may add where the count stands and at each step
        spare = 1 + len(self.steps)
        return entering + CumulativePrice(0, 0, (Step(0, dearest, 0, 0),)).at(quantity) + spare


def _below(before: Step | None, step: Step) -> int:
    """What stands below a step, without what entering it costs; rounded down."""
    if before is None:
        return 0
    return before.base + (step.above - before.above) * before.unit_price // MICROS


def cumulative_price(
    price_model: str,
    tiers: Sequence[Tier],
    *,
    free_units: Decimal,
    package_size: Decimal | None,
    code: str,
) -> CumulativePrice:
    """The function of a usage rate.

    Args:
        code: of the currency.

    Raises:
        ValueError: if integers cannot say it exactly, with the reason for people.
    """
    if price_model in {VOLUME, STAIRSTEP}:
        raise ValueError(f"a {price_model} price, which a later unit may change, is not sold")
    if any(tier.package_size is not None for tier in tiers):
        raise ValueError("a tier with packages of its own is not sold")
    if price_model == PERCENTAGE and _is_by_event(tiers[0]):
        raise ValueError("a percentage with a price or bounds for an event is not sold")
    free = in_micros(free_units)
    used = tiers if price_model == GRADUATED else tiers[:1]
    steps: list[Step] = []
    above, base = 0, 0
    for tier in used:
        price = _units(tier.unit_price, code)
        if price >= UNIT_PRICE_LIMIT:
            raise ValueError(f"a price must be below {UNIT_PRICE_LIMIT} wallet units")
        if price_model == GRADUATED:
            base += _units(tier.flat_amount, code) * MICROS
        if base >= WALLET_UNITS_LIMIT * MICROS:
            raise ValueError("a tier costs more than a wallet can hold")
        steps.append(Step(above, price, *divmod(base, MICROS)))
        if tier.up_to is not None and price_model == GRADUATED:
            bound = in_micros(tier.up_to)
            base += (bound - above) * price
            above = bound
    size = in_micros(package_size or Decimal(0)) if price_model == PACKAGE else 0
    return CumulativePrice(free, size, tuple(steps))


def _is_by_event(tier: Tier) -> bool:
    bounds = (tier.event_minimum, tier.event_maximum)
    return bool(tier.flat_amount) or bounds != (None, None)


def in_micros(quantity: Decimal) -> int:
    """A quantity in millionths of a unit.

    Raises:
        ValueError: if it has more decimals, or is too large to count.
    """
    scaled = quantity.scaleb(MICROS_DECIMALS)
    if scaled != scaled.to_integral_value():
        raise ValueError(f"a quantity must have at most {MICROS_DECIMALS} decimals")
    if scaled >= COUNT_LIMIT:
        raise ValueError("a quantity must be below 9,007 million units")
    return int(scaled)


def _units(amount: Decimal, code: str) -> int:
    scaled = amount.scaleb(currency(code).wallet_exponent)
    if scaled != scaled.to_integral_value():
        raise ValueError("a price must be a whole number of wallet units")
    return int(scaled)
