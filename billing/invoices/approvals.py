"""Two persons for large documents: who approved what, and whether that is enough."""

import hashlib
from datetime import date

from sqlalchemy import func, select

from billing.commands import Context
from billing.errors import PreconditionError
from billing.fx.service import require_rate
from billing.invoices.beside import InvoiceApproval
from billing.invoices.tables import Invoice, ReviewState, SupplierRegistration
from billing.tax.compute import inr_minor


def enough_approvals(
    ctx: Context, invoice: Invoice, supplier: SupplierRegistration, day: date
) -> bool:
    """Keep the actor's approval of a draft, and say whether it may be issued now.

    An approval counts for the lines and the total it was given for, and for nothing else.

    Args:
        invoice: with its tax for the day, locked by the caller.

    Raises:
        PreconditionError: if the actor has approved it already and another person must.
    """
    limit = supplier.second_approval_above_minor
    if limit is None or _in_paise(ctx, invoice, day) <= limit:
        return True
    content = _content_hash(invoice)
    mine = ctx.session.get(InvoiceApproval, (invoice.id, ctx.actor.name))
    if mine is not None and mine.content_hash == content:
        raise PreconditionError(
            f"{ctx.actor.name} has approved this draft already; above the limit of this "
            "registration a second person must.",
            code="second_person",
        )
    if mine is None:
        mine = InvoiceApproval(invoice_id=invoice.id, approved_by=ctx.actor.name)
        ctx.session.add(mine)
    mine.content_hash, mine.approved_at = content, ctx.clock.now()
    ctx.session.flush()
    persons = ctx.session.scalar(
        select(func.count())
        .select_from(InvoiceApproval)
        .filter_by(invoice_id=invoice.id, content_hash=content)
    )
    if (persons or 0) >= 2:
        return True
    invoice.review_state = ReviewState.IN_REVIEW
    invoice.review_note = f"Approved by {ctx.actor.name}; a second person must approve it too."
    invoice.updated_at = ctx.clock.now()
    return False


def _in_paise(ctx: Context, invoice: Invoice, day: date) -> int:
    if invoice.currency == "INR":
        return invoice.total_minor
    rate = require_rate(ctx.session, invoice.currency, day)
    return inr_minor(invoice.total_minor, invoice.currency, rate.inr_per_unit)


def _content_hash(invoice: Invoice) -> str:
    said = f"{invoice.lines_hash}:{invoice.currency}:{invoice.total_minor}"
    return hashlib.sha256(said.encode()).hexdigest()
