"""Reading accounts with all that prices their events, many at once.

After a start, or when prices were published, thousands of accounts are wanted at the same moment:
they are read by a handful of queries together, and accounts of one plan share its charges.
"""

from collections.abc import Collection, Sequence
from datetime import date
from uuid import UUID

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from billing.customers.standing import standing_of
from billing.customers.tables import Account, BillingMode
from billing.entitlements.service import load_quotas_of
from billing.periods import local_midnight
from billing.subscriptions.repository import calendars
from billing.subscriptions.tables import Subscription, SubscriptionSegment
from billing.usage.event import microseconds
from billing.usage.tables import WalletDrift
from billing.wallets.card_rates import CardRates
from billing.wallets.rate_card import BillableAccount, Era
from billing.wallets.tables import Wallet

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
    rates = CardRates(session, versions, ids)
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
            eras=_eras(account, segments.get(account.id, []), rates),
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
        # the plan before its add-ons, as their rates are read
        .order_by(SubscriptionSegment.add_on_id.nulls_first(), SubscriptionSegment.starts_on)
    )
    for segment, subscription in rows:
        found.setdefault(subscription.account_id, []).append((segment, subscription))
    return found


def _eras(account: Account, segments: _Segments, rates: CardRates) -> tuple[Era, ...]:
    """Stretches over which the same charges cost the same: they begin at local midnights."""
    spans = []
    bounds: set[date] = set()
    for segment, subscription in segments:
        ends_on = min(
            (day for day in (segment.ends_on, subscription.ends_on) if day is not None),
            default=date.max,
        )
        spans.append((segment, subscription, ends_on))
        bounds |= {segment.starts_on, ends_on}
        changes = rates.changes(segment.plan_version_id, account.id)
        bounds |= {day for day in changes if segment.starts_on < day < ends_on}
    found = calendars((one for _, one in segments), (one for one, _ in segments))
    eras = []
    for day in sorted(bounds - {date.max}):
        covering = [span for span in spans if span[0].starts_on <= day < span[2]]
        charges = tuple(
            charge
            for segment, _, _ in covering
            for charge in rates.on(
                segment.plan_version_id, account.id, account.currency, day, segment.starts_on
            )
        )
        starts_us = microseconds(local_midnight(day, account.zone))
        if covering:
            subscription = covering[0][1]
            calendar = found[subscription.id]
            eras.append(Era(starts_us, charges, subscription.starts_on, calendar))
        else:
            eras.append(Era(starts_us, charges))
    return tuple(eras)
