"""Approval: the moment a draft becomes a document, in one transaction.

Number, tax of the day, settlement, snapshot: either all of it happens or none. The number comes
last of what can fail, so that the counter is locked as briefly as possible.
"""

from datetime import date, timedelta
from uuid import UUID

from billing.access.roles import Permission
from billing.commands import Context, Request, command
from billing.customers.tables import Account
from billing.errors import InvalidError, PreconditionError
from billing.invoices.approvals import enough_approvals
from billing.invoices.numbering import next_number
from billing.invoices.repository import load_invoice, registration
from billing.invoices.service import require_draft
from billing.invoices.tables import (
    Invoice,
    InvoiceOrigin,
    InvoiceStatus,
    ReviewState,
    SupplierRegistration,
)
from billing.invoices.taxing import apply_tax, decide_tax_of
from billing.periods import DEFAULT_ZONE, local_day
from billing.tax.einvoice import DocumentType
from billing.tax.model import DecisionStatus
from invoicing.einvoice.prepare import prepare
from invoicing.settle import settle_from_wallet
from invoicing.view import Decided, document_on

_SERIES = {DocumentType.DEBIT_NOTE: "DN", DocumentType.BILL_OF_SUPPLY: "BOS"}
_MAY_BE_APPROVED = frozenset({ReviewState.PENDING, ReviewState.IN_REVIEW})


class ApproveInvoice(Request):
    """Approve and issue a draft."""

    invoice_id: UUID
    issue_date: date | None = None
    """A day in India; today if not given."""


@command("invoice.approve", Permission.INVOICES_APPROVE)
def approve_invoice(ctx: Context, request: ApproveInvoice) -> Invoice:
    """Issue a draft: decide its tax for the day, settle it, number it, freeze it.

    Above the registration's limit the first approval is kept and the draft waits for a second
    person; it comes back as the draft it still is.

    Raises:
        PreconditionError: if it is no draft, is parked or rejected, its tax cannot be decided, or
            the same person approves twice.
        InvalidError: if the issue date is before the period has ended, or in the future.
    """
    invoice = require_draft(load_invoice(ctx.session, request.invoice_id, lock=True))
    _require_approvable(invoice)
    issue_date = _issue_date(ctx, invoice, request.issue_date)
    supplier = registration(ctx.session, invoice.supplier_gstin)
    decision = _decide_again(ctx, invoice, supplier, issue_date)
    if not enough_approvals(ctx, invoice, supplier, issue_date):
        return invoice
    account = ctx.session.get_one(Account, invoice.account_id)
    # What a person wrote was not debited from a wallet as it happened: it is paid as any other.
    is_rated = invoice.origin is InvoiceOrigin.RATED
    allocations = settle_from_wallet(ctx, invoice, account) if is_rated else []
    number = next_number(
        ctx.session,
        gstin=invoice.supplier_gstin,
        series=_series(invoice, supplier),
        issue_date=issue_date,
    )
    # The database freezes the row as soon as it is issued, so everything goes in one update.
    with ctx.session.no_autoflush:
        _issue(ctx, invoice, number, issue_date, account.payment_terms_days)
        invoice.settled_minor = sum(allocation.amount_minor for allocation in allocations)
        if invoice.settled_minor == invoice.total_minor:
            invoice.status = InvoiceStatus.PAID
        paper = document_on(ctx.session, invoice, issue_date, allocations, decision)
        invoice.snapshot = paper.to_dict()
        invoice.snapshot_hash = paper.snapshot_hash
    prepare(ctx, paper, invoice.tax_decision, invoice_id=invoice.id)
    return invoice


def _decide_again(
    ctx: Context, invoice: Invoice, supplier: SupplierRegistration, issue_date: date
) -> Decided | None:
    """The tax of the day of issue; a debit note keeps the tax of the supply it corrects."""
    if invoice.origin is InvoiceOrigin.CORRECTION:
        return None
    decision, profile = decide_tax_of(ctx.session, invoice, supplier, issue_date)
    if decision.status is DecisionStatus.REJECT:
        raise PreconditionError(decision.notes or "Tax cannot be decided.", code="tax_rejected")
    if decision.to_dict() != invoice.tax_decision:
        for line in invoice.lines:
            line.taxes.clear()
        ctx.session.flush()
        apply_tax(invoice, invoice.lines, decision)
        ctx.session.flush()
    return decision, profile


def _series(invoice: Invoice, supplier: SupplierRegistration) -> str:
    return _SERIES.get(invoice.document_type, supplier.invoice_series)


def _require_approvable(invoice: Invoice) -> None:
    if invoice.review_state not in _MAY_BE_APPROVED:
        raise PreconditionError(
            f"This draft is {invoice.review_state.value} and cannot be approved. "
            f"{invoice.review_note or 'Submit it for review first.'}",
            code="review_state",
        )


def _issue_date(ctx: Context, invoice: Invoice, asked: date | None) -> date:
    today = local_day(ctx.clock.now(), DEFAULT_ZONE)
    issue_date = asked or today
    last_day = invoice.period_end - timedelta(days=1)
    if invoice.origin is not InvoiceOrigin.RATED:
        last_day = min(last_day, today)  # what a person writes may be for days to come
    if not last_day <= issue_date <= today:
        raise InvalidError(
            f"The issue date {issue_date} must lie between {last_day}, the last day of the "
            f"period, and {today}, today in India.",
            code="issue_date",
        )
    return issue_date


def _issue(
    ctx: Context, invoice: Invoice, number: str, issue_date: date, payment_terms_days: int
) -> None:
    invoice.status = InvoiceStatus.DUE
    invoice.review_state = ReviewState.APPROVED
    invoice.review_note = None
    invoice.reviewed_by = ctx.actor.name
    invoice.number = number
    invoice.issue_date = issue_date
    invoice.due_date = issue_date + timedelta(days=payment_terms_days)
    invoice.issued_at = invoice.updated_at = ctx.clock.now()
