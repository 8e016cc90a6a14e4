"""Invoices, without the way that leads there."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from itertools import count

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.customers.tables import Account
from billing.invoices.tables import Invoice, InvoiceLine, InvoiceStatus, RatingRun, ReviewState
from billing.money import from_minor
from billing.subscriptions.tables import BillingPeriod

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
    _issue(invoice, now)
    session.flush()
    return invoice


def _issue(invoice: Invoice, now: datetime) -> None:
    invoice.status, invoice.review_state = InvoiceStatus.DUE, ReviewState.APPROVED
    invoice.number = f"INV-2627-{next(_numbers):06d}"
    invoice.issue_date = invoice.due_date = date(2026, 7, 1)
    invoice.issued_at = now


def bill_ahead(
    session: Session,
    account: Account,
    period: BillingPeriod,
    billed: Mapping[str, int],
    *,
    kept_minor: int = 0,
    run: RatingRun | None = None,
) -> Invoice:
    """An invoice of a period that billed lines in advance, and that kept a credit.

    Args:
        billed: minor units by what follows the period in a line's reference; each was made smaller
            by a coupon of 1 minor unit.
        run: which rated it, if it is issued; else it is a draft.
    """
    now = datetime(2026, 5, 1, tzinfo=UTC)
    total = sum(billed.values()) - len(billed)
    invoice = Invoice(
        account_id=account.id,
        customer_id=account.customer_id,
        supplier_gstin="29AAACO1234F1Z5",
        period_start=period.starts_on,
        period_end=period.ends_on,
        invoice_month=period.invoice_month,
        lines_hash="",
        status=InvoiceStatus.DRAFT,
        review_state=ReviewState.PENDING,
        currency=account.currency,
        taxable_minor=total,
        tax_minor=0,
        total_minor=total,
        settled_minor=0,
        tax_decision={},
        rating_run_id=run.id if run else None,
        created_at=now,
        updated_at=now,
    )
    left = str(from_minor(kept_minor, account.currency))
    one = str(from_minor(-1, account.currency))
    said = {key: (minor - 1, {"kind": "coupon", "amount": one}) for key, minor in billed.items()}
    said[f"{period.starts_on:%Y%m%d}:credit:kept"] = (
        0, {"kind": "kept", "left": left, "amount": "0"},
    )  # fmt: skip
    session.add(invoice)
    session.flush()
    session.add_all(
        InvoiceLine(
            invoice_id=invoice.id,
            line_ref=f"{period.subscription_id}:{period.starts_on:%Y%m%d}:{key}",
            ordinal=ordinal,
            description=key,
            item_code="x",
            sac="998413",
            quantity=1,
            unit="month",
            amount_minor=minor,
            period_start=period.starts_on,
            period_end=period.ends_on,
            tier_breakdown=[entry],
        )
        for ordinal, (key, (minor, entry)) in enumerate(said.items(), 1)
    )
    session.flush()
    if run is not None:
        _issue(invoice, run.started_at)
        session.flush()
    return invoice
