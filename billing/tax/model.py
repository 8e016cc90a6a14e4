"""What the tax rules read and what they answer.

All of it is immutable and free of the database; whoever calls fills it from stored records and
keeps the answer on the document.
"""

from dataclasses import asdict, dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any


class TaxHead(StrEnum):
    """The heads of GST."""

    CGST = "CGST"
    SGST = "SGST"
    UTGST = "UTGST"
    IGST = "IGST"


class TaxKind(StrEnum):
    """What the customer is for GST (CGST Act 2017 and its rules)."""

    REGISTERED = "registered"
    COMPOSITION = "composition"
    SEZ_UNIT = "sez_unit"
    SEZ_DEVELOPER = "sez_developer"
    UIN = "uin"
    TDS_DEDUCTOR = "tds_deductor"
    UNREGISTERED = "unregistered"
    OVERSEAS = "overseas"


class TaxTreatment(StrEnum):
    """How the law treats a billable item in itself."""

    TAXABLE = "taxable"
    EXEMPT = "exempt"
    NIL = "nil"


class Nature(StrEnum):
    """Whether a supply stays within a State (IGST Act s.7 and s.8)."""

    INTRA = "intra"
    INTER = "inter"


class SupplyKind(StrEnum):
    """Where the supply goes, which decides the endorsement and the tables."""

    DOMESTIC = "domestic"
    SEZ = "sez"
    EXPORT = "export"


class ZeroRatedMode(StrEnum):
    """How a zero-rated supply is made (IGST Act s.16)."""

    NONE = "none"
    LUT = "LUT"
    IGST_PAID = "IGST_PAID"


class DecisionStatus(StrEnum):
    """Whether an invoice may be issued on this decision."""

    OK = "ok"
    REVIEW = "review"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Lut:
    """A letter of undertaking (form RFD-11); valid from its first to its last day, both in."""

    arn: str
    valid_from: date
    valid_to: date

    def covers(self, day: date) -> bool:
        """Whether it holds on that day."""
        return self.valid_from <= day <= self.valid_to


@dataclass(frozen=True, slots=True)
class SupplierRegistration:
    """The GST registration that makes the supply."""

    gstin: str
    legal_name: str
    lut: Lut | None = None
    is_sez: bool = False
    max_turnover_crore: Decimal = Decimal(0)
    """Highest aggregate turnover of the PAN in any preceding financial year since 2017-18."""

    @property
    def state_code(self) -> str:
        """The State that registered it."""
        return self.gstin[:2]


@dataclass(frozen=True, slots=True)
class CustomerTaxProfile:
    """What the recipient is on the tax date."""

    tax_kind: TaxKind
    legal_name: str
    country: str = "IN"
    """ISO 3166 alpha-2."""
    gstin: str | None = None
    """GSTIN or UIN."""
    state_code: str | None = None
    """State of the address on record."""
    address: str = ""
    sez_authorised_operations: bool = False
    """The SEZ officer's endorsement that the service is for authorised operations is on file."""
    same_legal_person: bool = False
    """The recipient abroad is merely an establishment of the supplier itself."""
    payment_currency: str = "INR"
    """What the invoice is paid in; ISO 4217."""


@dataclass(frozen=True, slots=True)
class TaxableItem:
    """The part of a billable item that tax looks at."""

    sac: str
    description: str = ""
    treatment: TaxTreatment = TaxTreatment.TAXABLE


@dataclass(frozen=True, slots=True)
class HeadRate:
    """A head of tax with its rate in percent."""

    head: TaxHead
    rate: Decimal


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a decision is as it is, or what a person has to look at."""

    code: str
    message: str
    status: DecisionStatus


@dataclass(frozen=True, slots=True)
class TaxDecision:
    """The whole answer for one item, one customer and one day."""

    pos_code: str | None
    """Place of supply; None only when rejected for want of one."""
    pos_name: str | None
    supply: SupplyKind
    nature: Nature
    rate: Decimal
    """The full rate of the item in percent, also where zero-rating sets it aside."""
    heads: tuple[HeadRate, ...]
    """In printing order; empty for exempt and nil-rated items."""
    zero_rated_mode: ZeroRatedMode
    einvoice_suptyp: str | None
    """`B2B`, `SEZWP`, `SEZWOP`, `EXPWP`, `EXPWOP`, or None where the IRP takes no invoice."""
    gstr1_table: str
    """For unregistered inter-state supplies see `compute.gstr1_table`, which knows the value."""
    wording: tuple[str, ...]
    lut_arn: str | None
    status: DecisionStatus
    reasons: tuple[Reason, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, for keeping beside the document."""
        plain = asdict(self)
        plain["rate"] = str(self.rate)
        plain["heads"] = [{"head": head.head.value, "rate": str(head.rate)} for head in self.heads]
        plain["wording"] = list(self.wording)
        plain["reasons"] = list(plain["reasons"])
        return plain


def worst(statuses: list[DecisionStatus]) -> DecisionStatus:
    """The gravest of several statuses; `ok` if there are none."""
    order = (DecisionStatus.OK, DecisionStatus.REVIEW, DecisionStatus.REJECT)
    return max(statuses, key=order.index, default=DecisionStatus.OK)
