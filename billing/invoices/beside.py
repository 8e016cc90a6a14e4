"""What is kept beside invoices: approvals, deliveries, voids, charges by hand, turnovers."""

from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from billing.db.base import Base
from billing.ids import new_id


class Turnover(Base):
    """The aggregate turnover of a PAN in a financial year, in crore rupees (CGST Act s.2(6))."""

    __tablename__ = "turnovers"
    __table_args__ = (CheckConstraint("crore >= 0", name="not_negative"),)

    pan: Mapped[str] = mapped_column(primary_key=True)
    financial_year: Mapped[str] = mapped_column(primary_key=True)
    """Such as `2025-26`."""
    crore: Mapped[Decimal]
    recorded_by: Mapped[str]
    recorded_at: Mapped[datetime]


class InvoiceApproval(Base):
    """One person's approval of a draft, as it was then."""

    __tablename__ = "invoice_approvals"

    invoice_id: Mapped[UUID] = mapped_column(
        ForeignKey("billing.invoices.id", ondelete="CASCADE"), primary_key=True
    )
    approved_by: Mapped[str] = mapped_column(primary_key=True)
    content_hash: Mapped[str]
    """Of the lines and the total: an approval of other lines counts for nothing."""
    approved_at: Mapped[datetime]


class InvoiceDelivery(Base):
    """That a document left the house; from then on it is corrected by a note, not made void."""

    __tablename__ = "invoice_deliveries"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("billing.invoices.id"), index=True)
    channel: Mapped[str]
    recipient: Mapped[str]
    recorded_by: Mapped[str]
    sent_at: Mapped[datetime]


class InvoiceVoid(Base):
    """Why a numbered document was made void, and by whom; its number stays used."""

    __tablename__ = "invoice_voids"

    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("billing.invoices.id"), primary_key=True)
    reason: Mapped[str]
    voided_by: Mapped[str]
    voided_at: Mapped[datetime]


class CustomCharge(Base):
    """A charge that a person adds to what an account is invoiced for a month."""

    __tablename__ = "custom_charges"
    __table_args__ = (
        CheckConstraint("extract(day FROM invoice_month) = 1", name="month_by_first_day"),
        CheckConstraint("quantity > 0", name="some"),
        CheckConstraint("unit_price >= 0", name="price_not_negative"),
        CheckConstraint("amount_minor > 0", name="amount_positive"),
        Index("ix_custom_charges_account_id", "account_id", "invoice_month"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("billing.accounts.id"))
    invoice_month: Mapped[date]
    description: Mapped[str]
    sac: Mapped[str]
    quantity: Mapped[Decimal]
    unit: Mapped[str]
    unit_price: Mapped[Decimal]
    amount_minor: Mapped[int]
    """Exclusive of tax."""
    created_by: Mapped[str]
    created_at: Mapped[datetime]
    cancelled_at: Mapped[datetime | None]


class ReratedLine(Base):
    """What a line of an issued invoice comes to since its month was rated again.

    There is a row for each line that ever differed, and for each that would have been new. What was
    billed or credited for it since is read from invoices and notes, and not kept here.
    """

    __tablename__ = "rerated_lines"
    __table_args__ = (CheckConstraint("rated_minor >= 0", name="not_negative"),)

    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("billing.invoices.id"), primary_key=True)
    line_ref: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("billing.accounts.id"))
    """Whose usage it is; on an invoice for several accounts not that of the invoice."""
    description: Mapped[str]
    item_code: Mapped[str]
    sac: Mapped[str]
    period_start: Mapped[date]
    period_end: Mapped[date]
    rated_minor: Mapped[int]
    """As of the run, exclusive of tax; 0 if the line is not there any more."""
    rating_run_id: Mapped[UUID] = mapped_column(ForeignKey("billing.rating_runs.id"))
    """The first run that came to this amount."""
