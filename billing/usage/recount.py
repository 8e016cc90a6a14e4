"""What an event costs when it is debited in PostgreSQL first: revised, or mended and replayed.

Where the price depends on a count, it is priced where the count stands now: what it takes back was
the last to be counted, and what it adds comes last. So the debits of the period still add up to
the price of its count. What admissions on their way through the journal were debited meanwhile,
the true-up settles.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from itertools import chain
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.rating.cumulative import CumulativePrice
from billing.usage.counters import Advance, advance_counters
from billing.usage.tables import PriceCounter
from billing.wallets.rate_card import BillableAccount


class Priceable(NamedTuple):
    """What decides the price of an event."""

    event_type: str
    dimensions: dict[str, str]
    occurred_us: int
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class Recounted:
    """The debit of an event, and the counters that move with it."""

    amount_units: int
    """All that it costs; negative where taking it back saves more than it had cost."""
    rate_id: UUID | None
    card_version: int
    counter: Advance | None
    changes: tuple[Advance, ...]

    @property
    def columns(self) -> dict[str, Any]:
        """As `usage.usage_debits` has them."""
        counted: tuple[date | None, int | None] = (None, None)
        if self.counter is not None:
            counted = (self.counter.counted_on, self.counter.micros)
        return {
            "amount_units": self.amount_units,
            "rate_id": self.rate_id,
            "card_version": self.card_version,
            "counted_on": counted[0],
            "counted_micros": counted[1],
        }


class Recount:
    """Prices one event of an account with a wallet; the caller holds the shard's row.

    Args:
        wallet_id: the wallet whose counters they are.
    """

    def __init__(self, session: Session, account: BillableAccount, wallet_id: UUID) -> None:
        self._session = session
        self._account = account
        self._wallet_id = wallet_id
        self._moved: Counter[tuple[UUID, date]] = Counter()
        self._amount = 0

    def take_back(self, amount_units: int, counter: Advance | None) -> None:
        """Undo a debit.

        Raises:
            OverflowError: if a wallet cannot hold the difference.
        """
        function = None if counter is None else self._function(counter.rate_id)
        if counter is None or function is None:
            return  # it goes back as it was taken
        self._amount += amount_units
        self._move(function, counter._replace(micros=-counter.micros))

    def finish(self, event: Priceable | None, now: datetime) -> Recounted:
        """Debit the event, or nothing if it is void, and move PostgreSQL's counters.

        Raises:
            OverflowError: if a wallet cannot hold the amount.
        """
        rate_id, counter = None, None
        if event is not None:
            price = self._account.price(event.event_type, event.dimensions, event.occurred_us)
            rate_id = price.rate_id
            count = self._account.count(price, event.quantity, event.occurred_us)
            if count is None:
                self._amount += self._account.amount_units(price, event.quantity)
            else:
                counter = Advance(self._wallet_id, count.rate_id, count.counted_on, count.quantity)
                self._move(count.price, counter)
        changes = tuple(
            Advance(self._wallet_id, rate, day, micros)
            for (rate, day), micros in self._moved.items()
            if micros
        )
        if changes:
            connection: Any = self._session.connection().connection.driver_connection
            advance_counters(connection, changes, now=now)
        return Recounted(self._amount, rate_id, self._account.card_version, counter, changes)

    def _move(self, function: CumulativePrice, by: Advance) -> None:
        key = (by.rate_id, by.counted_on)
        stands = self._stored(by) + self._moved[key]
        self._amount += function.between(stands, by.micros)
        self._moved[key] += by.micros

    def _stored(self, counter: Advance) -> int:
        return (
            self._session.scalar(
                select(PriceCounter.quantity_micros).filter_by(
                    wallet_id=counter.wallet_id,
                    rate_id=counter.rate_id,
                    counted_on=counter.counted_on,
                )
            )
            or 0
        )

    def _function(self, rate_id: UUID) -> CumulativePrice | None:
        for era in self._account.eras:
            for charge in era.charges:
                for rate in chain(charge.agreed, charge.rates):
                    if rate.id == rate_id:
                        return rate.counted
        return None
