"""Documents of every kind the renderer has to draw, built the way the product builds them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from billing.money import to_minor
from billing.tax.compute import inr_minor, tax_document
from billing.tax.decide import decide
from billing.tax.gstin import check_character
from billing.tax.model import (
    CustomerTaxProfile,
    Lut,
    SupplierRegistration,
    SupplyKind,
    TaxableItem,
    TaxKind,
)
from invoicing.document import (
    Address,
    BankDetails,
    Brand,
    DocumentLine,
    DocumentStatus,
    Fx,
    HeadTotal,
    InvoiceDocument,
    Recipient,
    RecipientKind,
    Settlement,
    Supplier,
    TaxOnLine,
    TierRow,
    UsageRow,
)
from invoicing.words import amount_in_words

ISSUED = date(2026, 5, 31)
PERIOD = (date(2026, 5, 1), date(2026, 6, 1))
LUT = Lut("AD290326000123X", date(2026, 4, 1), date(2027, 3, 31))
RATES = {"USD": Decimal("84.5012"), "IDR": Decimal("0.005412")}


def gstin(state: str, pan: str) -> str:
    body = f"{state}{pan}1Z"
    return body + check_character(body)


REGISTRATION = SupplierRegistration(
    gstin("29", "AAHCO1234F"), "OTPless Technologies Private Limited"
)
SUPPLIER = Supplier(
    legal_name="OTPless Technologies Private Limited",
    trade_name="OTPless",
    address=Address(
        lines=("4th Floor, Prestige Atrium", "1 Central Street, Shivaji Nagar"),
        city="Bengaluru",
        postal_code="560001",
        state_code="29",
        state_name="Karnataka",
    ),
    gstin=REGISTRATION.gstin,
    pan="AAHCO1234F",
    cin="U72900KA2021PTC150000",
    email="billing@otpless.example",
    phone="+91 80 4000 0000",
)
BANK = BankDetails(
    account_name="OTPless Technologies Private Limited",
    account_number="50200012345678",
    bank_name="HDFC Bank",
    branch="MG Road, Bengaluru",
    ifsc="HDFC0000123",
    swift="HDFCINBB",
    upi_id="otpless@hdfcbank",
)
BRAND = Brand(
    name="OTPless",
    logo_text="OTPless",
    website="otpless.example",
    support_email="help@otpless.example",
)


def rated_line(
    ordinal: int,
    description: str,
    quantity: str,
    unit_price: str | None,
    amount: str,
    *,
    currency: str = "INR",
    **more: Any,
) -> DocumentLine:
    """A line before tax."""
    taxable = to_minor(Decimal(amount), currency) - more.get("discount_minor", 0)
    fields: dict[str, Any] = {
        "ordinal": ordinal,
        "line_ref": f"line-{ordinal}",
        "description": description,
        "sac": "998413",
        "period_start": PERIOD[0],
        "period_end": PERIOD[1],
        "quantity": Decimal(quantity),
        "unit": "OTP",
        "unit_price": None if unit_price is None else Decimal(unit_price),
        "taxable_minor": taxable,
        "total_minor": taxable,
    }
    return DocumentLine(**{**fields, **more})


DOMESTIC_LINES = (
    rated_line(
        1,
        "SMS OTP, India",
        "482150",
        None,
        "64336.142",
        price_note="tiered",
        tiers=(
            TierRow(
                from_quantity=Decimal(1),
                up_to=Decimal(100_000),
                quantity=Decimal(100_000),
                unit_price=Decimal("0.15"),
                amount=Decimal(15000),
            ),
            TierRow(
                from_quantity=Decimal(100_001),
                up_to=Decimal(300_000),
                quantity=Decimal(200_000),
                unit_price=Decimal("0.135"),
                flat=Decimal(500),
                amount=Decimal(27500),
            ),
            TierRow(
                from_quantity=Decimal(300_001),
                up_to=None,
                quantity=Decimal(182_150),
                unit_price=Decimal("0.11988"),
                amount=Decimal("21836.142"),
            ),
        ),
        usage=(
            UsageRow(
                channel="SMS",
                country="India",
                events=478_020,
                quantity=Decimal(478_020),
                amount=Decimal("63785.092"),
            ),
            UsageRow(
                channel="SMS",
                country="United Arab Emirates",
                events=4_130,
                quantity=Decimal(4_130),
                amount=Decimal("551.05"),
            ),
        ),
    ),
    rated_line(
        2,
        "WhatsApp OTP",
        "91204",
        "0.1175",
        "10716.47",
        usage=(
            UsageRow(
                channel="WhatsApp",
                country="India",
                events=91_204,
                quantity=Decimal(91_204),
                amount=Decimal("10716.47"),
            ),
        ),
    ),
    rated_line(3, "Magic links by e-mail", "18420", "0.02", "368.40", discount_minor=6840),
    rated_line(4, "Growth plan, platform fee", "1", "24999", "24999", unit="month", sac="998319"),
)


def build(
    profile: CustomerTaxProfile,
    recipient: Recipient,
    lines: Sequence[DocumentLine] = DOMESTIC_LINES,
    currency: str = "INR",
    *,
    lut: Lut | None = None,
    **changes: Any,
) -> InvoiceDocument:
    """Decide, tax and assemble an issued invoice."""
    decision = decide(replace(REGISTRATION, lut=lut), profile, TaxableItem(lines[0].sac), ISSUED)
    tax = tax_document([(line.taxable_minor, decision.heads) for line in lines])
    taxed = tuple(
        line.model_copy(
            update={
                "taxes": tuple(
                    TaxOnLine(head=amount.head, rate=amount.rate, tax_minor=amount.tax_minor)
                    for amount in line_tax.taxes
                ),
                "total_minor": line_tax.total_minor,
            }
        )
        for line, line_tax in zip(lines, tax.lines, strict=True)
    )
    fields: dict[str, Any] = {
        "status": DocumentStatus.ISSUED,
        "brand": BRAND,
        "supplier": SUPPLIER.model_copy(update={"lut_arn": decision.lut_arn}),
        "recipient": recipient,
        "supply": decision.supply,
        "number": "INV-2627-000042",
        "issue_date": ISSUED,
        "due_date": ISSUED + timedelta(days=15),
        "period_start": PERIOD[0],
        "period_end": PERIOD[1],
        "account_name": "Production",
        "place_of_supply_code": decision.pos_code,
        "place_of_supply_name": decision.pos_name,
        "currency": currency,
        "lines": taxed,
        "head_totals": tuple(
            HeadTotal(
                head=amount.head,
                rate=amount.rate,
                taxable_minor=amount.taxable_minor,
                tax_minor=amount.tax_minor,
            )
            for amount in tax.heads
        ),
        "taxable_minor": tax.taxable_minor,
        "tax_minor": tax.tax_minor,
        "total_minor": tax.total_minor,
        "amount_in_words": amount_in_words(tax.total_minor, currency),
        "bank": BANK,
        "payment_instructions": "Please quote the invoice number with your transfer.",
        "wording": decision.wording,
    }
    if decision.supply is SupplyKind.EXPORT:
        fields["fx"] = rupee_values(taxed, currency)
    return InvoiceDocument(**{**fields, **changes})


def changed(document: InvoiceDocument, **changes: Any) -> InvoiceDocument:
    """The same document with other fields, checked again."""
    return InvoiceDocument(**{**dict(document), **changes})


def rupee_values(lines: Sequence[DocumentLine], currency: str) -> Fx:
    """The rupee block of an export, summed from lines."""
    rate = RATES[currency]
    taxable = sum(inr_minor(line.taxable_minor, currency, rate) for line in lines)
    tax = sum(
        inr_minor(amount.tax_minor, currency, rate) for line in lines for amount in line.taxes
    )
    return Fx(
        inr_per_unit=rate,
        source="FBIL reference rate",
        rate_date=date(2026, 5, 29),
        taxable_inr_minor=taxable,
        tax_inr_minor=tax,
        total_inr_minor=taxable + tax,
    )


ACME_ADDRESS = Address(
    lines=("12 Residency Road", "Ashok Nagar"),
    city="Bengaluru",
    postal_code="560025",
    state_code="29",
    state_name="Karnataka",
)
MUMBAI_ADDRESS = Address(
    lines=("Bandra Kurla Complex, Block G",),
    city="Mumbai",
    postal_code="400051",
    state_code="27",
    state_name="Maharashtra",
)


def intra_state(**changes: Any) -> InvoiceDocument:
    """A customer in the supplier's own State: CGST and SGST."""
    number = gstin("29", "AABCA1234C")
    recipient = Recipient(
        kind=RecipientKind.GSTIN,
        legal_name="Acme Retail Private Limited",
        address=ACME_ADDRESS,
        tax_number=number,
        customer_code="acme",
        email="accounts@acme.example",
    )
    profile = CustomerTaxProfile(
        TaxKind.REGISTERED, recipient.legal_name, gstin=number, state_code="29"
    )
    settled = Settlement(
        label="Settled from wallet",
        reference="RV-2627-000017",
        settled_on=ISSUED,
        amount_minor=5_000_000,
    )
    return build(profile, recipient, **{"settlements": (settled,), **changes})


