"""Sending, and making void, what was numbered."""

from uuid import UUID

from pydantic import Field
from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from billing.access.roles import Permission
from billing.commands import Context, Request, command
from billing.documents.tables import Document
from billing.einvoices.tables import EInvoice, EInvoiceState
from billing.errors import PreconditionError
from billing.invoices.beside import InvoiceDelivery, InvoiceVoid
from billing.invoices.lifecycle import Action, VoidFacts, require, why_not_void
from billing.invoices.repository import load_invoice
from billing.invoices.rerating import adjustments_of, lock_adjustments
from billing.invoices.return_periods import hold_open
from billing.invoices.tables import Invoice, InvoiceStatus
from billing.outbox.service import report
from billing.subscriptions.ahead import is_built_on


class VoidInvoice(Request):
    """Make an issued document void; its number stays used."""

    invoice_id: UUID
    reason: str = Field(min_length=3, max_length=500)


class RecordDelivery(Request):
    """That a document was sent."""

    invoice_id: UUID
    channel: str = Field(default="email", pattern=r"^[a-z_]{2,20}$")
    recipient: str = Field(min_length=3, max_length=300)


@command("invoice.void", Permission.INVOICES_APPROVE)
def void_invoice(ctx: Context, request: VoidInvoice) -> Invoice:
    """Make an issued invoice void, where the law still allows it; else a credit note is due.

    Raises:
        PreconditionError: if it is no issued invoice that is unpaid, or it was sent, or bears an
            IRN, or has notes, or its month was filed, or a later invoice settled what it billed
            in advance, or bills more of its usage.
    """
    lock_adjustments(ctx.session)  # no draft bills more of it meanwhile
    invoice = load_invoice(ctx.session, request.invoice_id, lock=True)
    ctx.actor.require_customer(invoice.customer_id)
    require(invoice, Action.VOID)
    refusal = why_not_void(_facts(ctx.session, invoice))
    if refusal is not None:
        code, sentence = refusal
        raise PreconditionError(
            f"Invoice {invoice.number} cannot become void. {sentence}", code=code
        )
    if is_built_on(ctx.session, invoice):
        raise PreconditionError(
            f"Invoice {invoice.number} cannot become void. The next one settled what it billed in "
            "advance; issue a credit note.",
            code="built_on",
        )
    adjusted = adjustments_of(ctx.session, invoice.id)
    if adjusted:
        raise PreconditionError(
            f"Invoice {invoice.number} cannot become void. What its usage came to more stands on "
            f"{adjusted[0].number or 'the draft of a later month'}; issue a credit note.",
            code="built_on",
        )
    if invoice.issue_date is not None:
        hold_open(ctx.session, invoice.supplier_gstin, invoice.issue_date)
    now = ctx.clock.now()
    waiting = _einvoice(ctx.session, invoice.id)
    if waiting is not None and waiting.state is EInvoiceState.WAITING:
        waiting.state, waiting.updated_at = EInvoiceState.CANCELLED, now
        waiting.cancelled_at, waiting.cancel_remark = now, "Void before it was reported"
    invoice.status = InvoiceStatus.VOID
    invoice.updated_at = now
    ctx.session.add(
        InvoiceVoid(
            invoice_id=invoice.id,
            reason=request.reason,
            voided_by=ctx.actor.name,
            voided_at=now,
        )
    )
    report(
        ctx.session,
        "invoice.void",
        entity=("invoice", invoice.id),
        account_id=invoice.account_id,
        payload={"number": invoice.number, "reason": request.reason},
        now=now,
    )
    ctx.session.flush()
    return invoice


@command("invoice.record_delivery", Permission.INVOICES_WRITE)
def record_delivery(ctx: Context, request: RecordDelivery) -> InvoiceDelivery:
    """Write down that a document was sent: from now on only a note corrects it.

    Raises:
        PreconditionError: if it is not issued, or still lacks the IRN it needs to be an invoice.
    """
    invoice = load_invoice(ctx.session, request.invoice_id, lock=True)
    require(invoice, Action.SEND)
    require_irn(_einvoice(ctx.session, invoice.id))
    delivery = InvoiceDelivery(
        invoice_id=invoice.id,
        channel=request.channel,
        recipient=request.recipient,
        recorded_by=ctx.actor.name,
        sent_at=ctx.clock.now(),
    )
    ctx.session.add(delivery)
    return delivery


def require_irn(einvoice: EInvoice | None) -> None:
    """Refuse a document that needs an IRN and has none: without it, it is no invoice (r.48(5)).

    Raises:
        PreconditionError: if so.
    """
    if einvoice is None or einvoice.state in {EInvoiceState.REGISTERED, EInvoiceState.CANCELLED}:
        return
    raise PreconditionError(
        f"{einvoice.number} waits for its IRN ({einvoice.state.value}); without it, it is no "
        f"invoice and must not be sent. {einvoice.error or ''}".strip(),
        code="irn_pending",
    )


def _einvoice(session: Session, invoice_id: UUID) -> EInvoice | None:
    return session.scalars(
        select(EInvoice).filter_by(invoice_id=invoice_id).with_for_update()
    ).one_or_none()


def _facts(session: Session, invoice: Invoice) -> VoidFacts:
    einvoice = _einvoice(session, invoice.id)
    notes, corrections, sent = session.execute(
        select(
            exists().where(Document.invoice_id == invoice.id),
            exists().where(Invoice.corrects_id == invoice.id, Invoice.status != InvoiceStatus.VOID),
            exists().where(InvoiceDelivery.invoice_id == invoice.id),
        )
    ).one()
    return VoidFacts(
        settled_minor=invoice.settled_minor,
        has_notes=bool(notes or corrections),
        was_sent=bool(sent),
        einvoice=einvoice.state if einvoice else None,
    )
