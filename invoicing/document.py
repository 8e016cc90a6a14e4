"""What a document says: a frozen view of an invoice, complete enough to be drawn from alone.

Every particular of CGST Rules r.46 has its place here. The document checks its own arithmetic when
it is made, so that nothing that does not add up can be stored or printed. Its JSON is canonical:
the same document gives the same text, and the stored snapshot draws the same pages years later.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from billing.money import CURRENCIES
from billing.tax.einvoice import DocumentType
from billing.tax.model import SupplyKind, TaxHead
from invoicing.document_parts import (
    Advance,
    BankDetails,
    DocumentReference,
    Fx,
    Part,
    Section,
    Settlement,
    TierRow,
    UsageRow,
)

__all__ = [
    "SCHEMA_VERSION",
    "Address",
    "Advance",
    "BankDetails",
    "Brand",
    "Colour",
    "DocumentLine",
    "DocumentReference",
    "DocumentStatus",
    "Fx",
    "HeadTotal",
    "InvoiceDocument",
    "Recipient",
    "RecipientKind",
    "Section",
    "Settlement",
    "Supplier",
    "TaxOnLine",
    "TierRow",
    "UsageRow",
]

SCHEMA_VERSION = 1

Colour = Annotated[str, Field(pattern=r"^#[0-9A-Fa-f]{6}$")]


class DocumentStatus(StrEnum):
    """Whether the paper is a tax document yet."""

    DRAFT = "draft"
    ISSUED = "issued"


class RecipientKind(StrEnum):
    """How the recipient's block identifies them."""

    GSTIN = "gstin"
    UIN = "uin"
    UNREGISTERED = "unregistered"
    OVERSEAS = "overseas"


class Brand(Part):
    """How the sender presents itself."""

    name: str
    logo_text: str
    logo_sha256: str | None = None
    """Of the picture that stands in place of `logo_text`."""
    accent_colour: Colour = "#1976D2"
    website: str = ""
    support_email: str = ""
    footer: str = ""


class Address(Part):
    """A postal address; State only within India."""

    lines: tuple[str, ...]
    city: str = ""
    postal_code: str = ""
    state_code: str | None = None
    state_name: str | None = None
    country_code: str = "IN"
    """ISO 3166 alpha-2."""
    country_name: str = "India"


class Supplier(Part):
    """Who supplies (r.46(a))."""

    legal_name: str
    trade_name: str = ""
    address: Address
    gstin: str
    pan: str
    cin: str = ""
    """Company identification number, if it is a company."""
    lut_arn: str | None = None
    """Printed on supplies under a letter of undertaking."""
    email: str = ""
    phone: str = ""


class Recipient(Part):
    """Who is supplied (r.46(d) to (f))."""

    kind: RecipientKind
    legal_name: str
    address: Address
    delivery_address: Address | None = None
    """Only where it differs."""
    tax_number: str | None = None
    """GSTIN or UIN."""
    foreign_tax_number: str | None = None
    customer_code: str = ""
    email: str = ""


class TaxOnLine(Part):
    """One head of tax on one line."""

    head: TaxHead
    rate: Decimal
    """Percent."""
    tax_minor: int


class DocumentLine(Part):
    """One line with its taxes."""

    ordinal: int
    line_ref: str = ""
    description: str
    sac: str
    period_start: date | None = None
    period_end: date | None = None
    """The first day after the period."""
    quantity: Decimal
    unit: str
    unit_price: Decimal | None = None
    price_note: str = ""
    """In place of a unit price: `tiered`, `as annexed`."""
    taxable_minor: int
    """After discount."""
    discount_minor: int = 0
    taxes: tuple[TaxOnLine, ...] = ()
    total_minor: int
    tiers: tuple[TierRow, ...] = ()
    usage: tuple[UsageRow, ...] = ()

    @property
    def gross_minor(self) -> int:
        """Before discount."""
        return self.taxable_minor + self.discount_minor

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.total_minor != self.taxable_minor + sum(tax.tax_minor for tax in self.taxes):
            raise ValueError(f"line {self.ordinal}: the total is not taxable value plus tax")
        if (self.period_start is None) is not (self.period_end is None):
            raise ValueError(f"line {self.ordinal}: a period has two ends")
        return self


class HeadTotal(Part):
    """One head and rate, summed over the lines."""

    head: TaxHead
    rate: Decimal
    taxable_minor: int
    tax_minor: int


