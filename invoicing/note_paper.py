"""What a credit note says: the particulars of its invoice, with the lines that go back (r.53)."""

from datetime import date
from decimal import Decimal

from billing.documents.crediting import CreditedLine
from billing.documents.tables import DocumentKind
from billing.invoices.tables import Invoice
from billing.tax.einvoice import DocumentType
from invoicing import document as doc
from invoicing.parts import fx_at, head_totals, taxes_on_line
from invoicing.words import amount_in_words


def note_paper(
    invoice: Invoice,
    credited: list[CreditedLine],
    kind: DocumentKind,
    number: str,
    today: date,
    reason: str,
    round_off_minor: int,
) -> doc.InvoiceDocument:
    """The invoice's own particulars with the lines of the note."""
    original = doc.InvoiceDocument.from_dict(invoice.snapshot or {})
    printed = {line.line_ref: line for line in original.lines}
    lines = tuple(
        _printed(printed[line.line_ref], ordinal, line)
        for ordinal, line in enumerate(credited, start=1)
    )
    taxable_minor = sum(line.taxable_minor for line in lines)
    tax_minor = sum(line.tax_minor for line in credited)
    total_minor = taxable_minor + tax_minor + round_off_minor
    with_tax = kind is DocumentKind.CREDIT_NOTE
    amounts = [(line.taxable_minor, line.taxes) for line in credited]
    fields = original.model_dump() | {
        "document_type": DocumentType.CREDIT_NOTE,
        "status": doc.DocumentStatus.ISSUED,
        "title": "Credit Note" if with_tax else "Financial Credit Note (without GST)",
        "number": number,
        "issue_date": today,
        "due_date": None,
        "references": (
            doc.DocumentReference(
                number=invoice.number or "", issue_date=invoice.issue_date or today
            ),
        ),
        "lines": lines,
        "head_totals": head_totals(amounts),
        "taxable_minor": taxable_minor,
        "tax_minor": tax_minor,
        "round_off_minor": round_off_minor,
        "total_minor": total_minor,
        "amount_in_words": amount_in_words(total_minor, invoice.currency),
        # At the invoice's own rate, so that what was declared is what is taken back.
        "fx": original.fx and fx_at(original.fx, original.currency, amounts),
        "settlements": (),
        "advances": (),
        "sections": (),
        "usage": (),
        "bank": None,
        "payment_qr": "",
        "notes": (f"Reason: {reason}",),
        "signature_note": "This is a computer-generated credit note; no signature is required.",
    }
    return doc.InvoiceDocument.model_validate(fields)


def _printed(line: doc.DocumentLine, ordinal: int, taken: CreditedLine) -> doc.DocumentLine:
    whole = taken.taxable_minor == line.taxable_minor
    return doc.DocumentLine(
        ordinal=ordinal,
        line_ref=line.line_ref,
        description=line.description,
        sac=line.sac,
        period_start=line.period_start,
        period_end=line.period_end,
        quantity=line.quantity if whole else Decimal(1),
        unit=line.unit if whole else "adjustment",
        unit_price=line.unit_price if whole else None,
        price_note="" if whole and line.unit_price is not None else "as invoiced",
        taxable_minor=taken.taxable_minor,
        taxes=taxes_on_line(taken.taxes),
        total_minor=taken.taxable_minor + taken.tax_minor,
    )
