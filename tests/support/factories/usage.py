"""Accounts that can send, and journal entries as the intake would write them."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import count
from uuid import UUID

from sqlalchemy.orm import Session

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
from billing.customers.tables import Account, BillingMode
from billing.subscriptions.tables import Subscription, SubscriptionSegment, SubscriptionStatus
from billing.usage.batch import JournalEntry, Position
from billing.usage.event import EventCheck, EventIn, UsageEvent
from billing.usage.row import encode_row, row_head, uuid_field
from billing.wallets.tables import Wallet, WalletStatus
from tests.support.factories.parties import LONG_AGO, make_account

NOW = datetime(2026, 7, 15, 4, 30, tzinfo=UTC)
SMS_PRICE = Decimal("0.12")
_plans = count(1)


@dataclass(frozen=True, slots=True)
class Sender:
    """An account with its wallet, if it has one."""

    account: Account
    wallet: Wallet | None


def make_plan(session: Session, *, currency: str = "INR") -> PlanVersion:
    """A published plan: delivered or sent SMS at 0.12, to the US at 0.60."""
    number = next(_plans)
    item = BillableItem(
        code=f"sms-{number}",
        name="SMS",
        kind=ItemKind.USAGE,
        event_type="otp.sms",
        event_filter={"status": ["delivered", "sent"]},
        aggregation=Aggregation.COUNT,
        unit="message",
        sac="998413",
        created_at=LONG_AGO,
    )
    plan = PricePlan(code=f"plan-{number}", name="Plan", created_at=LONG_AGO)
    session.add_all([item, plan])
    session.flush()
    version = PlanVersion(
        plan_id=plan.id, version=1, status=VersionStatus.DRAFT, created_at=LONG_AGO
    )
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
    for ordinal, (country, price) in enumerate([("IN", SMS_PRICE), ("US", Decimal("0.60"))], 1):
        rate = Rate(
            charge_id=charge.id, ordinal=ordinal, currency=currency, match={"country": country}
        )
        session.add(rate)
        session.flush()
        session.add(RateTier(rate_id=rate.id, ordinal=1, unit_price=price))
    session.flush()
    version.status = VersionStatus.ACTIVE
    version.published_at = LONG_AGO
    session.flush()
    return version


def subscribe(session: Session, account: Account, version: PlanVersion) -> None:
    """A subscription since the beginning of 2026."""
    subscription = Subscription(
        account_id=account.id,
        status=SubscriptionStatus.ACTIVE,
        starts_on=date(2026, 1, 1),
        created_at=LONG_AGO,
        updated_at=LONG_AGO,
    )
    session.add(subscription)
    session.flush()
    session.add(
        SubscriptionSegment(
            subscription_id=subscription.id,
            plan_version_id=version.id,
            starts_on=date(2026, 1, 1),
        )
    )
    session.flush()


def make_sender(
    session: Session,
    version: PlanVersion | None = None,
    *,
    prepaid: bool = True,
    credit_line_units: int = 0,
    shard: int = 0,
) -> Sender:
    """An account that may send: subscribed and, if prepaid, with an empty wallet."""
    mode = BillingMode.PREPAID if prepaid else BillingMode.POSTPAID
    account = make_account(session, billing_mode=mode, tax_profile=False)
    account.shard = shard
    if version is not None:
        subscribe(session, account, version)
    wallet = None
    if prepaid:
        wallet = Wallet(
            account_id=account.id,
            currency=account.currency,
            shard=account.shard,
            credit_line_units=credit_line_units,
            status=WalletStatus.SUSPENDED,
            created_at=LONG_AGO,
            updated_at=LONG_AGO,
        )
        session.add(wallet)
        session.flush()
    return Sender(account, wallet)


def make_event(
    event_id: str,
    account_id: UUID,
    *,
    source: str = "core",
    quantity: int | str = 1,
    occurred_at: datetime = NOW,
    dimensions: dict[str, str] | None = None,
) -> UsageEvent:
    """A checked event."""
    checked = EventCheck(NOW)(
        EventIn(
            source=source,
            event_id=event_id,
            event_type="otp.sms",
            occurred_at=occurred_at,
            account_id=str(account_id),
            quantity=quantity,
            dimensions=dimensions or {"country": "IN", "status": "delivered"},
        )
    )
    assert isinstance(checked, UsageEvent), checked
    return checked


def make_row(sender: Sender, event: UsageEvent, amount_units: int) -> bytes:
    """The row the intake would make of an event."""
    wallet_id = sender.wallet.id if sender.wallet else None
    return encode_row(row_head(wallet_id, sender.account.id), uuid_field(None), amount_units, event)


def make_entry(ms: int, *rows: bytes, seq: int = 0, received_at: datetime = NOW) -> JournalEntry:
    """A stream entry with these rows."""
    return JournalEntry(Position(ms, seq), received_at, len(rows), b"".join(rows))
