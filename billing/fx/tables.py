"""Exchange rates into rupees, by day, with where they came from."""

from datetime import date
from decimal import Decimal

from sqlalchemy import CheckConstraint, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from billing.db.base import Base


class FxRate(Base):
    """Rupees for one unit of a currency, as published for a day."""

    __tablename__ = "fx_rates"
    __table_args__ = (
        CheckConstraint("inr_per_unit > 0 AND inr_per_unit <> 'NaN'", name="rate_positive"),
    )

    currency: Mapped[str] = mapped_column(ForeignKey("billing.currencies.code"), primary_key=True)
    rate_date: Mapped[date] = mapped_column(primary_key=True)
    inr_per_unit: Mapped[Decimal]
    source: Mapped[str]
