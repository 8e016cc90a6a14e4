"""Prices agreed with one account, for some days, instead of those of its plan or deck."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Integer, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from billing.db.base import Base
from billing.ids import new_id


class PriceOverride(Base):
    """A rate that comes before those of a charge, or before the rows of a deck.

    It names a charge by plan and code, so that it stays when the account moves to another version
    of the plan; or a deck, and then holds for every charge that uses the deck. It is never edited:
    it ends, and another begins.
    """

    __tablename__ = "price_overrides"
    __table_args__ = (
        UniqueConstraint("account_id", "number"),
        CheckConstraint(
            "(deck_id IS NULL) = (plan_id IS NOT NULL) "
            "AND (plan_id IS NULL) = (charge_code IS NULL)",
            name="one_target",
        ),
        CheckConstraint("ends_on >= starts_on", name="days_in_order"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("billing.accounts.id"))
    number: Mapped[int] = mapped_column(Integer)
    """Counts the account's overrides; part of the name of the lines it prices."""
    plan_id: Mapped[UUID | None] = mapped_column(ForeignKey("billing.price_plans.id"))
    charge_code: Mapped[str | None]
    deck_id: Mapped[UUID | None] = mapped_column(ForeignKey("billing.rate_decks.id"))
    currency: Mapped[str] = mapped_column(ForeignKey("billing.currencies.code"))
    match: Mapped[dict[str, Any]]
    """As a rate's: dimension to exact value."""
    starts_on: Mapped[date]
    ends_on: Mapped[date | None]
    """The first local day it no longer holds; equal to `starts_on` if it was withdrawn unused."""
    reason: Mapped[str]
    """Why, such as the contract it comes from."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    tiers: Mapped[list["PriceOverrideTier"]] = relationship(
        lazy="raise", order_by="PriceOverrideTier.ordinal", cascade="all, delete-orphan"
    )


class PriceOverrideTier(Base):
    """One step of an override, as `RateTier` is of a rate."""

    __tablename__ = "price_override_tiers"
    __table_args__ = (
        CheckConstraint("up_to > 0 AND up_to <> 'NaN'", name="up_to_positive"),
        CheckConstraint("unit_price >= 0 AND unit_price <> 'NaN'", name="unit_price_not_negative"),
        CheckConstraint(
            "flat_amount >= 0 AND flat_amount <> 'NaN'", name="flat_amount_not_negative"
        ),
    )

    override_id: Mapped[UUID] = mapped_column(
        ForeignKey("billing.price_overrides.id"), primary_key=True
    )
    ordinal: Mapped[int] = mapped_column(Integer, primary_key=True)
    up_to: Mapped[Decimal | None]
    unit_price: Mapped[Decimal] = mapped_column(default=Decimal(0))
    flat_amount: Mapped[Decimal] = mapped_column(default=Decimal(0))