def inter_state(**changes: Any) -> InvoiceDocument:
    """A customer in another State: IGST."""
    number = gstin("27", "AABCB1234C")
    recipient = Recipient(
        kind=RecipientKind.GSTIN,
        legal_name="Borivali Logistics Limited",
        address=MUMBAI_ADDRESS,
        tax_number=number,
    )
    profile = CustomerTaxProfile(
        TaxKind.REGISTERED, recipient.legal_name, gstin=number, state_code="27"
    )
    return build(profile, recipient, **changes)


def sez_under_lut(**changes: Any) -> InvoiceDocument:
    """A unit in a Special Economic Zone: no tax under the letter of undertaking."""
    number = gstin("27", "AABCZ1234C")
    recipient = Recipient(
        kind=RecipientKind.GSTIN,
        legal_name="Zone Analytics Limited",
        address=MUMBAI_ADDRESS,
        tax_number=number,
    )
    profile = CustomerTaxProfile(
        TaxKind.SEZ_UNIT,
        recipient.legal_name,
        gstin=number,
        state_code="27",
        sez_authorised_operations=True,
    )
    return build(profile, recipient, lut=LUT, **changes)


def export(currency: str = "USD", **changes: Any) -> InvoiceDocument:
    """A customer abroad under the letter of undertaking, in dollars or rupiah."""
    if currency == "USD":
        address = Address(
            lines=("548 Market Street", "Suite 100"),
            city="San Francisco, CA",
            postal_code="94104",
            country_code="US",
            country_name="United States of America",
        )
        name, tax_number = "Pacific Checkout, Inc.", "EIN 12-3456789"
        lines = (
            rated_line(
                1, "SMS OTP, United States", "48215", "0.0079", "380.8985", currency=currency
            ),
            rated_line(2, "WhatsApp OTP", "9120", "0.0125", "114", currency=currency),
            rated_line(
                3, "Scale plan, platform fee", "1", "499", "499", currency=currency, unit="month"
            ),
        )
    else:
        address = Address(
            lines=("Jl. Jenderal Sudirman Kav. 52",),
            city="Jakarta",
            postal_code="12190",
            country_code="ID",
            country_name="Indonesia",
        )
        name, tax_number = "PT Belanja Nusantara", "NPWP 01.234.567.8-901.000"
        lines = (
            rated_line(
                1, "WhatsApp OTP, Indonesia", "81500", "412.5", "33618750", currency=currency
            ),
            rated_line(2, "Voice OTP, Indonesia", "1200.5", "950", "1140475", currency=currency),
        )
    recipient = Recipient(
        kind=RecipientKind.OVERSEAS,
        legal_name=name,
        address=address,
        foreign_tax_number=tax_number,
    )
    profile = CustomerTaxProfile(
        TaxKind.OVERSEAS,
        name,
        country=address.country_code,
        address=", ".join(address.lines),
        payment_currency=currency,
    )
    return build(profile, recipient, lines, currency, lut=LUT, **changes)


def unregistered(**changes: Any) -> InvoiceDocument:
    """A person without a number in another State."""
    address = Address(
        lines=("7 Temple Street",),
        city="Chennai",
        postal_code="600004",
        state_code="33",
        state_name="Tamil Nadu",
    )
    recipient = Recipient(
        kind=RecipientKind.UNREGISTERED, legal_name="Meena Sundaram", address=address
    )
    profile = CustomerTaxProfile(TaxKind.UNREGISTERED, recipient.legal_name, state_code="33")
    return build(profile, recipient, DOMESTIC_LINES[1:3], **changes)


def draft(**changes: Any) -> InvoiceDocument:
    """The intra-state invoice before its issue."""
    return intra_state(
        **{
            "status": DocumentStatus.DRAFT,
            "number": None,
            "issue_date": None,
            "due_date": None,
            "settlements": (),
            **changes,
        }
    )
