"""From stored rows to the document a customer reads; everything is copied, nothing refers back."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from babel import Locale
from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.customers.tables import Account, Customer, TaxProfile
from billing.db.recall import recall
from billing.documents.templates import TemplateContent, current_template
from billing.invoices.repository import registration
from billing.invoices.tables import (
    Invoice,
    InvoiceAllocation,
    InvoiceLine,
    InvoiceStatus,
    SupplierRegistration,
)
from billing.invoices.taxing import InvoiceTax, decide_tax_of
from billing.tax.einvoice import DocumentType
from billing.tax.model import TaxDecision, TaxKind
from billing.tax.rules import place_name
from invoicing import document as doc
from invoicing.advances import advances_on
from invoicing.lines import document_line
from invoicing.parts import TaxedAmount, fx_at, fx_on, head_totals
from invoicing.payment_qr import payment_qr
from invoicing.words import amount_in_words

_RECIPIENT_KINDS = {
    TaxKind.UIN: doc.RecipientKind.UIN,
    TaxKind.UNREGISTERED: doc.RecipientKind.UNREGISTERED,
    TaxKind.OVERSEAS: doc.RecipientKind.OVERSEAS,
}
_TITLES = {
    DocumentType.INVOICE: "Tax Invoice",
    DocumentType.DEBIT_NOTE: "Debit Note",
    DocumentType.BILL_OF_SUPPLY: "Bill of Supply",
    DocumentType.STATEMENT: "Statement of Usage",
}
_SOURCES = {"top_up": "Paid with the top-up"}
_NO_TAX_INVOICE = (
    "This is no tax invoice. Tax was charged on the tax invoices by which the credits were sold; "
    "they are listed above."
)
_CHANNELS = {"sms": "SMS", "rcs": "RCS", "whatsapp": "WhatsApp", "email": "E-mail"}
_ENGLISH = Locale("en")
Decided = tuple[InvoiceTax, TaxProfile]
"""A tax decision, and the profile it rests on."""


def document_on(
    session: Session,
    invoice: Invoice,
    day: date,
    allocations: Sequence[InvoiceAllocation] = (),
    decided: Decided | None = None,
) -> doc.InvoiceDocument:
    """The document of an invoice as it stands, draft or issued, as of a day.

    Args:
        decided: the tax decision of that day and the profile it rests on, if the caller has them.

    Raises:
        PreconditionError: if it is in a foreign currency and no exchange rate is on record, or the
            customer has no tax profile.
    """
    if invoice.corrects_id is not None:
        return _debit_note(session, invoice)
    supplier = registration(session, invoice.supplier_gstin)
    decision, profile = decided or decide_tax_of(session, invoice, supplier, day)
    return _document(session, invoice, supplier, profile, decision.leading, allocations)


def _debit_note(session: Session, invoice: Invoice) -> doc.InvoiceDocument:
    """The particulars of the invoice that said too little, with the lines of the note (r.53)."""
    corrected = session.get_one(Invoice, invoice.corrects_id)
    original = doc.InvoiceDocument.from_dict(corrected.snapshot or {})
    amounts = _amounts(invoice)
    fields = original.model_dump() | {
        "document_type": DocumentType.DEBIT_NOTE,
        "status": _status(invoice),
        "title": "Debit Note",
        "number": invoice.number,
        "issue_date": invoice.issue_date,
        "due_date": invoice.due_date,
        "references": (
            doc.DocumentReference(
                number=original.number or "", issue_date=original.issue_date or original.period_end
            ),
        ),
        "lines": tuple(document_line(line, invoice.currency) for line in invoice.lines),
        "sections": (),
        "usage": (),
        "head_totals": head_totals(amounts),
        "taxable_minor": invoice.taxable_minor,
        "tax_minor": invoice.tax_minor,
        "round_off_minor": 0,
        "total_minor": invoice.total_minor,
        "amount_in_words": amount_in_words(invoice.total_minor, invoice.currency),
        # At the invoice's own rate, so that the correction is of what was declared.
        "fx": original.fx and fx_at(original.fx, original.currency, amounts),
        "settlements": (),
        "advances": (),
        "payment_qr": "",
        "notes": (f"Reason: {invoice.remark}",),
        "signature_note": "This is a computer-generated debit note; no signature is required.",
    }
    return doc.InvoiceDocument.model_validate(fields)


def _status(invoice: Invoice) -> doc.DocumentStatus:
    is_draft = invoice.status is InvoiceStatus.DRAFT
    return doc.DocumentStatus.DRAFT if is_draft else doc.DocumentStatus.ISSUED


def _document(
    session: Session,
    invoice: Invoice,
    supplier: SupplierRegistration,
    profile: TaxProfile,
    decision: TaxDecision,
    allocations: Sequence[InvoiceAllocation],
) -> doc.InvoiceDocument:
    account = session.get_one(Account, invoice.account_id)
    customer = session.get_one(Customer, invoice.customer_id)
    rate_day = invoice.issue_date or invoice.period_end
    look = template_of(session, supplier)
    is_statement = invoice.document_type is DocumentType.STATEMENT
    paper = doc.InvoiceDocument(
        document_type=invoice.document_type,
        status=_status(invoice),
        title=_TITLES[invoice.document_type],
        brand=brand_of(supplier, look),
        supplier=supplier_part(supplier, decision),
        recipient=recipient_part(profile, customer),
        supply=decision.supply,
        number=invoice.number,
        issue_date=invoice.issue_date,
        due_date=invoice.due_date,
        period_start=invoice.period_start,
        period_end=invoice.period_end,
        account_name=account.name,
        place_of_supply_code=decision.pos_code or "",
        place_of_supply_name=decision.pos_name or "",
        currency=invoice.currency,
        lines=tuple(document_line(line, invoice.currency) for line in invoice.lines),
        sections=_sections(session, invoice),
        head_totals=head_totals(_amounts(invoice)),
        taxable_minor=invoice.taxable_minor,
        tax_minor=invoice.tax_minor,
        round_off_minor=invoice.round_off_minor,
        total_minor=invoice.total_minor,
        amount_in_words=amount_in_words(invoice.total_minor, invoice.currency),
        fx=fx_on(session, invoice.currency, rate_day, _amounts(invoice)),
        settlements=tuple(
            doc.Settlement(
                label=_SOURCES.get(row.source, f"Settled from {row.source}"),
                amount_minor=row.amount_minor,
            )
            for row in allocations
        ),
        advances=advances_on(session, invoice, account) if allocations else (),
        bank=doc.BankDetails(**supplier.bank_details) if supplier.bank_details else None,
        payment_instructions=look.payment_instructions,
        wording=() if is_statement else decision.wording,
        notes=_notes(invoice),
        terms=look.terms,
        hidden_columns=look.hidden_columns,
        usage=tuple(_usage(row) for row in invoice.usage_breakdown),
    )
    return paper.model_copy(update={"payment_qr": payment_qr(paper)}) if look.dynamic_qr else paper


def _notes(invoice: Invoice) -> tuple[str, ...]:
    told = (invoice.remark,) if invoice.remark else ()
    if invoice.document_type is DocumentType.STATEMENT:
        return (_NO_TAX_INVOICE, *told)
    return told


def _sections(session: Session, invoice: Invoice) -> tuple[doc.Section, ...]:
    """The accounts that share a document, in the order of their lines."""
    by_account: dict[UUID, list[InvoiceLine]] = {}
    for line in invoice.lines:
        if line.account_id is not None:
            by_account.setdefault(line.account_id, []).append(line)
    if not by_account:
        return ()
    accounts = {
        account.id: account
        for account in session.scalars(select(Account).where(Account.id.in_(by_account)))
    }
    sections = []
    for account_id, lines in by_account.items():
        account = accounts[account_id]
        taxable = sum(line.amount_minor for line in lines)
        tax = sum(one.tax_minor for line in lines for one in line.taxes)
        sections.append(
            doc.Section(
                account_code=account.code,
                account_name=account.name,
                ordinals=tuple(line.ordinal for line in lines),
                taxable_minor=taxable,
                tax_minor=tax,
                total_minor=taxable + tax,
            )
        )
    return tuple(sections)


def _usage(row: Mapping[str, Any]) -> doc.UsageRow:
    channel = str(row["channel"])
    return doc.UsageRow(
        account=str(row.get("account", "")),
        service=str(row["service"]),
        channel=_CHANNELS.get(channel, channel.replace("_", " ").capitalize()),
        country=_ENGLISH.territories.get(str(row["country"]), str(row["country"])),
        events=int(row["events"]),
        quantity=Decimal(row["quantity"]),
    )


def template_of(session: Session, supplier: SupplierRegistration) -> TemplateContent:
    """How documents of a registration look now."""
    row = recall(
        session,
        ("template", supplier.gstin),
        lambda: current_template(session, supplier.gstin),
    )
    return TemplateContent.model_validate(row.content) if row else TemplateContent()


def brand_of(supplier: SupplierRegistration, look: TemplateContent) -> doc.Brand:
    """The sender's look as a document keeps it."""
    return doc.Brand(
        name=supplier.trade_name,
        logo_text=supplier.trade_name,
        logo_sha256=look.logo_sha256,
        accent_colour=look.accent_colour,
        website=look.website,
        support_email=look.support_email,
        footer=look.footer,
    )


