"""A part of an amount that each event carries, and a fixed price for the event."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, localcontext

from billing.rating.plan import Tier

_PRECISION = 60


@dataclass(slots=True)
class Allowance:
    """What is free in a period, and how far it is used; by the earliest events first.

    Where both an amount and a number of events are free, they end when the first of them is used.
    An event that is only partly free is charged its fixed price.
    """

    amount: Decimal = Decimal(0)
    events: int = 0
    seen_amount: Decimal = Decimal(0)
    seen_events: int = 0

    def take(self, quantity: Decimal) -> tuple[Decimal, bool]:
        """What of the next event's amount is free, and whether all of the event is."""
        before = self.seen_amount
        self.seen_amount += quantity
        self.seen_events += 1
        if not self.amount and not self.events:
            return Decimal(0), False
        if self.events and self.seen_events > self.events:
            return Decimal(0), False
        if not self.amount or self.seen_amount <= self.amount:
            return quantity, True
        return max(self.amount - before, Decimal(0)), False


@dataclass(frozen=True, slots=True)
class Percentage:
    """What events come to, exact."""

    amount: Decimal
    free: Decimal
    """The part of their amounts that is not charged."""
    charged_events: int
    bounded: Decimal
    """What the least and the most for an event change; it is part of `amount`."""


def percentage_of(quantities: Iterable[Decimal], tier: Tier, allowance: Allowance) -> Percentage:
    """Charge events one after the other.

    Args:
        quantities: the amounts of events, in the order of their period.
        tier: its unit price is the part of an amount, its flat amount that of an event.
        allowance: what is still free; what is used of it is noted there.
    """
    free, plain, bounded, charged = Decimal(0), Decimal(0), Decimal(0), 0
    with localcontext() as context:
        context.prec = _PRECISION
        for quantity in quantities:
            part, is_free = allowance.take(quantity)
            free += part
            if is_free:
                continue
            charged += 1
            one = (quantity - part) * tier.unit_price + tier.flat_amount
            plain += one
            bounded += _within(one, tier) - one
    return Percentage(plain + bounded, free, charged, bounded)


def _within(amount: Decimal, tier: Tier) -> Decimal:
    if tier.event_minimum is not None:
        amount = max(amount, tier.event_minimum)
    return amount if tier.event_maximum is None else min(amount, tier.event_maximum)
