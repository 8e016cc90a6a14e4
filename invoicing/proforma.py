"""Proformas: what an invoice would say, for a customer who pays or approves first.

A proforma is no document of GST: it has a series of its own and says what it is not.
"""

from datetime import date
from uuid import UUID

from billing.access.roles import Permission
from billing.commands import Context, Request, command
from billing.documents.tables import SERIES, Document, DocumentKind, DocumentLine
from billing.errors import PreconditionError
from billing.invoices.numbering import next_number
from billing.invoices.repository import load_invoice
from billing.invoices.service import require_draft
from billing.invoices.tables import Invoice
from billing.money import plain
from billing.periods import DEFAULT_ZONE, local_day
from billing.tax.einvoice import DocumentType
from invoicing import document as doc
from invoicing.view import document_on


class IssueProforma(Request):
    """Which draft to show."""

    invoice_id: UUID


@command("proforma.issue", Permission.INVOICES_WRITE)
def issue_proforma(ctx: Context, request: IssueProforma) -> Document:
    """Number and freeze what a draft says today; the draft goes on as it is.

    Raises:
        PreconditionError: if the invoice is issued, or its draft comes to nothing.
    """
    invoice = require_draft(load_invoice(ctx.session, request.invoice_id, lock=True))
    if invoice.document_type is DocumentType.DEBIT_NOTE or not invoice.taxable_minor:
        raise PreconditionError(
            "A proforma is made of a draft invoice that comes to something.", code="no_proforma"
        )
    today = local_day(ctx.clock.now(), DEFAULT_ZONE)
    number = next_number(
        ctx.session,
        gstin=invoice.supplier_gstin,
        series=SERIES[DocumentKind.PROFORMA],
        issue_date=today,
    )
    paper = _paper(document_on(ctx.session, invoice, today), number, today)
    proforma = Document(
        kind=DocumentKind.PROFORMA,
        number=number,
        issue_date=today,
        supplier_gstin=invoice.supplier_gstin,
        customer_id=invoice.customer_id,
        account_id=invoice.account_id,
        currency=invoice.currency,
        taxable_minor=paper.taxable_minor,
        tax_minor=paper.tax_minor,
        total_minor=paper.total_minor,
        reason=f"Draft of {invoice.period_start} to {invoice.period_end}",
        applied_minor=0,
        snapshot=paper.to_dict(),
        snapshot_hash=paper.snapshot_hash,
        issued_by=ctx.actor.name,
        issued_at=ctx.clock.now(),
        lines=_lines(invoice),
    )
    ctx.session.add(proforma)
    return proforma


def _lines(invoice: Invoice) -> list[DocumentLine]:
    charged = [line for line in invoice.lines if line.amount_minor]
    return [
        DocumentLine(
            ordinal=ordinal,
            description=line.description,
            sac=line.sac,
            taxable_minor=line.amount_minor,
            taxes=[
                {
                    "head": tax.head.value,
                    "rate": str(plain(tax.rate)),
                    "tax_minor": tax.tax_minor,
                }
                for tax in line.taxes
            ],
        )
        for ordinal, line in enumerate(charged, start=1)
    ]


def _paper(drafted: doc.InvoiceDocument, number: str, today: date) -> doc.InvoiceDocument:
    fields = drafted.model_dump() | {
        "document_type": DocumentType.PROFORMA,
        "status": doc.DocumentStatus.ISSUED,
        "title": "Proforma Invoice",
        "copy_label": "THIS IS NOT A TAX INVOICE",
        "number": number,
        "issue_date": today,
        "signature_note": "This is a computer-generated proforma; input tax credit needs the "
        "tax invoice that follows.",
    }
    return doc.InvoiceDocument.model_validate(fields)
