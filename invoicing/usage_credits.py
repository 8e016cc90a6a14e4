"""Giving back what the usage of an issued invoice came to less: an event voided or amended late."""

from collections.abc import Iterator
from uuid import UUID

from pydantic import Field
from sqlalchemy import select

from billing.access.roles import Permission
from billing.commands import Context, Request, command
from billing.customers.tables import Account, BillingMode
from billing.documents.tables import Document
from billing.errors import PreconditionError
from billing.invoices.repository import load_invoice
from billing.invoices.rerating import ADJUSTMENT, differences, lock_adjustments, net
from billing.invoices.tables import Invoice, InvoiceLine, InvoiceStatus
from billing.wallets.tables import Wallet
from invoicing.credit_notes import left_on, require_creditable, take_back
from invoicing.settle import true_up_rated_since


class CreditUsage(Request):
    """Give back what an issued invoice's usage comes to less now."""

    invoice_id: UUID
    reason: str = Field(
        default="Usage came to less after the invoice was issued.", min_length=3, max_length=500
    )


@command("credit_note.issue_for_usage", Permission.INVOICES_APPROVE)
def credit_usage(ctx: Context, request: CreditUsage) -> Document:
    """Issue the credit note for what the usage of an invoice came to less, line by line.

    What of it stands on adjustment lines of later invoices is given back by further notes: ask
    again until nothing is open. A prepaid account's wallet, to which a void gave back its debit at
    once, is made equal to the bills in the same transaction.

    Raises:
        PreconditionError: if the invoice is not issued, or nothing is to be given back.
    """
    lock_adjustments(ctx.session)  # drafts are not made from this meanwhile
    invoice = load_invoice(ctx.session, request.invoice_id, lock=True)
    ctx.actor.require_customer(invoice.customer_id)
    require_creditable(invoice)
    found = net(differences(ctx.session, invoice_ids=[invoice.id]))
    less = {one.of.line_ref: -one.amount_minor for one in found if one.amount_minor < 0}
    for bill in _bills(ctx, invoice, less):
        wanted = [
            (left, min(left.taxable_minor, less[line_ref]))
            for left in left_on(ctx.session, bill)
            if (line_ref := left.line_ref.removeprefix(ADJUSTMENT)) in less and left.taxable_minor
        ]
        if wanted:
            note = take_back(ctx, bill, wanted, request.reason, for_usage=True)
            _true_up(ctx, bill, note)
            return note
    raise PreconditionError(
        "The usage of this invoice comes to no less than was billed for it.",
        code="nothing_to_credit",
    )


def _bills(ctx: Context, invoice: Invoice, less: dict[str, int]) -> Iterator[Invoice]:
    """The invoice, then those whose adjustment lines billed more of its lines."""
    yield invoice
    adjusting = ctx.session.scalars(
        select(Invoice.id)
        .join(InvoiceLine, InvoiceLine.invoice_id == Invoice.id)
        .where(
            InvoiceLine.line_ref.in_([f"{ADJUSTMENT}{line_ref}" for line_ref in less]),
            Invoice.status.in_([InvoiceStatus.DUE, InvoiceStatus.PAID]),
        )
        .distinct()
        .order_by(Invoice.id)
    ).all()
    for invoice_id in adjusting:
        yield load_invoice(ctx.session, invoice_id, lock=True)


def _true_up(ctx: Context, bill: Invoice, note: Document) -> None:
    account = ctx.session.get_one(Account, bill.account_id)
    if account.billing_mode is not BillingMode.PREPAID:
        return
    wallet = ctx.session.scalars(
        select(Wallet).filter_by(account_id=account.id, currency=bill.currency)
    ).one()
    true_up_rated_since(ctx, account, wallet, note.id)
