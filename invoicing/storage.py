"""PDFs: rendered once from the snapshot when issued, on demand while a draft."""

import hashlib
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.clock import Clock
from billing.documents.tables import Document, DocumentFile
from billing.documents.templates import SaveTemplate, TemplateLogo, decoded_logo
from billing.einvoices.tables import EInvoice
from billing.invoices.repository import load_invoice, registration
from billing.invoices.tables import InvoiceDocument, InvoiceStatus
from billing.invoices.voiding import require_irn
from billing.periods import DEFAULT_ZONE
from invoicing import document
from invoicing.extras import Asset, Extras, Registration
from invoicing.view import brand_of, document_on
from invoicing.worker import draw


def invoice_pdf(session: Session, invoice_id: UUID, clock: Clock) -> bytes:
    """The PDF of an invoice.

    An issued one is rendered from its snapshot the first time it is asked for, stored with its
    hash, and from then on returned as stored. A draft is rendered as it stands, marked as a draft.

    Raises:
        NotFoundError: if there is no such invoice.
        PreconditionError: if it waits for its IRN; without it, it is no invoice (r.48(5)).
    """
    invoice = load_invoice(session, invoice_id)
    if invoice.status is InvoiceStatus.DRAFT:
        drafted = document_on(session, invoice, invoice.period_end)
        return draw(drafted, extras_of(session, drafted))
    stored = session.get(InvoiceDocument, invoice_id)
    if stored is not None:
        return stored.content
    einvoice = session.scalars(select(EInvoice).filter_by(invoice_id=invoice_id)).one_or_none()
    issued = document.InvoiceDocument.from_dict(invoice.snapshot or {})
    content = draw(issued, extras_of(session, issued, einvoice))
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
    einvoice = session.scalars(select(EInvoice).filter_by(document_id=paper.id)).one_or_none()
    issued = document.InvoiceDocument.from_dict(paper.snapshot)
    content = draw(issued, extras_of(session, issued, einvoice))
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


def preview_pdf(session: Session, invoice_id: UUID, look: SaveTemplate) -> bytes:
    """An invoice as a draft with a look that is not kept yet.

    Raises:
        InvalidError: if the logo is no picture.
    """
    invoice = load_invoice(session, invoice_id)
    supplier = registration(session, invoice.supplier_gstin)
    logo = decoded_logo(look.logo_base64) if look.logo_base64 is not None else None
    shown = document_on(session, invoice, invoice.period_end).model_dump() | {
        "status": document.DocumentStatus.DRAFT,
        "number": None,
        "brand": brand_of(supplier, look),
        "payment_instructions": look.payment_instructions,
        "terms": look.terms,
        "hidden_columns": look.hidden_columns,
    }
    paper = document.InvoiceDocument.model_validate(shown)
    kept = extras_of(session, paper) if logo is None else Extras(Asset(logo[1], logo[0]))
    return draw(paper, kept)


def extras_of(
    session: Session, paper: document.InvoiceDocument, einvoice: EInvoice | None = None
) -> Extras:
    """What a document is drawn with: its logo, and what the portal gave it.

    Raises:
        PreconditionError: if it waits for its IRN.
    """
    logo = None
    if paper.brand.logo_sha256 is not None:
        kept = session.get(TemplateLogo, paper.brand.logo_sha256)
        logo = Asset(kept.content, kept.media_type) if kept is not None else None
    if einvoice is None or einvoice.acknowledged_at is None:
        require_irn(einvoice)
        return Extras(logo)
    acknowledged = einvoice.acknowledged_at.astimezone(ZoneInfo(DEFAULT_ZONE))
    return Extras(
        logo,
        Registration(
            irn=einvoice.irn,
            ack_number=einvoice.ack_number or "",
            acknowledged_on=f"{acknowledged:%d %b %Y, %H:%M} IST",
            signed_qr=einvoice.signed_qr or "",
        ),
    )
