"""All units at the price of the one tier that holds their number, plus that tier's flat amount.

A stairstep is a volume price whose tiers have a flat amount alone.
"""

from collections.abc import Sequence
from decimal import Decimal

from billing.rating.plan import Tier
from billing.rating.prices.graduated import TierShare, require_rising, tier_share


def volume_shares(units: Decimal, tiers: Sequence[Tier]) -> list[TierShare]:
    """The tier that holds the units, its bound included; none for zero units.

    Raises:
        ValueError: as `graduated_shares`.
    """
    require_rising(tiers)
    if units <= 0:
        return []
    above = Decimal(0)
    for tier in tiers:
        if tier.up_to is None or units <= tier.up_to:
            break
        above = tier.up_to
    return [tier_share(tier, above, units)]
