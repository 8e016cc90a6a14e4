"""What an account's events cost, compiled for the wallet path.

The provisional price of an event is exact. Where units cost the same wherever they stand, and come
to whole wallet units, it is worked out here. Otherwise (tiers, packages, free units, fractions) it
depends on what the period counted before: then the card says by which counter and function, and
admit.lua, which holds the counters, works it out. Postpaid accounts have no wallet to debit.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final
from uuid import UUID

from billing.customers.standing import Standing
from billing.customers.tables import BillingMode
from billing.entitlements.quotas import Quota
from billing.money import currency, to_units
from billing.periods import Calendar, Cycle, Period, local_day
from billing.rating.cumulative import MICROS, CumulativePrice
from billing.rating.match import DIMENSIONS, RateIndex, counts
from billing.rating.measures import ADDITIVE, Measure, factor_of, properties_read
from billing.rating.plan import COUNT
from billing.usage.event import EPOCH
from billing.usage.row import row_head, uuid_field
from billing.wallets.journal import Count

_MOST_PRICES: Final = 4096
_MOST_PERIODS: Final = 4


class PriceReason(StrEnum):
    """How the price of an event came about."""

    OK = "ok"
    NO_SUBSCRIPTION = "no_subscription"
    NO_CHARGE = "no_charge"
    """No charge of the plan counts events of this type."""
    EXCLUDED = "excluded"
    """An item counts this type, but not with these dimensions."""
    NO_RATE = "no_rate"


@dataclass(frozen=True, slots=True)
class CompiledRate:
    """A rate as far as one event needs it."""

    id: UUID
    match: Mapping[str, str]
    unit_price: Decimal | None
    """None where the price of a unit depends on how many came before."""
    counted: CumulativePrice | None = None
    """What a count costs; None where integers cannot say it."""
    by_period: bool = False
    """Whether segments of a period are counted together: where units all cost the same."""
    precedence: int = 0


class RateTable:
    """Rates that hold at the same time, looked up by dimensions; shown by a digest of them all."""

    def __init__(self, rates: Iterable[CompiledRate]) -> None:
        self._rates = {rate.id: rate for rate in rates}
        self._index = RateIndex(self._rates.values())
        text = repr(tuple(self._rates.values()))
        self._digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def __iter__(self) -> Iterator[CompiledRate]:
        return iter(self._rates.values())

    def __repr__(self) -> str:
        return self._digest

    def find(self, dimensions: Mapping[str, str]) -> CompiledRate | None:
        """The rate of an event with these dimensions."""
        return self._index.find(dimensions)


@dataclass(frozen=True, slots=True)
class CompiledCharge:
    """A usage charge with its rates in the account's currency."""

    event_type: str
    event_filter: Mapping[str, tuple[str, ...]]
    measure: Measure
    rates: RateTable
    agreed: RateTable
    """What was agreed with the account; it comes before the others."""
    starts_on: date
    """First local day of the segment that it is of, the plan's or an add-on's."""

    def find(self, dimensions: Mapping[str, str]) -> CompiledRate | None:
        """The rate of an event with these dimensions."""
        return self.agreed.find(dimensions) or self.rates.find(dimensions)


@dataclass(frozen=True, slots=True)
class Price:
    """What one kind of event costs in one era of an account."""

    reason: PriceReason
    rate_id: UUID | None = None
    unit_prices: tuple[Decimal, ...] = ()
    """For each unit of the event's quantity."""
    event_prices: tuple[Decimal, ...] = ()
    """For the event as such."""
    counted: CumulativePrice | None = None
    """What the count of the period costs, for events that have no price by themselves."""
    counted_from: date | None = None
    """First local day that may be counted together with it; None for all days of the period."""
    counts_events: bool = False
    """Whether an event is so many units, `event_micros`, whatever its quantity."""
    event_micros: int = MICROS
    """Millionths of a unit that an event is."""
    times: int = 1
    """Units that one of the event's quantity is: the segments of its messages."""
    reads: tuple[str, ...] = ()
    """Dimensions that say what the event comes to, beside those that choose its rate."""
    known: bool = True
    """False where a price depends on how many units came before."""
    one_units: int = 0
    """Wallet units for a quantity of one, worked out once."""
    rate_field: bytes = uuid_field(None)


