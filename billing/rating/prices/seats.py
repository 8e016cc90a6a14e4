"""Seats in tiers: each bills its days at the price of a tier; entering a tier bills once.

Tiers are chosen by how many seats there are, whole, and priced by the days that they are there. A
flat amount is whole however few days are left, and stays billed if the seats are given back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext

from billing.rating.plan import Tier
from billing.rating.prices.graduated import TierShare, graduated_shares
from billing.rating.prices.volume import volume_shares

_PRECISION = 60


@dataclass(frozen=True, slots=True)
class Held:
    """Seats over some days of a period."""

    seats: Decimal
    most: Decimal
    """The most that the period has on any day."""
    most_before: Decimal
    """The most that it had on earlier days: what tiers up to there bill once is billed."""
    days: int
    full_days: int

    def of_period(self, amount: Decimal) -> Decimal:
        """An amount for a full period, for its days."""
        with localcontext() as context:
            context.prec = _PRECISION
            return amount * self.days / self.full_days


def seat_shares(held: Held, tiers: Sequence[Tier], *, by_volume: bool) -> list[TierShare]:
    """The tiers that price the seats, with what their days come to.

    Args:
        by_volume: all seats are in the tier that holds the most of the period; otherwise each is in
            its own.

    Raises:
        ValueError: as `graduated_shares`.
    """
    if by_volume:
        found = [(share, held.seats) for share in volume_shares(held.most, tiers)]
    else:
        found = [(share, share.units) for share in graduated_shares(held.seats, tiers)]
    shares = []
    for share, units in found:
        is_entered = held.most_before <= share.above < held.seats
        flat = share.flat_amount if is_entered else Decimal(0)
        amount = flat + held.of_period(units * share.unit_price)
        shares.append(TierShare(share.above, share.up_to, units, share.unit_price, flat, amount))
    return shares


def seats_amount(held: Held, shares: Sequence[TierShare]) -> Decimal:
    """What the shares come to: divided once, so that thirds of a paisa still make a whole one."""
    with localcontext() as context:
        context.prec = _PRECISION
        flat = sum((share.flat_amount for share in shares), Decimal(0))
        whole = sum((share.units * share.unit_price for share in shares), Decimal(0))
        return flat + held.of_period(whole)
