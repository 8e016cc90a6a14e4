"""Each unit at the price of the tier it falls in, plus the flat amount of every tier entered."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from itertools import pairwise

from billing.rating.plan import Tier
from billing.rating.prices.package import packages_begun

_PRECISION = 60


@dataclass(frozen=True, slots=True)
class TierShare:
    """What one entered tier contributes."""

    above: Decimal
    """The tier holds the units above this many."""
    up_to: Decimal | None
    units: Decimal
    unit_price: Decimal
    flat_amount: Decimal
    amount: Decimal
    package_size: Decimal | None = None
    """If units are sold in packages; the unit price is then that of a package."""


def graduated_shares(units: Decimal, tiers: Sequence[Tier]) -> list[TierShare]:
    """The entered tiers in order; none for zero units, so that no flat amount is billed.

    Raises:
        ValueError: if the tiers do not rise, or the last one has an end: units above it would
            have no price.
    """
    require_rising(tiers)
    shares = []
    above = Decimal(0)
    for tier in tiers:
        if units <= above:
            break
        inside = (units if tier.up_to is None else min(units, tier.up_to)) - above
        shares.append(tier_share(tier, above, inside))
        if tier.up_to is not None:
            above = tier.up_to
    return shares


def tier_share(tier: Tier, above: Decimal, units: Decimal) -> TierShare:
    """What a tier comes to for units that it prices, begun packages whole if it has a size."""
    with localcontext() as context:
        context.prec = _PRECISION
        size = tier.package_size
        priced = units if size is None else packages_begun(units, size)
        amount = tier.flat_amount + priced * tier.unit_price
    return TierShare(above, tier.up_to, units, tier.unit_price, tier.flat_amount, amount, size)


def graduated_amount(units: Decimal, tiers: Sequence[Tier]) -> Decimal:
    """The sum over entered tiers in the currency, exact.

    Raises:
        ValueError: as `graduated_shares`.
    """
    return total(graduated_shares(units, tiers))


def total(shares: Sequence[TierShare]) -> Decimal:
    """What the shares come to, exact."""
    with localcontext() as context:
        context.prec = _PRECISION
        return sum((share.amount for share in shares), Decimal(0))


def require_rising(tiers: Sequence[Tier]) -> None:
    """Refuse tiers that leave a quantity without a price.

    Raises:
        ValueError: if they do not rise, or the last one has an end.
    """
    if not tiers or tiers[-1].up_to is not None:
        raise ValueError("the last tier must be open: units above it would have no price")
    bounds = [Decimal(0), *(tier.up_to for tier in tiers[:-1] if tier.up_to is not None)]
    rising = all(low < high for low, high in pairwise(bounds))
    if len(bounds) != len(tiers) or not rising:
        raise ValueError("tiers must rise, and only the last one may be open")
