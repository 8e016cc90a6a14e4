"""Coupons: what they take off, for how long, and the subscriptions that have one."""

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column, relationship

from billing.db.base import Base, choices
from billing.ids import new_id


class Duration(StrEnum):
    """How many billing periods a coupon makes smaller."""

    ONCE = "once"
    REPEATING = "repeating"
    FOREVER = "forever"


class Coupon(Base):
    """A part of, or an amount off, what subscriptions bill. What it takes off is never edited."""

    __tablename__ = "coupons"
    __table_args__ = (
        CheckConstraint("percent > 0 AND percent <= 100", name="percent_is_percentage"),
        CheckConstraint(
            "(duration = 'repeating') = (periods IS NOT NULL) AND periods > 0",
            name="repeating_so_often",
        ),
        CheckConstraint("redeem_until > redeem_from", name="days_in_order"),
        CheckConstraint("max_redemptions > 0", name="some_redemptions"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    percent: Mapped[Decimal | None]
    """Of every line; None where it has amounts."""
    duration: Mapped[Duration] = mapped_column(choices(Duration))
    periods: Mapped[int | None] = mapped_column(Integer)
    redeem_from: Mapped[date | None]
    """First local day on which a subscription can get it."""
    redeem_until: Mapped[date | None]
    """First local day on which none can any more."""
    max_redemptions: Mapped[int | None] = mapped_column(Integer)
    created_at: Mapped[datetime]
    withdrawn_at: Mapped[datetime | None]
    """Since when nobody gets it any more; who has it keeps it."""

    amounts: Mapped[list["CouponAmount"]] = relationship(
        lazy="selectin", order_by="CouponAmount.currency", cascade="all, delete-orphan"
    )
    plans: Mapped[list["CouponPlan"]] = relationship(
        lazy="selectin", order_by="CouponPlan.plan_id", cascade="all, delete-orphan"
    )


class CouponAmount(Base):
    """What a coupon takes off each period's invoice, in one currency."""

    __tablename__ = "coupon_amounts"
    __table_args__ = (CheckConstraint("amount_minor > 0", name="amount_positive"),)

    coupon_id: Mapped[UUID] = mapped_column(ForeignKey("billing.coupons.id"), primary_key=True)
    currency: Mapped[str] = mapped_column(ForeignKey("billing.currencies.code"), primary_key=True)
    amount_minor: Mapped[int]


class CouponPlan(Base):
    """A plan whose lines a coupon makes smaller; without any, it is all of them."""

    __tablename__ = "coupon_plans"

    coupon_id: Mapped[UUID] = mapped_column(ForeignKey("billing.coupons.id"), primary_key=True)
    plan_id: Mapped[UUID] = mapped_column(ForeignKey("billing.price_plans.id"), primary_key=True)


class Redemption(Base):
    """A coupon of a subscription: periods that begin within its days have it."""

    __tablename__ = "coupon_redemptions"
    __table_args__ = (
        CheckConstraint("ends_on >= starts_on", name="days_in_order"),
        Index("ix_coupon_redemptions_coupon_id", "coupon_id"),
        Index("ix_coupon_redemptions_subscription_id", "subscription_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    coupon_id: Mapped[UUID] = mapped_column(ForeignKey("billing.coupons.id"))
    subscription_id: Mapped[UUID] = mapped_column(ForeignKey("billing.subscriptions.id"))
    starts_on: Mapped[date]
    """First day of the first period that has it."""
    ends_on: Mapped[date | None]
    """First day of the first period that no longer has it; its first day if none ever had it."""
    redeemed_by: Mapped[str]
    created_at: Mapped[datetime]

    coupon: Mapped[Coupon] = relationship(lazy="joined")
