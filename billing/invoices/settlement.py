"""What pays an invoice: payments, wallets, tax deducted at source, write-offs.

An invoice is paid when its settlement lines sum to its total. A line is never changed; what was
set against an invoice by mistake, or flowed back, is taken back by a line of its own.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from billing.dunning.standing import reinstate_if_settled
from billing.errors import PreconditionError
from billing.formatting import format_money
from billing.invoices.tables import Invoice, InvoiceAllocation, InvoiceStatus


class SettlementSource(StrEnum):
    """What a settlement line stands for."""

    WALLET = "wallet"
    DEPOSIT = "deposit"
    """Of a wallet that holds a deposit: what it paid of the invoice's tax."""
    TOP_UP = "top_up"
    """The money that came for credits, on the invoice that sold them."""
    PAYMENT = "payment"
    REFUND = "refund"
    """Takes back what a payment had settled."""
    REVERSAL = "reversal"
    """Takes back any other line."""
    TDS_INCOME_TAX = "tds_income_tax"
    """Deducted by the customer; a receivable until its certificate arrives."""
    TDS_GST = "tds_gst"
    WRITE_OFF = "write_off"
    FX_DIFFERENCE = "fx_difference"
    CREDIT_NOTE = "credit_note"


_MAY_BE_SETTLED = frozenset({InvoiceStatus.DUE, InvoiceStatus.PAID})


def outstanding_minor(invoice: Invoice) -> int:
    """What is still to be paid, in minor units."""
    return invoice.total_minor - invoice.settled_minor


def settle(
    session: Session,
    invoice: Invoice,
    source: SettlementSource,
    amount_minor: int,
    now: datetime,
    *,
    payment: UUID | None = None,
    reference: str | None = None,
    details: dict[str, Any] | None = None,
) -> InvoiceAllocation:
    """Add a settlement line, and say whether the invoice is paid now.

    Args:
        invoice: issued, and locked by the caller.
        amount_minor: negative takes back.
        reference: natural key within the invoice; numbered by source if not given.

    Raises:
        PreconditionError: if the invoice is not issued, nothing is to be settled, or the line is
            more than what is open.
    """
    if invoice.status not in _MAY_BE_SETTLED:
        raise PreconditionError(
            f"Only an issued invoice can be settled; this one is {invoice.status.value}.",
            code="not_issued",
        )
    if not amount_minor:
        raise PreconditionError(
            f"There is nothing to settle on invoice {invoice.number}.", code="nothing_to_settle"
        )
    if not 0 <= invoice.settled_minor + amount_minor <= invoice.total_minor:
        raise PreconditionError(
            f"{format_money(amount_minor, invoice.currency)} is more than what is open on invoice "
            f"{invoice.number}: {format_money(outstanding_minor(invoice), invoice.currency)}.",
            code="more_than_outstanding",
            details={"outstanding_minor": outstanding_minor(invoice)},
        )
    line = InvoiceAllocation(
        invoice_id=invoice.id,
        source=source.value,
        reference=reference or _next_reference(session, invoice, source, payment),
        amount_minor=amount_minor,
        payment_id=payment,
        details=details or {},
        recorded_at=now,
    )
    session.add(line)
    invoice.settled_minor += amount_minor
    paid = invoice.settled_minor == invoice.total_minor
    invoice.status = InvoiceStatus.PAID if paid else InvoiceStatus.DUE
    invoice.updated_at = now
    session.flush()
    if amount_minor > 0:
        reinstate_if_settled(session, invoice, now)
    return line


def _next_reference(
    session: Session, invoice: Invoice, source: SettlementSource, payment: UUID | None
) -> str:
    """The invoice is locked, so nobody takes the same number."""
    count = session.scalar(
        select(func.count()).select_from(InvoiceAllocation).filter_by(invoice_id=invoice.id)
    )
    return f"{source.value}:{payment or ''}:{(count or 0) + 1}"
