"""PDFs: rendered once from the snapshot when issued, on demand while a draft."""

import hashlib
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.clock import Clock
from billing.customers.tables import Customer
from billing.documents.tables import Document, DocumentFile
from billing.invoices.repository import load_invoice, registration
from billing.invoices.tables import Invoice, InvoiceDocument, InvoiceStatus
from billing.invoices.taxing import decide_invoice_tax, tax_profile_on
from invoicing import document
from invoicing.render import render_pdf
from invoicing.view import document_of


def invoice_pdf(session: Session, invoice_id: UUID, clock: Clock) -> bytes:
    """The PDF of an invoice.

    An issued one is rendered from its snapshot the first time it is asked for, stored with its
    hash, and from then on returned as stored. A draft is rendered as it stands, marked as a draft.

    Raises:
        NotFoundError: if there is no such invoice.
    """
    invoice = load_invoice(session, invoice_id)
    if invoice.status is InvoiceStatus.DRAFT:
        return render_pdf(_draft_document(session, invoice))
    stored = session.get(InvoiceDocument, invoice_id)
    if stored is not None:
        return stored.content
    content = render_pdf(document.InvoiceDocument.from_dict(invoice.snapshot or {}))
    # Two first readers render the same bytes; whoever is second finds the row there.
    session.execute(
        insert(InvoiceDocument)
        .values(
            invoice_id=invoice_id,
            sha256=hashlib.sha256(content).hexdigest(),
            content=content,
            rendered_at=clock.now(),
        )
        .on_conflict_do_nothing()
    )
    return session.get_one(InvoiceDocument, invoice_id).content


def document_pdf(session: Session, paper: Document, clock: Clock) -> bytes:
    """The PDF of a note or voucher: drawn from its snapshot once, then as stored."""
    stored = session.get(DocumentFile, paper.id)
    if stored is not None:
        return stored.content
    content = render_pdf(document.InvoiceDocument.from_dict(paper.snapshot))
    session.execute(
        insert(DocumentFile)
        .values(
            document_id=paper.id,
            sha256=hashlib.sha256(content).hexdigest(),
            content=content,
            rendered_at=clock.now(),
        )
        .on_conflict_do_nothing()
    )
    return session.get_one(DocumentFile, paper.id).content


def _draft_document(session: Session, invoice: Invoice) -> document.InvoiceDocument:
    tax_date = invoice.period_end
    supplier = registration(session, invoice.supplier_gstin)
    profile = tax_profile_on(session, invoice.customer_id, tax_date)
    decision = decide_invoice_tax(
        supplier,
        profile,
        sacs={line.sac for line in invoice.lines},
        currency=invoice.currency,
        tax_date=tax_date,
    )
    return document_of(
        session,
        invoice,
        supplier=supplier,
        profile=profile,
        customer=session.get_one(Customer, invoice.customer_id),
        decision=decision.leading,
    )
