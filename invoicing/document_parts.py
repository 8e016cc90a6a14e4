"""The small parts of a document that stand by themselves."""

from datetime import date
from decimal import Decimal

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """Base of everything a document is made of: frozen, and nothing that is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TierRow(Part):
    """One tier of a tiered price, as it was rated."""

    from_quantity: Decimal
    up_to: Decimal | None
    """The tier's last unit; None for the open one."""
    quantity: Decimal
    unit_price: Decimal | None
    flat: Decimal | None = None
    amount: Decimal
    """In the currency, before the line is rounded."""


class UsageRow(Part):
    """What was used over one channel to one country."""

    account: str = ""
    """Whose usage it is, where a document is for several accounts."""
    service: str = ""
    """What kind of event, where a document shows several."""
    channel: str
    country: str
    events: int
    quantity: Decimal
    amount: Decimal | None = None
    """In the currency, before the line is rounded."""


class Section(Part):
    """The lines of one account, on a document for several; amounts are sums of its lines."""

    account_code: str
    account_name: str
    ordinals: tuple[int, ...]
    taxable_minor: int
    tax_minor: int
    total_minor: int


class Fx(Part):
    """The rupee values of a document in another currency (r.34(2)); paise are sums of lines."""

    inr_per_unit: Decimal
    source: str
    rate_date: date
    taxable_inr_minor: int
    tax_inr_minor: int
    total_inr_minor: int


class BankDetails(Part):
    """Where a transfer goes."""

    account_name: str
    account_number: str
    bank_name: str
    branch: str = ""
    ifsc: str = ""
    swift: str = ""
    upi_id: str = ""


class Settlement(Part):
    """Money already set against the document."""

    label: str
    """Such as `Settled from wallet`."""
    reference: str = ""
    settled_on: date | None = None
    amount_minor: int


class Advance(Part):
    """What was paid in before and is adjusted by the document; the oldest comes first."""

    label: str
    """Such as `Receipt voucher`."""
    number: str = ""
    day: date
    """Of the voucher; without one, the day the money came."""
    taxable_minor: int
    tax_minor: int

    @property
    def amount_minor(self) -> int:
        """With its tax."""
        return self.taxable_minor + self.tax_minor


class DocumentReference(Part):
    """An earlier document this one speaks of, as a credit note does."""

    number: str
    issue_date: date