class InvoiceDocument(Part):
    """A whole invoice, or another document of the same build.

    Raises:
        pydantic.ValidationError: if an amount does not add up, or a draft bears a number.
    """

    schema_version: int = SCHEMA_VERSION
    document_type: DocumentType = DocumentType.INVOICE
    status: DocumentStatus
    title: str = "Tax Invoice"
    copy_label: str = "ORIGINAL FOR RECIPIENT"
    language: str = "en"
    brand: Brand
    supplier: Supplier
    recipient: Recipient
    supply: SupplyKind = SupplyKind.DOMESTIC

    number: str | None = None
    issue_date: date | None = None
    due_date: date | None = None
    period_start: date
    period_end: date
    """The first day after the service period."""
    account_name: str = ""
    purchase_order: str = ""
    references: tuple[DocumentReference, ...] = ()

    place_of_supply_code: str
    place_of_supply_name: str
    reverse_charge: bool = False

    currency: str
    lines: tuple[DocumentLine, ...]
    sections: tuple[Section, ...] = ()
    """Empty unless it is for several accounts; else every line is in one of them."""
    head_totals: tuple[HeadTotal, ...] = ()
    taxable_minor: int
    tax_minor: int
    round_off_minor: int = 0
    total_minor: int
    amount_in_words: str
    fx: Fx | None = None

    settlements: tuple[Settlement, ...] = ()
    advances: tuple[Advance, ...] = ()
    """What the settlements from the wallet consist of."""
    bank: BankDetails | None = None
    payment_instructions: str = ""
    payment_qr: str = ""
    """What a code says by which it can be paid; empty: it bears none."""
    wording: tuple[str, ...] = ()
    """Endorsements the law asks for, verbatim."""
    declaration: str = ""
    notes: tuple[str, ...] = ()
    terms: tuple[str, ...] = ()
    hidden_columns: tuple[str, ...] = ()
    usage: tuple[UsageRow, ...] = ()
    """What was used over the period by channel and country, for the annexure."""
    signature_note: str = "This is a computer-generated invoice; no signature is required."

    @property
    def is_draft(self) -> bool:
        """Not a tax document yet."""
        return self.status is DocumentStatus.DRAFT

    @property
    def discount_minor(self) -> int:
        """Discounts of all lines."""
        return sum(line.discount_minor for line in self.lines)

    @property
    def settled_minor(self) -> int:
        """Paid so far, as this document shows it."""
        return sum(settlement.amount_minor for settlement in self.settlements)

    @property
    def amount_due_minor(self) -> int:
        """Still to be paid."""
        return self.total_minor - self.settled_minor

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.currency not in CURRENCIES:
            raise ValueError(f"there are no documents in {self.currency}")
        if self.is_draft and self.number is not None:
            raise ValueError("a draft has no number")
        if not self.is_draft and (self.number is None or self.issue_date is None):
            raise ValueError("an issued document has a number and a date")
        if not self.lines:
            raise ValueError("a document has lines")
        if self.period_end <= self.period_start:
            raise ValueError("the service period must end after it starts")
        return self

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.taxable_minor != sum(line.taxable_minor for line in self.lines):
            raise ValueError("the taxable value is not the sum of the lines")
        if self.tax_minor != sum(head.tax_minor for head in self.head_totals):
            raise ValueError("the tax is not the sum of its heads")
        if _by_head(self.head_totals) != _by_head(
            [tax for line in self.lines for tax in line.taxes]
        ):
            raise ValueError("a head's total is not the sum of its lines")
        if self.total_minor != self.taxable_minor + self.tax_minor + self.round_off_minor:
            raise ValueError("the total is not taxable value plus tax plus round-off")
        if self.settled_minor > self.total_minor:
            raise ValueError("more is settled than was invoiced")
        if sum(advance.amount_minor for advance in self.advances) > self.settled_minor:
            raise ValueError("more advances are adjusted than settle the document")
        return self

    @model_validator(mode="after")
    def _sections_add_up(self) -> Self:
        if not self.sections:
            return self
        lines = {line.ordinal: line for line in self.lines}
        if sorted(lines) != sorted(one for section in self.sections for one in section.ordinals):
            raise ValueError("every line is in one section")
        for section in self.sections:
            own = [lines[ordinal] for ordinal in section.ordinals]
            total = sum(line.total_minor for line in own)
            taxable = sum(line.taxable_minor for line in own)
            said = (section.taxable_minor, section.tax_minor, section.total_minor)
            if said != (taxable, total - taxable, total):
                raise ValueError(f"section {section.account_code} is not the sum of its lines")
        return self

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, for a JSON column; decimals are strings."""
        return self.model_dump(mode="json")

    @classmethod
    def from_dict(cls, snapshot: Mapping[str, Any]) -> Self:
        """The document of a stored snapshot.

        Raises:
            pydantic.ValidationError: if it is not a whole document.
        """
        return cls.model_validate_json(json.dumps(snapshot))

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no blanks, text as it is."""
        return _canonical(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The document of its JSON text.

        Raises:
            pydantic.ValidationError: if it is not a whole document.
        """
        return cls.model_validate_json(text)

    @property
    def snapshot_hash(self) -> str:
        """SHA-256 of the canonical JSON, in hexadecimal."""
        return hash_of(self.to_dict())


def hash_of(snapshot: Mapping[str, Any]) -> str:
    """SHA-256 of a snapshot's canonical JSON, in hexadecimal."""
    return hashlib.sha256(_canonical(snapshot).encode()).hexdigest()


def _canonical(snapshot: Mapping[str, Any]) -> str:
    return json.dumps(snapshot, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _by_head(
    amounts: "tuple[HeadTotal, ...] | list[TaxOnLine]",
) -> dict[tuple[TaxHead, Decimal], int]:
    sums: dict[tuple[TaxHead, Decimal], int] = {}
    for amount in amounts:
        key = (amount.head, amount.rate)
        sums[key] = sums.get(key, 0) + amount.tax_minor
    return sums
