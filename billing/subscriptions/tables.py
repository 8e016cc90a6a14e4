"""Who bought what, and the periods it is billed in."""

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Integer, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from billing.db.base import Base, choices
from billing.ids import new_id


class SubscriptionStatus(StrEnum):
    """Whether a subscription still bills."""

    ACTIVE = "active"
    ENDED = "ended"


class Subscription(Base):
    """An account's agreement to a plan, from a local day on."""

    __tablename__ = "subscriptions"
    __table_args__ = (
        CheckConstraint("anchor_day BETWEEN 1 AND 31", name="anchor_in_month"),
        CheckConstraint("ends_on > starts_on", name="some_days"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("billing.accounts.id"), index=True)
    status: Mapped[SubscriptionStatus] = mapped_column(choices(SubscriptionStatus))
    anchor_day: Mapped[int] = mapped_column(Integer, default=1)
    starts_on: Mapped[date]
    ends_on: Mapped[date | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class SubscriptionSegment(Base):
    """One plan version and quantity over a half-open range of local days."""

    __tablename__ = "subscription_segments"
    __table_args__ = (
        UniqueConstraint("subscription_id", "starts_on"),
        CheckConstraint("ends_on > starts_on", name="some_days"),
        CheckConstraint("quantity > 0 AND quantity <> 'NaN'", name="quantity_positive"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    subscription_id: Mapped[UUID] = mapped_column(ForeignKey("billing.subscriptions.id"))
    plan_version_id: Mapped[UUID] = mapped_column(ForeignKey("billing.price_plan_versions.id"))
    quantity: Mapped[Decimal] = mapped_column(default=Decimal(1))
    starts_on: Mapped[date]
    ends_on: Mapped[date | None]


class BillingPeriod(Base):
    """One period of a subscription, with the instants that bound it. Periods tile its life."""

    __tablename__ = "billing_periods"
    __table_args__ = (
        UniqueConstraint("subscription_id", "starts_on"),
        CheckConstraint("ends_on > starts_on", name="some_days"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    subscription_id: Mapped[UUID] = mapped_column(ForeignKey("billing.subscriptions.id"))
    account_id: Mapped[UUID] = mapped_column(ForeignKey("billing.accounts.id"))
    starts_on: Mapped[date]
    ends_on: Mapped[date]
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    invoice_month: Mapped[date] = mapped_column(index=True)
    """First day of the month that holds the period's last day."""
