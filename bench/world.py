"""What the load needs to exist: a published plan, prepaid accounts with wallets, an API key."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy.orm import Session

from billing.access.actor import SYSTEM
from billing.access.roles import Role
from billing.access.service import CreateApiKey, create_api_key
from billing.catalog.tables import (
    Aggregation,
    BillableItem,
    Charge,
    ItemKind,
    PlanVersion,
    PriceModel,
    PricePlan,
    Rate,
    RateTier,
    VersionStatus,
)
from billing.clock import SystemClock
from billing.commands import Context
from billing.customers.tables import Account, AccountStatus, BillingMode, Customer
from billing.db.engine import open_engine
from billing.db.unit_of_work import unit_of_work
from billing.settings import Settings
from billing.subscriptions.tables import Subscription, SubscriptionSegment, SubscriptionStatus
from billing.wallets.service import TopUp, top_up
from billing.wallets.tables import Wallet, WalletStatus

EVENT_TYPE = "otp.sms"
PRICES = {"IN": 120_000, "US": 600_000, "ID": 250_000}
"""Wallet units of one message, by country."""

TOP_UP_MINOR = 50_000_000
_CREDIT_LINE_UNITS = 10**13
"""Enough for no account to run into its limit, which would be another case."""

_SINCE = datetime(2026, 1, 1, tzinfo=UTC)
_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True)
class Payer:
    """An account that can send."""

    account_id: UUID
    wallet_id: UUID


@dataclass(frozen=True, slots=True)
class World:
    """What exists."""

    key: str
    payers: list[Payer]
    paid: dict[UUID, int]
    """Wallet units paid in, by wallet."""


def make_world(database_url: str, accounts: int, funded: int, shards: int) -> World:
    """Make it; the first `funded` wallets have money, the others credit."""
    engine = open_engine(database_url, application="bench")
    try:
        with unit_of_work(engine) as session:
            version_id = _plan(session).id
            ctx = Context(session, SYSTEM, SystemClock())
            _, key = create_api_key(
                ctx, CreateApiKey(name="bench", role=Role.SENDER), Settings.load()
            )
        payers: list[Payer] = []
        for start in range(0, accounts, _AT_ONCE):
            numbers = range(start, min(start + _AT_ONCE, accounts))
            with unit_of_work(engine) as session:
                payers += make_payers(session, version_id, numbers, shards)
        paid = dict.fromkeys((payer.wallet_id for payer in payers), 0)
        with unit_of_work(engine) as session:
            ctx = Context(session, SYSTEM, SystemClock())
            for payer in payers[:funded]:
                top_up(
                    ctx,
                    TopUp(
                        wallet_id=payer.wallet_id,
                        amount_minor=TOP_UP_MINOR,
                        reference=f"bench-{payer.wallet_id}",
                    ),
                )
                paid[payer.wallet_id] = TOP_UP_MINOR * 10_000
    finally:
        engine.dispose()
    return World(str(key), payers, paid)


def _plan(session: Session) -> PlanVersion:
    item = BillableItem(
        code="bench-sms",
        name="SMS",
        kind=ItemKind.USAGE,
        event_type=EVENT_TYPE,
        event_filter={"status": ["delivered", "sent"]},
        aggregation=Aggregation.COUNT,
        unit="message",
        sac="998413",
        created_at=_SINCE,
    )
    plan = PricePlan(code="bench", name="Bench", created_at=_SINCE)
    session.add_all([item, plan])
    session.flush()
    version = PlanVersion(plan_id=plan.id, version=1, status=VersionStatus.DRAFT, created_at=_SINCE)
    session.add(version)
    session.flush()
    charge = Charge(
        plan_version_id=version.id,
        item_id=item.id,
        ordinal=1,
        code="sms",
        name="SMS",
        price_model=PriceModel.PER_UNIT,
        match_dimensions=["country"],
    )
    session.add(charge)
    session.flush()
    for ordinal, (country, units) in enumerate(PRICES.items(), 1):
        rate = Rate(
            charge_id=charge.id, ordinal=ordinal, currency="INR", match={"country": country}
        )
        session.add(rate)
        session.flush()
        price = Decimal(units).scaleb(-6)
        session.add(RateTier(rate_id=rate.id, ordinal=1, unit_price=price))
    session.flush()
    version.status = VersionStatus.ACTIVE
    version.published_at = _SINCE
    session.flush()
    return version


def make_payers(session: Session, version_id: UUID, numbers: range, shards: int) -> list[Payer]:
    """Accounts with a wallet and a subscription, named by their numbers."""
    stamps = {"created_at": _SINCE, "updated_at": _SINCE}
    customers = [Customer(code=f"bench-{n}", name=f"Bench {n}", **stamps) for n in numbers]
    session.add_all(customers)
    session.flush()
    accounts = [
        Account(
            customer_id=customer.id,
            code=customer.code,
            name=customer.name,
            billing_mode=BillingMode.PREPAID,
            currency="INR",
            zone="Asia/Kolkata",
            status=AccountStatus.ACTIVE,
            shard=number % shards,
            **stamps,
        )
        for number, customer in zip(numbers, customers, strict=True)
    ]
    session.add_all(accounts)
    session.flush()
    subscriptions = [
        Subscription(
            account_id=account.id,
            status=SubscriptionStatus.ACTIVE,
            starts_on=date(2026, 1, 1),
            **stamps,
        )
        for account in accounts
    ]
    wallets = [
        Wallet(
            account_id=account.id,
            currency="INR",
            shard=account.shard,
            credit_line_units=_CREDIT_LINE_UNITS,
            status=WalletStatus.ACTIVE,
            **stamps,
        )
        for account in accounts
    ]
    session.add_all([*subscriptions, *wallets])
    session.flush()
    session.add_all(
        SubscriptionSegment(
            subscription_id=subscription.id,
            plan_version_id=version_id,
            starts_on=date(2026, 1, 1),
        )
        for subscription in subscriptions
    )
    session.flush()
    return [Payer(account.id, wallet.id) for account, wallet in zip(accounts, wallets, strict=True)]
