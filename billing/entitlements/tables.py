"""Entitlements: how many units of an item an account may use in a period."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from billing.db.base import Base, choices
from billing.ids import new_id


class Enforcement(StrEnum):
    """What happens at the limit."""

    SOFT = "soft"
    """Authorisations go on, with a warning."""
    HARD = "hard"
    """Authorisations end."""


class QuotaPeriod(StrEnum):
    """When counting begins anew, in the account's zone."""

    DAY = "day"
    MONTH = "month"


class Entitlement(Base):
    """The units of one item that an account may use in each period."""

    __tablename__ = "entitlements"
    __table_args__ = (
        CheckConstraint("included_units BETWEEN 0 AND 1000000000", name="included_units_range"),
        Index(
            "uq_entitlements_current",
            "account_id",
            "item_id",
            "period",
            unique=True,
            postgresql_where=text("ended_at IS NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("billing.accounts.id"))
    item_id: Mapped[UUID] = mapped_column(ForeignKey("billing.billable_items.id"))
    included_units: Mapped[int]
    enforcement: Mapped[Enforcement] = mapped_column(choices(Enforcement))
    period: Mapped[QuotaPeriod] = mapped_column(choices(QuotaPeriod))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
