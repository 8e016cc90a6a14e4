"""Reading accounts with all that prices their events, many at once.

After a start, or when prices were published, thousands of accounts are wanted at the same moment:
they are read by a handful of queries together, and accounts of one plan share its charges.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Final
from uuid import UUID

from sqlalchemy import and_, select
from sqlalchemy.orm import Session, selectinload

from billing.catalog.tables import Aggregation, BillableItem, Charge, ItemKind, PriceModel, Rate
from billing.customers.standing import standing_of
from billing.customers.tables import Account, BillingMode
from billing.entitlements.service import load_quotas_of
from billing.periods import local_midnight
from billing.rating.cumulative import CumulativePrice, cumulative_price
from billing.rating.plan import Tier
from billing.subscriptions.tables import Subscription, SubscriptionSegment
from billing.usage.event import microseconds
from billing.usage.tables import WalletDrift
from billing.wallets.rate_card import BillableAccount, CompiledCharge, CompiledRate, Era
from billing.wallets.tables import Wallet

_END_OF_TIME: Final = 2**62

_Charges = Mapping[tuple[UUID, str], tuple[CompiledCharge, ...]]
_Segments = Sequence[tuple[SubscriptionSegment, Subscription]]


def load_account(session: Session, account_id: UUID) -> BillableAccount | None:
    """Compile an account with its wallet, segments, charges, rates and quotas."""
    return load_accounts(session, [account_id]).get(account_id)


def load_accounts(session: Session, ids: Collection[UUID]) -> dict[UUID, BillableAccount]:
    """The same for many; an account that does not exist is left out."""
    accounts = session.scalars(select(Account).where(Account.id.in_(ids))).all()
    wallets = _wallets(session, accounts)
    drift = select(WalletDrift.wallet_id).where(
        WalletDrift.settled_at.is_(None), WalletDrift.wallet_id.in_(wallets.values())
    )
    frozen = set(session.scalars(drift)) if wallets else set()
    segments = _segments(session, ids)
    versions = {one.plan_version_id for found in segments.values() for one, _ in found}
    charges = _charges(session, versions, {account.currency for account in accounts})
    quotas = load_quotas_of(session, ids)
    return {
        account.id: BillableAccount(
            id=account.id,
            customer_id=account.customer_id,
            code=account.code,
            zone=account.zone,
            currency=account.currency,
            billing_mode=account.billing_mode,
            standing=standing_of(account, is_frozen=wallets.get(account.id) in frozen),
            shard=account.shard,
            wallet_id=wallets.get(account.id),
            eras=_eras(account, segments.get(account.id, []), charges),
            quotas=quotas.get(account.id, ()),
        )
        for account in accounts
    }


def _wallets(session: Session, accounts: Sequence[Account]) -> dict[UUID, UUID]:
    """The wallets of the prepaid ones, by account."""
    prepaid = [one.id for one in accounts if one.billing_mode is BillingMode.PREPAID]
    if not prepaid:
        return {}
    rows = session.execute(
        select(Wallet.account_id, Wallet.id)
        .join(Account, and_(Account.id == Wallet.account_id, Account.currency == Wallet.currency))
        .where(Wallet.account_id.in_(prepaid))
    )
    return {row.account_id: row.id for row in rows}


def _segments(
    session: Session, ids: Collection[UUID]
) -> dict[UUID, list[tuple[SubscriptionSegment, Subscription]]]:
    found: dict[UUID, list[tuple[SubscriptionSegment, Subscription]]] = {}
    rows = session.execute(
        select(SubscriptionSegment, Subscription)
        .join(Subscription, Subscription.id == SubscriptionSegment.subscription_id)
        .where(Subscription.account_id.in_(ids))
        .order_by(SubscriptionSegment.starts_on)
    )
    for segment, subscription in rows:
        found.setdefault(subscription.account_id, []).append((segment, subscription))
    return found


def _eras(account: Account, segments: _Segments, charges: _Charges) -> tuple[Era, ...]:
    spans: list[tuple[int, int, tuple[CompiledCharge, ...], tuple[date, date, int]]] = []
    for segment, subscription in segments:
        ends = [day for day in (segment.ends_on, subscription.ends_on) if day is not None]
        starts_us = microseconds(local_midnight(segment.starts_on, account.zone))
        ends_us = microseconds(local_midnight(min(ends), account.zone)) if ends else _END_OF_TIME
        days = (segment.starts_on, subscription.starts_on, subscription.anchor_day)
        priced = charges.get((segment.plan_version_id, account.currency), ())
        spans.append((starts_us, ends_us, priced, days))
    bounds = sorted({bound for start, end, *_ in spans for bound in (start, end)})
    eras = []
    for bound in bounds:
        covering = [span for span in spans if span[0] <= bound < span[1]]
        found = tuple(charge for span in covering for charge in span[2])
        eras.append(Era(bound, found, *covering[0][3]) if covering else Era(bound, found))
    return tuple(eras)


def _charges(
    session: Session, version_ids: Collection[UUID], codes: Collection[str]
) -> dict[tuple[UUID, str], tuple[CompiledCharge, ...]]:
    """The usage charges of plan versions, for each currency."""
    found: dict[tuple[UUID, str], list[CompiledCharge]] = {}
    if not version_ids:
        return {}
    rows = session.execute(
        select(Charge, BillableItem)
        .join(BillableItem, BillableItem.id == Charge.item_id)
        .where(Charge.plan_version_id.in_(version_ids), BillableItem.kind == ItemKind.USAGE)
        .options(selectinload(Charge.rates).selectinload(Rate.tiers))
        .order_by(Charge.plan_version_id, Charge.ordinal)
    )
    for charge, item in rows:
        for code in codes:
            compiled = _charge(charge, item, code)
            found.setdefault((charge.plan_version_id, code), []).append(compiled)
    return {which: tuple(compiled) for which, compiled in found.items()}


def _charge(charge: Charge, item: BillableItem, code: str) -> CompiledCharge:
    simple = charge.price_model is PriceModel.PER_UNIT and not charge.free_units
    return CompiledCharge(
        event_type=item.event_type or "",
        event_filter={name: tuple(values) for name, values in item.event_filter.items()},
        counts_events=item.aggregation is Aggregation.COUNT,
        rates=tuple(
            CompiledRate(
                rate.id,
                rate.match,
                rate.tiers[0].unit_price if simple else None,
                _counted(charge, rate),
                charge.price_model is PriceModel.PER_UNIT,
            )
            for rate in charge.rates
            if rate.currency == code and rate.tiers
        ),
    )


def _counted(charge: Charge, rate: Rate) -> CumulativePrice | None:
    """The function of a rate; None for one that was published before it had to be exact."""
    tiers = [Tier(tier.up_to, tier.unit_price, tier.flat_amount) for tier in rate.tiers]
    try:
        return cumulative_price(
            charge.price_model,
            tiers,
            free_units=charge.free_units,
            package_size=charge.package_size,
            code=rate.currency,
        )
    except ValueError:
        return None
