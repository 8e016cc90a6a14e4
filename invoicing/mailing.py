"""Issued invoices and notes by mail, to those who asked for them at the customer.

A document is mailed by itself once, within `FRESH` of its issue; the database holds it to once.
Whoever wants it again asks, and gets the same stored PDF. What waits for its IRN waits here too:
without it, it is no invoice (r.48(5)). To queue a letter is to send the document: from then on
only a note corrects it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Final
from uuid import UUID

import structlog
from pydantic import Field
from sqlalchemy import Engine, exists, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from billing.access.actor import SYSTEM, Actor
from billing.access.roles import Permission
from billing.clock import Clock
from billing.commands import Context, Request, command
from billing.customers.repository import contacts_by_mail
from billing.customers.tables import Customer
from billing.db.unit_of_work import read_only, unit_of_work
from billing.documents.repository import get_document
from billing.documents.tables import Document, DocumentKind
from billing.einvoices.tables import EInvoice, EInvoiceState
from billing.errors import BillingError, PreconditionError
from billing.formatting import format_date, format_money
from billing.invoices.beside import InvoiceDelivery
from billing.invoices.lifecycle import Action, require
from billing.invoices.repository import get_invoice, load_invoice
from billing.invoices.tables import Invoice, InvoiceStatus
from billing.mail.service import queue_mail
from billing.mail.tables import DocumentMailing, MailAttachment, MailingKind
from invoicing.document import InvoiceDocument
from invoicing.storage import document_pdf, invoice_pdf

logger = structlog.get_logger(__name__)

FRESH: Final = timedelta(days=7)
"""What was issued longer ago is mailed only when somebody asks."""
_NOTES: Final = (DocumentKind.CREDIT_NOTE, DocumentKind.FINANCIAL_CREDIT_NOTE)
_MOST_PER_ROUND: Final = 200
_BODY: Final = """Dear {customer},

{title} {number} of {day} over {amount} is attached{due}.

{supplier}

This letter was written by a program.
"""

EmailAddress = Annotated[str, Field(max_length=254, pattern=r"^[^@\s\x00]+@[^@\s\x00]+$")]


class MailInvoice(Request):
    """Mail an issued invoice, to the customer's billing contacts unless others are named."""

    invoice_id: UUID
    kind: MailingKind = MailingKind.RESENT
    recipients: tuple[EmailAddress, ...] = Field(default=(), max_length=10)


class MailDocument(Request):
    """Mail a note or voucher, to the customer's billing contacts unless others are named."""

    document_id: UUID
    kind: MailingKind = MailingKind.RESENT
    recipients: tuple[EmailAddress, ...] = Field(default=(), max_length=10)


@dataclass(frozen=True, slots=True)
class _Parcel:
    """What is mailed, and to whom."""

    customer_id: UUID
    recipients: list[str]
    paper: InvoiceDocument
    invoice_id: UUID | None = None
    document_id: UUID | None = None


@command("invoice.mail", Permission.INVOICES_WRITE)
def mail_invoice(ctx: Context, request: MailInvoice) -> DocumentMailing:
    """Queue letters with an invoice's PDF, and write down that it was sent.

    Raises:
        PreconditionError: if it is not issued, waits for its IRN, or nobody is to have it.
    """
    invoice = load_invoice(ctx.session, request.invoice_id, lock=True)
    require(invoice, Action.SEND)
    invoice_pdf(ctx.session, invoice.id, ctx.clock)
    recipients = _recipients(ctx.session, invoice.customer_id, request.recipients)
    mailing = _mail(
        ctx,
        request.kind,
        _Parcel(
            customer_id=invoice.customer_id,
            recipients=recipients,
            paper=InvoiceDocument.from_dict(invoice.snapshot or {}),
            invoice_id=invoice.id,
        ),
    )
    for recipient in recipients:
        ctx.session.add(
            InvoiceDelivery(
                invoice_id=invoice.id,
                channel="email",
                recipient=recipient,
                recorded_by=ctx.actor.name,
                sent_at=ctx.clock.now(),
            )
        )
    return mailing


@command("document.mail", Permission.INVOICES_WRITE)
def mail_document(ctx: Context, request: MailDocument) -> DocumentMailing:
    """Queue letters with the PDF of a note or voucher.

    Raises:
        PreconditionError: if it waits for its IRN, or nobody is to have it.
    """
    paper = get_document(ctx.session, ctx.actor, request.document_id)
    document_pdf(ctx.session, paper, ctx.clock)
    return _mail(
        ctx,
        request.kind,
        _Parcel(
            customer_id=paper.customer_id,
            recipients=_recipients(ctx.session, paper.customer_id, request.recipients),
            paper=InvoiceDocument.from_dict(paper.snapshot),
            document_id=paper.id,
        ),
    )


