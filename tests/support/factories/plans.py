"""Plans made from the charges that rating reads, and subscriptions to them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from itertools import count
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.catalog.tables import (
    BillableItem,
    ChargeLimit,
    ItemKind,
    PlanVersion,
    PricePlan,
    VersionStatus,
)
from billing.catalog.tables import Charge as ChargeRow
from billing.catalog.tables import Rate as RateRow
from billing.catalog.tables import RateTier as TierRow
from billing.customers.tables import Account
from billing.ids import new_id
from billing.periods import Period
from billing.rating.plan import Charge, Rate
from billing.subscriptions.tables import (
    BillingPeriod,
    Subscription,
    SubscriptionSegment,
    SubscriptionStatus,
)
from tests.support.factories.parties import LONG_AGO

_numbers = count(1)


def make_plan(
    session: Session,
    charges: Sequence[Charge],
    *,
    decks: Mapping[str, UUID] | None = None,
    is_add_on: bool = False,
    grace_days: int = 3,
) -> tuple[PlanVersion, list[Charge]]:
    """An active plan version with these charges; also returns them with the ids they were given.

    Args:
        decks: by the code of a charge that uses one.
        is_add_on: it is sold beside another plan.
        grace_days: how long late events join a month that it bills.
    """
    number = next(_numbers)
    plan = PricePlan(
        code=f"plan-{number}", name=f"Plan {number}", is_add_on=is_add_on, created_at=LONG_AGO
    )
    session.add(plan)
    session.flush()
    version = PlanVersion(
        plan_id=plan.id,
        version=1,
        status=VersionStatus.DRAFT,
        grace_days=grace_days,
        created_at=LONG_AGO,
    )
    session.add(version)
    session.flush()
    stored = [
        _make_charge(session, version, ordinal, charge) for ordinal, charge in enumerate(charges, 1)
    ]
    session.flush()
    for charge in stored:
        if charge.code in (decks or {}):
            session.get_one(ChargeRow, charge.id).rate_deck_id = (decks or {})[charge.code]
    session.flush()
    version.status = VersionStatus.ACTIVE
    version.published_at = LONG_AGO
    session.flush()
    return version, stored


def _make_charge(session: Session, version: PlanVersion, ordinal: int, charge: Charge) -> Charge:
    item = BillableItem(
        code=f"{charge.item_code}-{next(_numbers)}",
        name=charge.item_code,
        kind=ItemKind.RECURRING if charge.event_type is None else ItemKind.USAGE,
        event_type=charge.event_type,
        event_filter={name: list(values) for name, values in charge.event_filter.items()},
        aggregation=charge.aggregation,
        property_name=charge.property_name,
        conversion=charge.conversion,
        unit=charge.unit,
        sac=charge.sac,
        created_at=LONG_AGO,
    )
    session.add(item)
    session.flush()
    row = ChargeRow(
        plan_version_id=version.id,
        item_id=item.id,
        ordinal=ordinal,
        code=charge.code,
        name=charge.name,
        price_model=charge.price_model,
        prorated=charge.prorated,
        timing=charge.timing,
        free_units=charge.free_units,
        free_pool=charge.free_pool,
        dearest_of=charge.dearest_of,
        free_events=charge.free_events,
        unit_divisor=charge.unit_divisor,
        unit_rounding=charge.unit_rounding,
        tier_mode=charge.tier_mode,
        bills_zero=charge.bills_zero,
        discount_percent=charge.discount_percent,
        limits=[
            ChargeLimit(currency=one.currency, minimum=one.minimum, maximum=one.maximum)
            for one in charge.limits
        ],
        package_size=charge.package_size,
        match_dimensions=sorted({name for rate in charge.rates for name in rate.match}),
    )
    session.add(row)
    session.flush()
    rates = tuple(_make_rate(session, row, rate) for rate in charge.rates)
    return replace(charge, id=row.id, item_code=item.code, rates=rates)


def _make_rate(session: Session, charge: ChargeRow, rate: Rate) -> Rate:
    row = RateRow(
        charge_id=charge.id,
        ordinal=rate.ordinal,
        currency=rate.currency,
        match=dict(rate.match),
    )
    session.add(row)
    session.flush()
    session.add_all(
        TierRow(
            rate_id=row.id,
            ordinal=ordinal,
            up_to=tier.up_to,
            unit_price=tier.unit_price,
            flat_amount=tier.flat_amount,
            package_size=tier.package_size,
            event_minimum=tier.event_minimum,
            event_maximum=tier.event_maximum,
        )
        for ordinal, tier in enumerate(rate.tiers, 1)
    )
    return replace(rate, id=row.id)


def make_subscription(
    session: Session,
    account: Account,
    segments: Sequence[tuple[PlanVersion, Decimal, date, date | None]],
    *,
    anchor_day: int = 1,
) -> Subscription:
    """A subscription with segments given as version, quantity, first day, day after the last."""
    last = segments[-1][3]
    subscription = Subscription(
        account_id=account.id,
        status=SubscriptionStatus.ACTIVE,
        anchor_day=anchor_day,
        starts_on=segments[0][2],
        ends_on=last,
        created_at=LONG_AGO,
        updated_at=LONG_AGO,
    )
    session.add(subscription)
    session.flush()
    session.add_all(
        SubscriptionSegment(
            subscription_id=subscription.id,
            plan_version_id=version.id,
            quantity=quantity,
            starts_on=starts_on,
            ends_on=ends_on,
        )
        for version, quantity, starts_on, ends_on in segments
    )
    session.flush()
    return subscription


def move_recurring(session: Session, subscription: Subscription, day: date | None) -> None:
    """Let the recurring charges of two segments change hands on a day of their own."""
    if day is None:
        return
    first, second = session.scalars(
        select(SubscriptionSegment)
        .filter_by(subscription_id=subscription.id)
        .order_by(SubscriptionSegment.starts_on)
    )
    first.recurring_to = second.recurring_from = day
    session.flush()


def make_billing_period(
    session: Session,
    subscription: Subscription,
    zone: str,
    period: Period,
    invoice_month: date,
    whole: Period | None = None,
) -> BillingPeriod:
    """One billing period, as part of a whole one: the one that the subscription's cycle says."""
    whole = whole or subscription.cycle.containing(period.start)
    starts_at, ends_at = period.instants(zone)
    row = BillingPeriod(
        id=new_id(),
        subscription_id=subscription.id,
        account_id=subscription.account_id,
        starts_on=period.start,
        ends_on=period.end,
        full_starts_on=whole.start,
        full_ends_on=whole.end,
        starts_at=starts_at,
        ends_at=ends_at,
        invoice_month=invoice_month,
    )
    session.add(row)
    session.flush()
    return row