@dataclass(frozen=True, slots=True)
class Era:
    """A stretch of time over which the same charges apply."""

    starts_us: int
    charges: tuple[CompiledCharge, ...]
    billed_from: date | None = None
    """First local day of the subscription: its periods are counted from there."""
    calendar: Calendar = Calendar(Cycle())  # noqa: RUF009 - it is frozen


@dataclass(slots=True)
class BillableAccount:
    """Everything the intake needs to know of an account, in memory."""

    id: UUID
    customer_id: UUID
    code: str
    zone: str
    currency: str
    billing_mode: BillingMode
    standing: Standing
    shard: int
    wallet_id: UUID | None
    """Only of prepaid accounts."""
    eras: tuple[Era, ...]
    quotas: tuple[Quota, ...] = ()
    card_version: int = 0
    """A digest of all prices, recorded with every debit: the same prices have the same one."""
    head: bytes = b""
    starts_us: list[int] = field(default_factory=list)
    _prices: dict[tuple[object, ...], Price] = field(default_factory=dict)
    _periods: list[Period] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.head = row_head(self.wallet_id, self.id)
        self.starts_us = [era.starts_us for era in self.eras]
        self.card_version = _card_version(self)

    def price(self, event_type: str, dimensions: Mapping[str, str], occurred_us: int) -> Price:
        """What an event of this kind costs at that instant, per unit and per event."""
        index = bisect_right(self.starts_us, occurred_us) - 1
        get = dimensions.get
        key = (
            index,
            event_type,
            get("country"),
            get("channel"),
            get("status"),
            get("operator"),
            get("route"),
            get("traffic_type"),
        )
        found = self._prices.get(key)
        if found is None:
            charges = self.eras[index].charges if index >= 0 else ()
            found = _price(charges, event_type, dimensions, self.currency)
            self._remember(key, found)
        if found.reads:
            said = (key, *map(get, found.reads))
            found = self._prices.get(said)
            if found is None:
                charges = self.eras[index].charges
                found = _price(charges, event_type, dimensions, self.currency)
                self._remember(said, found)
        return found

    def _remember(self, key: tuple[object, ...], price: Price) -> None:
        if len(self._prices) >= _MOST_PRICES:
            self._prices.clear()
        self._prices[key] = price

    def amount_units(self, price: Price, quantity: Decimal) -> int:
        """The provisional debit in wallet units; each charge is rounded by itself.

        Raises:
            OverflowError: if it exceeds what a wallet can hold.
        """
        if quantity == 1:
            return price.one_units
        return _amount(price.unit_prices, price.event_prices, quantity, self.currency)

    def most_units(self, price: Price, quantity: Decimal) -> int:
        """The most that an event may be debited, wherever the count of the period stands.

        Raises:
            OverflowError: if it exceeds what a wallet can hold.
        """
        if price.known or price.counted is None:
            return self.amount_units(price, quantity)
        return price.counted.most(_micros(price, quantity))

    def count(self, price: Price, quantity: Decimal, occurred_us: int) -> Count | None:
        """What the event adds to a counter; None if its price does not depend on one."""
        if price.counted is None or price.rate_id is None:
            return None
        if price.known and self._is_whole(price, quantity):
            return None
        micros = _micros(price, quantity)
        day = self._counted_on(price, occurred_us)
        return None if day is None else Count(price.rate_id, day, micros, price.counted)

    def _counted_on(self, price: Price, occurred_us: int) -> date | None:
        """First local day that is counted together with an instant, if it is in a subscription.

        That is where its billing period begins or, if later, where rating begins anew.
        """
        index = bisect_right(self.starts_us, occurred_us) - 1
        era = self.eras[index] if index >= 0 else None
        if era is None or era.billed_from is None:
            return None
        period = self._period(era, local_day(_instant(occurred_us), self.zone))
        return max(period.start, price.counted_from or period.start)

    def _period(self, era: Era, day: date) -> Period:
        for period in self._periods:
            if day in period:
                return period
        if era.billed_from is None:
            raise ValueError("no period without a subscription")
        found = era.calendar.period(day)
        found = Period(max(found.start, era.billed_from), found.end)
        self._periods.insert(0, found)
        del self._periods[_MOST_PERIODS:]
        return found

    def _is_whole(self, price: Price, quantity: Decimal) -> bool:
        """Whether an event comes to whole wallet units by itself: no count is needed then."""
        if price.counts_events and price.event_micros == MICROS:
            return True
        exponent = currency(self.currency).wallet_exponent
        amounts = (*(one * quantity for one in price.unit_prices), *price.event_prices)
        units = (amount.scaleb(exponent) for amount in amounts)
        return all(unit == unit.to_integral_value() for unit in units)