def mail_issued(engine: Engine, clock: Clock) -> tuple[int, int]:
    """Mail what was issued lately and not mailed yet; how many went, and how many could not."""
    with read_only(engine) as session:
        requests: list[MailInvoice | MailDocument] = []
        requests += _invoices_to_mail(session, clock)
        requests += _notes_to_mail(session, clock)
    mailed = failed = 0
    for request in requests:
        try:
            with unit_of_work(engine) as session:
                context = Context(session, SYSTEM, clock)
                if isinstance(request, MailInvoice):
                    mail_invoice(context, request)
                else:
                    mail_document(context, request)
            mailed += 1
        except BillingError as error:
            failed += 1
            logger.warning("not mailed", request=request.model_dump_json(), reason=error.message)
        except IntegrityError:
            continue  # another process mailed it at the same moment
    return mailed, failed


def mailings_of(
    session: Session,
    actor: Actor,
    *,
    invoice_id: UUID | None = None,
    document_id: UUID | None = None,
) -> Sequence[DocumentMailing]:
    """How often a document was mailed, and to whom, in order.

    Raises:
        NotFoundError: if there is no such document for this actor.
    """
    query = select(DocumentMailing).order_by(DocumentMailing.id)
    if invoice_id is not None:
        query = query.filter_by(invoice_id=get_invoice(session, actor, invoice_id).id)
    if document_id is not None:
        query = query.filter_by(document_id=get_document(session, actor, document_id).id)
    return session.scalars(query).all()


def _recipients(session: Session, customer_id: UUID, named: Sequence[str]) -> list[str]:
    recipients = list(dict.fromkeys(named)) or contacts_by_mail(session, customer_id)
    if not recipients:
        raise PreconditionError(
            "The customer has no billing contact who gets documents; add one, or name a recipient.",
            code="no_recipient",
        )
    return recipients


def _mail(ctx: Context, kind: MailingKind, parcel: _Parcel) -> DocumentMailing:
    now, paper = ctx.clock.now(), parcel.paper
    mailing = DocumentMailing(
        kind=kind,
        invoice_id=parcel.invoice_id,
        document_id=parcel.document_id,
        recipients=parcel.recipients,
        requested_by=ctx.actor.name,
        requested_at=now,
    )
    ctx.session.add(mailing)
    ctx.session.flush()
    customer = ctx.session.get_one(Customer, parcel.customer_id)
    for recipient in parcel.recipients:
        mail_id = queue_mail(
            ctx.session,
            customer_id=customer.id,
            recipient=recipient,
            subject=f"{paper.title} {paper.number} from {paper.brand.name}",
            body=_body(paper, customer),
            reference=f"mailing:{mailing.id}:{recipient}",
            now=now,
        )
        if mail_id is not None:
            ctx.session.add(
                MailAttachment(
                    mail_id=mail_id,
                    file_name=f"{(paper.number or '').replace('/', '-')}.pdf",
                    invoice_id=parcel.invoice_id,
                    document_id=parcel.document_id,
                )
            )
    return mailing


def _body(paper: InvoiceDocument, customer: Customer) -> str:
    is_owed = paper.due_date is not None and paper.amount_due_minor > 0
    due = (
        f"; {format_money(paper.amount_due_minor, paper.currency)} are due on "
        f"{format_date(paper.due_date)}"
        if is_owed and paper.due_date is not None
        else ""
    )
    return _BODY.format(
        customer=customer.name,
        title=paper.title,
        number=paper.number,
        day=format_date(paper.issue_date or paper.period_end),
        amount=format_money(paper.total_minor, paper.currency),
        due=due,
        supplier=paper.supplier.legal_name,
    )


def _invoices_to_mail(session: Session, clock: Clock) -> list[MailInvoice]:
    found = session.scalars(
        select(Invoice.id)
        .join(Customer, Customer.id == Invoice.customer_id)
        .outerjoin(EInvoice, EInvoice.invoice_id == Invoice.id)
        .where(
            Invoice.status.in_([InvoiceStatus.DUE, InvoiceStatus.PAID]),
            Invoice.issued_at > clock.now() - FRESH,
            Customer.documents_by_mail,
            or_(EInvoice.id.is_(None), EInvoice.state == EInvoiceState.REGISTERED),
            ~exists().where(InvoiceDelivery.invoice_id == Invoice.id),
            ~exists().where(DocumentMailing.invoice_id == Invoice.id),
        )
        .order_by(Invoice.issued_at)
        .limit(_MOST_PER_ROUND)
    )
    return [MailInvoice(invoice_id=one, kind=MailingKind.ISSUED) for one in found]


def _notes_to_mail(session: Session, clock: Clock) -> list[MailDocument]:
    found = session.scalars(
        select(Document.id)
        .join(Customer, Customer.id == Document.customer_id)
        .outerjoin(EInvoice, EInvoice.document_id == Document.id)
        .where(
            Document.kind.in_(_NOTES),
            Document.issued_at > clock.now() - FRESH,
            Customer.documents_by_mail,
            or_(EInvoice.id.is_(None), EInvoice.state == EInvoiceState.REGISTERED),
            ~exists().where(DocumentMailing.document_id == Document.id),
        )
        .order_by(Document.issued_at)
        .limit(_MOST_PER_ROUND)
    )
    return [MailDocument(document_id=one, kind=MailingKind.ISSUED) for one in found]
