"""All units at the price of the one tier that holds their number, plus that tier's flat amount.

A stairstep is a volume price whose tiers have a flat amount alone.
"""

from collections.abc import Sequence
from decimal import Decimal, localcontext

from billing.rating.plan import Tier
from billing.rating.prices.graduated import TierShare, require_rising

_PRECISION = 60


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
    with localcontext() as context:
        context.prec = _PRECISION
        amount = tier.flat_amount + units * tier.unit_price
    return [TierShare(above, tier.up_to, units, tier.unit_price, tier.flat_amount, amount)]
