"""From stored rows to the document a customer reads; everything is copied, nothing refers back."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from babel import Locale
from sqlalchemy.orm import Session

from billing.customers.tables import Account, Customer, TaxProfile
from billing.invoices.tables import (
    Invoice,
    InvoiceAllocation,
    InvoiceLine,
    InvoiceStatus,
    SupplierRegistration,
)
from billing.money import plain
from billing.tax.model import TaxDecision, TaxKind
from billing.tax.rules import place_name
from invoicing import document as doc
from invoicing.parts import TaxedAmount, fx_on, head_totals, taxes_on_line
from invoicing.words import amount_in_words

_RECIPIENT_KINDS = {
    TaxKind.UIN: doc.RecipientKind.UIN,
    TaxKind.UNREGISTERED: doc.RecipientKind.UNREGISTERED,
    TaxKind.OVERSEAS: doc.RecipientKind.OVERSEAS,
}
_ENGLISH = Locale("en")


def document_of(
    session: Session,
    invoice: Invoice,
    *,
    supplier: SupplierRegistration,
    profile: TaxProfile,
    customer: Customer,
    decision: TaxDecision,
    allocations: Sequence[InvoiceAllocation] = (),
) -> doc.InvoiceDocument:
    """The document of an invoice as it stands, draft or issued.

    Raises:
        PreconditionError: if it is in a foreign currency and no exchange rate is on record.
    """
    is_draft = invoice.status is InvoiceStatus.DRAFT
    account = session.get_one(Account, invoice.account_id)
    rate_day = invoice.issue_date or invoice.period_end
    return doc.InvoiceDocument(
        status=doc.DocumentStatus.DRAFT if is_draft else doc.DocumentStatus.ISSUED,
        brand=doc.Brand(name=supplier.trade_name, logo_text=supplier.trade_name),
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
        lines=tuple(_line(line) for line in invoice.lines),
        head_totals=head_totals(_amounts(invoice)),
        taxable_minor=invoice.taxable_minor,
        tax_minor=invoice.tax_minor,
        total_minor=invoice.total_minor,
        amount_in_words=amount_in_words(invoice.total_minor, invoice.currency),
        fx=fx_on(session, invoice.currency, rate_day, _amounts(invoice)),
        settlements=tuple(
            doc.Settlement(label=f"Settled from {row.source}", amount_minor=row.amount_minor)
            for row in allocations
        ),
        bank=doc.BankDetails(**supplier.bank_details) if supplier.bank_details else None,
        wording=decision.wording,
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


def _line(line: InvoiceLine) -> doc.DocumentLine:
    taxes = taxes_on_line(line.taxes)
    return doc.DocumentLine(
        ordinal=line.ordinal,
        line_ref=line.line_ref,
        description=line.description,
        sac=line.sac,
        period_start=line.period_start,
        period_end=line.period_end,
        quantity=plain(line.quantity),
        unit=line.unit,
        unit_price=None if line.unit_price is None else plain(line.unit_price),
        price_note=_price_note(line),
        taxable_minor=line.amount_minor,
        taxes=taxes,
        total_minor=line.amount_minor + sum(tax.tax_minor for tax in taxes),
        tiers=tuple(_tier(tier) for tier in line.tier_breakdown) if _is_tiered(line) else (),
    )


def _is_tiered(line: InvoiceLine) -> bool:
    return line.unit_price is None and bool(line.tier_breakdown) and not _in_packages(line)


def _in_packages(line: InvoiceLine) -> bool:
    return any("package_size" in tier for tier in line.tier_breakdown)


def _price_note(line: InvoiceLine) -> str:
    """What stands where one price of a unit cannot."""
    if line.unit_price is not None:
        return ""
    if not _in_packages(line):
        return "tiered"
    tier = line.tier_breakdown[0]
    return f"{tier['unit_price']} per {tier['package_size']}"


def _tier(tier: Mapping[str, Any]) -> doc.TierRow:
    flat = plain(Decimal(tier["flat_amount"]))
    return doc.TierRow(
        from_quantity=_first_unit(Decimal(tier["from"])),
        up_to=None if tier["to"] is None else plain(Decimal(tier["to"])),
        quantity=plain(Decimal(tier["units"])),
        unit_price=plain(Decimal(tier["unit_price"])),
        flat=flat or None,
        amount=plain(Decimal(tier["amount"])),
    )


def _first_unit(above: Decimal) -> Decimal:
    """What a reader calls the start of a tier: above 100 begins with unit 101."""
    return plain(above + 1 if above == above.to_integral_value() else above)
