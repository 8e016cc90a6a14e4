"""What an account's events cost, compiled for the wallet path.

The provisional price of an event is exact for per-unit prices: the rate that matches, times the
units, rounded once to a wallet unit. Other price models depend on what came before; prepaid
accounts cannot have them, and postpaid accounts have no wallet to debit.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from billing.catalog.tables import Aggregation, BillableItem, Charge, ItemKind, PriceModel, Rate
from billing.customers.standing import Standing, standing_of
from billing.customers.tables import Account, AccountAlias, BillingMode
from billing.money import to_units
from billing.periods import local_midnight
from billing.rating.match import DIMENSIONS, counts, match_rate
from billing.subscriptions.tables import Subscription, SubscriptionSegment
from billing.usage.event import microseconds
from billing.usage.row import row_head, uuid_field
from billing.wallets.tables import Wallet

_MOST_PRICES: Final = 4096
_END_OF_TIME: Final = 2**62


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


@dataclass(frozen=True, slots=True)
class CompiledCharge:
    """A usage charge with its rates in the account's currency."""

    event_type: str
    event_filter: Mapping[str, tuple[str, ...]]
    counts_events: bool
    rates: tuple[CompiledRate, ...]


@dataclass(frozen=True, slots=True)
class Price:
    """What one kind of event costs in one era of an account."""

    reason: PriceReason
    rate_id: UUID | None = None
    unit_prices: tuple[Decimal, ...] = ()
    """For each unit of the event's quantity."""
    event_prices: tuple[Decimal, ...] = ()
    """For the event as such."""
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
    head: bytes = b""
    starts_us: list[int] = field(default_factory=list)
    _prices: dict[tuple[object, ...], Price] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.head = row_head(self.wallet_id, self.id)
        self.starts_us = [era.starts_us for era in self.eras]

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
        )
        found = self._prices.get(key)
        if found is None:
            charges = self.eras[index].charges if index >= 0 else ()
            found = _price(charges, event_type, dimensions, self.currency)
            if len(self._prices) >= _MOST_PRICES:
                self._prices.clear()
            self._prices[key] = found
        return found

    def amount_units(self, price: Price, quantity: Decimal) -> int:
        """The provisional debit in wallet units; each charge is rounded by itself.

        Raises:
            OverflowError: if it exceeds what a wallet can hold.
        """
        if quantity == 1:
            return price.one_units
        return _amount(price.unit_prices, price.event_prices, quantity, self.currency)


@dataclass(frozen=True, slots=True)
class AliasRange:
    """The local days on which an alias names an account."""

    account_id: UUID
    valid_from: date
    valid_to: date | None


def load_aliases(session: Session, alias: str) -> tuple[AliasRange, ...]:
    """Which accounts an alias named when, the latest first."""
    rows = session.execute(
        select(AccountAlias.account_id, AccountAlias.valid_from, AccountAlias.valid_to)
        .where(AccountAlias.alias == alias)
        .order_by(AccountAlias.valid_from.desc())
    )
    return tuple(AliasRange(*row) for row in rows)


def load_account(session: Session, account_id: UUID) -> BillableAccount | None:
    """Compile an account with its wallet, segments, charges and rates."""
    account = session.get(Account, account_id)
    if account is None:
        return None
    wallet_id = None
    if account.billing_mode is BillingMode.PREPAID:
        wallet_id = session.scalar(
            select(Wallet.id).filter_by(account_id=account.id, currency=account.currency)
        )
    return BillableAccount(
        id=account.id,
        customer_id=account.customer_id,
        code=account.code,
        zone=account.zone,
        currency=account.currency,
        billing_mode=account.billing_mode,
        standing=standing_of(account),
        shard=account.shard,
        wallet_id=wallet_id,
        eras=_eras(session, account),
    )


