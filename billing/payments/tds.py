"""Tax that customers deducted at source: a receivable until its certificate arrives.

A settlement line says what was deducted; it is never changed. The certificate (Form 16A or 131,
GSTR-7A) comes a quarter later, often for several invoices at once, and is matched to the lines.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final
from uuid import UUID

from pydantic import Field
from sqlalchemy import ForeignKey, UniqueConstraint, exists, select
from sqlalchemy.orm import Mapped, Session, aliased, mapped_column

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Context, Request, command
from billing.customers.repository import load_customer
from billing.db.base import Base
from billing.errors import ConflictError, PreconditionError
from billing.formatting import format_money
from billing.ids import new_id
from billing.invoices.settlement import SettlementSource
from billing.invoices.tables import Invoice, InvoiceAllocation

_SOURCES: Final = (SettlementSource.TDS_INCOME_TAX.value, SettlementSource.TDS_GST.value)


class TdsCertificate(Base):
    """A certificate as the customer or the portal gave it."""

    __tablename__ = "tds_certificates"
    __table_args__ = (UniqueConstraint("customer_id", "number"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("billing.customers.id"))
    number: Mapped[str]
    form: Mapped[str]
    amount_minor: Mapped[int]
    issued_on: Mapped[date]
    note: Mapped[str]
    recorded_by: Mapped[str]
    recorded_at: Mapped[datetime]


class TdsCertificateLine(Base):
    """A settlement line that a certificate proves; one certificate at most."""

    __tablename__ = "tds_certificate_lines"

    settlement_line_id: Mapped[UUID] = mapped_column(
        ForeignKey("billing.invoice_allocations.id"), primary_key=True
    )
    certificate_id: Mapped[UUID] = mapped_column(
        ForeignKey("billing.tds_certificates.id"), index=True
    )


class RecordCertificate(Request):
    """A certificate, and the settlement lines that it proves."""

    customer_id: UUID
    number: str = Field(min_length=1, max_length=80)
    form: str = Field(min_length=1, max_length=20, examples=["131"])
    amount_minor: int = Field(gt=0, lt=2**53)
    issued_on: date
    settlement_line_ids: tuple[UUID, ...] = Field(min_length=1, max_length=1000)
    note: str = Field(default="", max_length=500)


@command("tds.record_certificate", Permission.PAYMENTS_WRITE)
def record_certificate(ctx: Context, request: RecordCertificate) -> TdsCertificate:
    """Match a certificate to what was deducted.

    Raises:
        ConflictError: if that number is on record for the customer.
        PreconditionError: if a line is not open, or the lines are not the certificate's amount.
    """
    load_customer(ctx.session, request.customer_id)
    ctx.actor.require_customer(request.customer_id)
    known = select(TdsCertificate.id).filter_by(
        customer_id=request.customer_id, number=request.number
    )
    if ctx.session.scalar(known):
        raise ConflictError(
            f"Certificate {request.number} is on record already.", code="certificate_known"
        )
    wanted = set(request.settlement_line_ids)
    lines = [
        line
        for line in _open(ctx.session, request.customer_id, lock=True)
        if line.id in wanted
    ]  # fmt: skip
    if len(lines) < len(wanted):
        raise PreconditionError(
            "A line is no open deduction of this customer: it is another's, was taken back, or has "
            "its certificate.",
            code="not_open",
        )
    total_minor = sum(line.amount_minor for line in lines)
    if total_minor != request.amount_minor:
        currency = ctx.session.get_one(Invoice, lines[0].invoice_id).currency
        raise PreconditionError(
            f"These lines come to {format_money(total_minor, currency)}, the certificate says "
            f"{format_money(request.amount_minor, currency)}. Correct the wrong line first.",
            code="amount_differs",
            details={"lines_minor": total_minor},
        )
    certificate = TdsCertificate(
        **request.model_dump(exclude={"settlement_line_ids"}),
        recorded_by=ctx.actor.name,
        recorded_at=ctx.clock.now(),
    )
    ctx.session.add(certificate)
    ctx.session.flush()
    ctx.session.add_all(
        TdsCertificateLine(settlement_line_id=line.id, certificate_id=certificate.id)
        for line in lines
    )
    return certificate


def list_open_deductions(
    session: Session, actor: Actor, customer_id: UUID | None = None
) -> Sequence[InvoiceAllocation]:
    """Deductions whose certificates are still to come, oldest first."""
    actor.require(Permission.PAYMENTS_READ)
    if customer_id is not None:
        actor.require_customer(customer_id)
    return _open(session, actor.customer_id or customer_id)


def _open(
    session: Session, customer_id: UUID | None, *, lock: bool = False
) -> Sequence[InvoiceAllocation]:
    undone = aliased(InvoiceAllocation)
    query = (
        select(InvoiceAllocation)
        .join(Invoice, Invoice.id == InvoiceAllocation.invoice_id)
        .where(
            InvoiceAllocation.source.in_(_SOURCES),
            ~exists().where(TdsCertificateLine.settlement_line_id == InvoiceAllocation.id),
            ~exists().where(
                undone.invoice_id == InvoiceAllocation.invoice_id,
                undone.reference == SettlementSource.REVERSAL.value + ":"
                + InvoiceAllocation.reference,
            ),
        )
        .order_by(InvoiceAllocation.recorded_at, InvoiceAllocation.id)
    )  # fmt: skip
    if customer_id is not None:
        query = query.where(Invoice.customer_id == customer_id)
    if lock:
        query = query.with_for_update(of=InvoiceAllocation)
    return session.scalars(query).all()
