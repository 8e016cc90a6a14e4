"""Issued invoices, without the way that leads there."""

from datetime import date, datetime
from itertools import count

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.customers.tables import Account
from billing.invoices.tables import Invoice, InvoiceStatus, ReviewState

_numbers = count(1)


def make_due_invoice(session: Session, owner: Account, total_minor: int, now: datetime) -> Invoice:
    """An issued invoice of an account over that total, nothing paid."""
    invoice = Invoice(
        account_id=owner.id,
        customer_id=owner.customer_id,
        supplier_gstin="29AAACO1234F1Z5",
        period_start=date(2026, 6, 1),
        period_end=date(2026, 7, 1),
        invoice_month=date(2026, 6, 1),
        lines_hash="",
        status=InvoiceStatus.DRAFT,
        review_state=ReviewState.PENDING,
        currency=owner.currency,
        taxable_minor=0,
        tax_minor=0,
        total_minor=0,
        settled_minor=0,
        tax_decision={},
        created_at=now,
        updated_at=now,
    )
    session.add(invoice)
    session.flush()
    session.execute(
        text(
            "INSERT INTO billing.invoice_lines (id, invoice_id, line_ref, ordinal, "
            "description, item_code, sac, quantity, unit, amount_minor, period_start, "
            "period_end, tier_breakdown) VALUES (gen_random_uuid(), :id, 'x', 1, 'x', "
            "'x', '998413', 1, 'x', :total, '2026-06-01', '2026-07-01', '[]')"
        ),
        {"id": invoice.id, "total": total_minor},
    )
    invoice.taxable_minor = invoice.total_minor = total_minor
    invoice.status, invoice.review_state = InvoiceStatus.DUE, ReviewState.APPROVED
    invoice.number = f"INV-2627-{next(_numbers):06d}"
    invoice.issue_date = invoice.due_date = date(2026, 7, 1)
    invoice.issued_at = now
    session.flush()
    return invoice