def _amounts(invoice: Invoice) -> list[TaxedAmount]:
    return [(line.amount_minor, line.taxes) for line in invoice.lines]


def supplier_part(row: SupplierRegistration, decision: TaxDecision) -> doc.Supplier:
    """Our registration as a document names it."""
    return doc.Supplier(
        legal_name=row.legal_name,
        trade_name=row.trade_name,
        address=_address(row.address_line, row.city, row.postal_code, row.state_code, "IN"),
        gstin=row.gstin,
        pan=row.gstin[2:12],
        lut_arn=decision.lut_arn,
    )


def recipient_part(profile: TaxProfile, customer: Customer) -> doc.Recipient:
    """A customer as a document names them."""
    return doc.Recipient(
        kind=_RECIPIENT_KINDS.get(profile.tax_kind, doc.RecipientKind.GSTIN),
        legal_name=profile.legal_name,
        address=_address(
            profile.address_line,
            profile.city,
            profile.postal_code,
            profile.state_code,
            profile.country,
        ),
        tax_number=profile.gstin,
        customer_code=customer.code,
        email=customer.email or "",
    )


def _address(
    line: str, city: str, postal_code: str, state_code: str | None, country: str
) -> doc.Address:
    return doc.Address(
        lines=(line,),
        city=city,
        postal_code=postal_code,
        state_code=state_code,
        state_name=place_name(state_code) if state_code else None,
        country_code=country,
        country_name=_ENGLISH.territories.get(country, country),
    )
