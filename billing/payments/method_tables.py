"""Methods of payment that customers saved with a gateway, and wallets that fill themselves."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from billing.db.base import Base, choices
from billing.ids import new_id


class MethodState(StrEnum):
    """Whether a saved method can be charged."""

    PENDING = "pending"
    """The customer was sent to the gateway's page and has not come back."""
    ACTIVE = "active"
    REMOVED = "removed"


class PaymentMethod(Base):
    """A card, mandate or account that a gateway keeps; we keep the gateway's names for it."""

    __tablename__ = "payment_methods"
    __table_args__ = (
        Index("ix_payment_methods_account_id", "account_id"),
        CheckConstraint(
            "state <> 'active' OR provider_method_id IS NOT NULL", name="active_is_named"
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("billing.customers.id"))
    account_id: Mapped[UUID] = mapped_column(ForeignKey("billing.accounts.id"))
    gateway: Mapped[str]
    state: Mapped[MethodState] = mapped_column(choices(MethodState))
    label: Mapped[str | None]
    """What the customer knows it by, such as `visa •••• 4242`."""
    provider_customer_id: Mapped[str | None]
    provider_setup_id: Mapped[str | None]
    """The gateway's name of the page on which it is saved."""
    provider_method_id: Mapped[str | None]
    setup_url: Mapped[str | None]
    is_default: Mapped[bool] = mapped_column(default=False)
    """What reminders charge; one of an account's methods at most."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class AutoTopUp(Base):
    """When a wallet fills itself, with how much, and where it stops."""

    __tablename__ = "auto_top_ups"
    __table_args__ = (
        CheckConstraint("threshold_minor >= 0", name="threshold_not_negative"),
        CheckConstraint("credits_minor > 0", name="credits_positive"),
        CheckConstraint("monthly_cap_minor >= credits_minor", name="cap_allows_one"),
        CheckConstraint("most_failures BETWEEN 1 AND 10", name="most_failures_few"),
        CheckConstraint("is_on OR off_reason IS NOT NULL", name="off_for_a_reason"),
    )

    wallet_id: Mapped[UUID] = mapped_column(ForeignKey("billing.wallets.id"), primary_key=True)
    payment_method_id: Mapped[UUID] = mapped_column(ForeignKey("billing.payment_methods.id"))
    threshold_minor: Mapped[int]
    """Below this balance it fills."""
    credits_minor: Mapped[int]
    """Exclusive of tax."""
    monthly_cap_minor: Mapped[int]
    """Credits that may be bought so in a month of the account's zone."""
    most_failures: Mapped[int] = mapped_column(Integer)
    """After so many in a row it goes off."""
    is_on: Mapped[bool]
    off_reason: Mapped[str | None]
    updated_at: Mapped[datetime]
    """Failures count from here: whoever sets it anew starts anew."""