def _eras(session: Session, account: Account) -> tuple[Era, ...]:
    segments = session.execute(
        select(SubscriptionSegment, Subscription.ends_on)
        .join(Subscription, Subscription.id == SubscriptionSegment.subscription_id)
        .where(Subscription.account_id == account.id)
        .order_by(SubscriptionSegment.starts_on)
    ).all()
    charges = _charges(
        session, {segment.plan_version_id for segment, _ in segments}, account.currency
    )
    spans: list[tuple[int, int, tuple[CompiledCharge, ...]]] = []
    for segment, subscription_ends_on in segments:
        ends = [day for day in (segment.ends_on, subscription_ends_on) if day is not None]
        starts_us = microseconds(local_midnight(segment.starts_on, account.zone))
        ends_us = microseconds(local_midnight(min(ends), account.zone)) if ends else _END_OF_TIME
        spans.append((starts_us, ends_us, charges.get(segment.plan_version_id, ())))
    bounds = sorted({bound for start, end, _ in spans for bound in (start, end)})
    return tuple(
        Era(
            bound,
            tuple(
                charge for start, end, found in spans if start <= bound < end for charge in found
            ),
        )
        for bound in bounds
    )


def _charges(
    session: Session, version_ids: Iterable[UUID], currency: str
) -> dict[UUID, tuple[CompiledCharge, ...]]:
    found: dict[UUID, list[CompiledCharge]] = {}
    rows = session.execute(
        select(Charge, BillableItem)
        .join(BillableItem, BillableItem.id == Charge.item_id)
        .where(Charge.plan_version_id.in_(version_ids), BillableItem.kind == ItemKind.USAGE)
        .options(selectinload(Charge.rates).selectinload(Rate.tiers))
        .order_by(Charge.plan_version_id, Charge.ordinal)
    )
    for charge, item in rows:
        simple = charge.price_model is PriceModel.PER_UNIT and not charge.free_units
        compiled = CompiledCharge(
            event_type=item.event_type or "",
            event_filter={name: tuple(values) for name, values in item.event_filter.items()},
            counts_events=item.aggregation is Aggregation.COUNT,
            rates=tuple(
                CompiledRate(rate.id, rate.match, rate.tiers[0].unit_price if simple else None)
                for rate in charge.rates
                if rate.currency == currency and rate.tiers
            ),
        )
        found.setdefault(charge.plan_version_id, []).append(compiled)
    return {version_id: tuple(compiled) for version_id, compiled in found.items()}


def _price(
    charges: tuple[CompiledCharge, ...],
    event_type: str,
    dimensions: Mapping[str, str],
    currency: str,
) -> Price:
    if not charges:
        return Price(PriceReason.NO_SUBSCRIPTION)
    dimensions = {name: dimensions[name] for name in DIMENSIONS if name in dimensions}
    reason = PriceReason.NO_CHARGE
    matched: list[tuple[CompiledCharge, CompiledRate]] = []
    for charge in charges:
        if charge.event_type != event_type:
            continue
        if not counts(charge.event_filter, dimensions):
            reason = PriceReason.EXCLUDED
            continue
        rate = match_rate(charge.rates, dimensions)
        if rate is None:
            return Price(PriceReason.NO_RATE)
        matched.append((charge, rate))
    if not matched:
        return Price(reason)
    prices = [(charge.counts_events, rate.unit_price) for charge, rate in matched]
    event_prices = tuple(price for events, price in prices if events and price is not None)
    unit_prices = tuple(price for events, price in prices if not events and price is not None)
    rate_id = matched[0][1].id
    return Price(
        reason=PriceReason.OK,
        rate_id=rate_id,
        unit_prices=unit_prices,
        event_prices=event_prices,
        known=all(price is not None for _, price in prices),
        one_units=_amount(unit_prices, event_prices, Decimal(1), currency),
        rate_field=uuid_field(rate_id),
    )


def _amount(
    unit_prices: tuple[Decimal, ...],
    event_prices: tuple[Decimal, ...],
    quantity: Decimal,
    currency: str,
) -> int:
    per_unit = sum(to_units(price * quantity, currency) for price in unit_prices)
    return per_unit + sum(to_units(price, currency) for price in event_prices)


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
