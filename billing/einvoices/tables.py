"""E-invoices: what was, or will be, registered with the invoice registration portal (IRP)."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from billing.db.base import Base, choices
from billing.ids import new_id


class EInvoiceState(StrEnum):
    """How a document stands with the portal."""

    WAITING = "waiting"
    """Issued, not asked for yet."""
    UNKNOWN = "unknown"
    """Asked for and not answered: the portal is asked what it has before anything else."""
    REGISTERED = "registered"
    REFUSED = "refused"
    """The portal says what is wrong; a person mends it."""
    CANCELLED = "cancelled"


class EInvoice(Base):
    """The registration of one document; a document has at most one, and its IRN is used once."""

    __tablename__ = "einvoices"
    __table_args__ = (
        CheckConstraint("(invoice_id IS NULL) <> (document_id IS NULL)", name="of_one_document"),
        CheckConstraint(
            "state <> 'registered' OR (ack_number IS NOT NULL AND acknowledged_at IS NOT NULL "
            "AND signed_qr IS NOT NULL)",
            name="registered_means_signed",
        ),
        Index("ix_einvoices_state", "state", "created_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    invoice_id: Mapped[UUID | None] = mapped_column(ForeignKey("billing.invoices.id"), unique=True)
    document_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("billing.documents.id"), unique=True
    )
    irn: Mapped[str] = mapped_column(unique=True)
    """As computed here; the portal's must equal it."""
    number: Mapped[str]
    issue_date: Mapped[date]
    state: Mapped[EInvoiceState] = mapped_column(choices(EInvoiceState))
    payload: Mapped[dict[str, Any]]
    """INV-01, as it is sent."""
    report_by: Mapped[date | None]
    """The last day the portal takes it; None without a limit."""
    attempts: Mapped[int]
    ack_number: Mapped[str | None]
    acknowledged_at: Mapped[datetime | None]
    signed_invoice: Mapped[str | None]
    signed_qr: Mapped[str | None]
    error_code: Mapped[str | None]
    error: Mapped[str | None]
    cancel_reason: Mapped[int | None]
    cancel_remark: Mapped[str | None]
    cancelled_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