def _micros(price: Price, quantity: Decimal) -> int:
    """Millionths of a unit that an event counts as."""
    return price.event_micros if price.counts_events else int(quantity.scaleb(6)) * price.times


def _price(
    charges: tuple[CompiledCharge, ...],
    event_type: str,
    dimensions: Mapping[str, str],
    code: str,
) -> Price:
    if not charges:
        return Price(PriceReason.NO_SUBSCRIPTION)
    said = dimensions
    dimensions = {name: dimensions[name] for name in DIMENSIONS if name in dimensions}
    reason = PriceReason.NO_CHARGE
    reads: tuple[str, ...] = ()
    matched: list[tuple[CompiledCharge, CompiledRate]] = []
    for charge in charges:
        if charge.event_type != event_type:
            continue
        if not counts(charge.event_filter, dimensions):
            reason = PriceReason.EXCLUDED
            continue
        rate = charge.find(dimensions)
        if charge.measure.aggregation not in ADDITIVE:
            # no event costs anything by itself; prepaid accounts are not sold such charges
            reason = PriceReason.NO_RATE if rate is None else PriceReason.OK
            continue
        reads += properties_read(charge.measure)
        if rate is None or factor_of(charge.measure, said) is None:
            return Price(PriceReason.NO_RATE, reads=reads)
        matched.append((charge, rate))
    if not matched:
        return Price(reason)
    prices = [_parts(charge, rate, said) for charge, rate in matched]
    event_prices = tuple(price for events, _, price in prices if events and price is not None)
    unit_prices = tuple(price for events, _, price in prices if not events and price is not None)
    charge, rate = matched[0]
    counts_events, factor, _ = prices[0]
    return Price(
        reason=PriceReason.OK,
        rate_id=rate.id,
        unit_prices=unit_prices,
        event_prices=event_prices,
        counted=rate.counted if len(matched) == 1 else None,
        counted_from=None if rate.by_period else charge.starts_on,
        counts_events=counts_events,
        event_micros=int(factor.scaleb(6)),
        times=int(factor),
        reads=reads,
        known=all(price is not None for _, _, price in prices),
        one_units=_amount(unit_prices, event_prices, Decimal(1), code),
        rate_field=uuid_field(rate.id),
    )


def _parts(
    charge: CompiledCharge, rate: CompiledRate, said: Mapping[str, str]
) -> tuple[bool, Decimal, Decimal | None]:
    """Whether an event is so many units whatever its quantity; how many, or how many one of its
    quantity is; and what these cost, if that does not depend on what came before."""
    measure = charge.measure
    factor = Decimal(1) if measure.aggregation == COUNT else factor_of(measure, said) or Decimal(0)
    by_property = measure.property_name is not None and measure.conversion is None
    price = None if rate.unit_price is None else rate.unit_price * factor
    return measure.aggregation == COUNT or by_property, factor, price


def _amount(
    unit_prices: tuple[Decimal, ...],
    event_prices: tuple[Decimal, ...],
    quantity: Decimal,
    code: str,
) -> int:
    per_unit = sum(to_units(price * quantity, code) for price in unit_prices)
    return per_unit + sum(to_units(price, code) for price in event_prices)


def _card_version(account: BillableAccount) -> int:
    text = repr((account.currency, account.zone, account.wallet_id, account.eras))
    digest = hashlib.blake2b(text.encode(), digest_size=4).digest()
    return int.from_bytes(digest) >> 1  # a positive integer of PostgreSQL


def _instant(occurred_us: int) -> datetime:
    return EPOCH + timedelta(microseconds=occurred_us)


def assumed_dimensions(
    account: BillableAccount, event_type: str, dimensions: Mapping[str, str], occurred_us: int
) -> Mapping[str, str]:
    """The dimensions an event will have if it turns out billable.

    Before sending, nobody knows the delivery status. Where an item counts only some values of a
    dimension that is not given yet, the first of them is assumed.
    """
    index = bisect_right(account.starts_us, occurred_us) - 1
    charges = account.eras[index].charges if index >= 0 else ()
    assumed = dict(dimensions)
    for charge in charges:
        if charge.event_type == event_type:
            for name, values in charge.event_filter.items():
                if values:
                    assumed.setdefault(name, values[0])
    return assumed
