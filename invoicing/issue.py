"""Approval: the moment a draft becomes a document, in one transaction.

Number, tax of the day, settlement, snapshot: either all of it happens or none. The number comes
last of what can fail, so that the counter is locked as briefly as possible.
"""

from datetime import date, timedelta
from uuid import UUID

from billing.access.roles import Permission
from billing.commands import Context, Request, command
from billing.customers.tables import Account, Customer
from billing.errors import InvalidError, PreconditionError
from billing.invoices.numbering import next_number
from billing.invoices.repository import load_invoice, registration
from billing.invoices.service import require_draft
from billing.invoices.tables import Invoice, InvoiceStatus, ReviewState
from billing.invoices.taxing import apply_tax, decide_invoice_tax, tax_profile_on
from billing.periods import DEFAULT_ZONE, local_day
from billing.tax.model import DecisionStatus
from invoicing.settle import settle_from_wallet
from invoicing.view import document_of

_MAY_BE_APPROVED = frozenset({ReviewState.PENDING, ReviewState.IN_REVIEW})


class ApproveInvoice(Request):
    """Approve and issue a draft."""

    invoice_id: UUID
    issue_date: date | None = None
    """A day in India; today if not given."""


@command("invoice.approve", Permission.INVOICES_APPROVE)
def approve_invoice(ctx: Context, request: ApproveInvoice) -> Invoice:
    """Issue a draft: decide its tax for the day, settle it, number it, freeze it.

    Raises:
        PreconditionError: if it is no draft, is parked or rejected, or its tax cannot be decided.
        InvalidError: if the issue date is before the period has ended, or in the future.
    """
    invoice = require_draft(load_invoice(ctx.session, request.invoice_id, lock=True))
    _require_approvable(invoice)
    issue_date = _issue_date(ctx, invoice, request.issue_date)
    supplier = registration(ctx.session, invoice.supplier_gstin)
    profile = tax_profile_on(ctx.session, invoice.customer_id, issue_date)
    decision = decide_invoice_tax(
        supplier,
        profile,
        sacs={line.sac for line in invoice.lines},
        currency=invoice.currency,
        tax_date=issue_date,
    )
    if decision.status is DecisionStatus.REJECT:
        raise PreconditionError(decision.notes or "Tax cannot be decided.", code="tax_rejected")
    if decision.to_dict() != invoice.tax_decision:
        for line in invoice.lines:
            line.taxes.clear()
        ctx.session.flush()
        apply_tax(invoice, invoice.lines, decision)
        ctx.session.flush()
    account = ctx.session.get_one(Account, invoice.account_id)
    allocations = settle_from_wallet(ctx, invoice, account)
    number = next_number(
        ctx.session,
        gstin=invoice.supplier_gstin,
        series=supplier.invoice_series,
        issue_date=issue_date,
    )
    # The database freezes the row as soon as it is issued, so everything goes in one update.
    with ctx.session.no_autoflush:
        _issue(ctx, invoice, number, issue_date, account.payment_terms_days)
        invoice.settled_minor = sum(allocation.amount_minor for allocation in allocations)
        if invoice.settled_minor == invoice.total_minor:
            invoice.status = InvoiceStatus.PAID
        document = document_of(
            ctx.session,
            invoice,
            supplier=supplier,
            profile=profile,
            customer=ctx.session.get_one(Customer, invoice.customer_id),
            decision=decision.leading,
            allocations=allocations,
        )
        invoice.snapshot = document.to_dict()
        invoice.snapshot_hash = document.snapshot_hash
    return invoice


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
