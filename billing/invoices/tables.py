"""Supplier registrations, rating runs, invoices with their lines, taxes, numbers and PDFs."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    Enum,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from billing.db.base import Base, choices
from billing.ids import new_id
from billing.tax.einvoice import DocumentType
from billing.tax.model import TaxHead
from billing.tax.timing import invoice_deadline


class InvoiceStatus(StrEnum):
    """DESIGN's life of an invoice; `ongoing` is the live preview and is never stored."""

    DRAFT = "draft"
    DUE = "due"
    PAID = "paid"
    VOID = "void"


class ReviewState(StrEnum):
    """Where a draft stands with finance."""

    PENDING = "pending"
    IN_REVIEW = "in_review"
    APPROVED = "approved"
    REJECTED = "rejected"
    PARKED = "parked"
    """Something must be mended first: usage without a rate, or a tax question."""


class InvoiceOrigin(StrEnum):
    """What an invoice is made from."""

    RATED = "rated"
    """The lines of a rating run; recomputed while a draft."""
    CUSTOM = "custom"
    """Lines that a person wrote."""
    CORRECTION = "correction"
    """What an issued invoice said too little."""
    TOP_UP = "top_up"
    """Credits sold to a wallet, paid as they were bought."""


class SupplierRegistration(Base):
    """One of our GST registrations."""

    __tablename__ = "supplier_registrations"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    gstin: Mapped[str] = mapped_column(unique=True)
    legal_name: Mapped[str]
    trade_name: Mapped[str]
    address_line: Mapped[str]
    city: Mapped[str]
    postal_code: Mapped[str]
    state_code: Mapped[str]
    lut_arn: Mapped[str | None]
    lut_valid_from: Mapped[date | None]
    lut_valid_to: Mapped[date | None]
    invoice_series: Mapped[str]
    bank_details: Mapped[dict[str, Any]]
    is_default: Mapped[bool] = mapped_column(default=False)
    second_approval_above_minor: Mapped[int | None]
    """In paise, with tax: above it two persons approve; None asks for one always."""
    round_off: Mapped[bool] = mapped_column(default=False)
    """Whether invoices in rupees that no wallet pays come to whole ones."""
    oldest_fx_rate_days: Mapped[int] = mapped_column(Integer, default=7)
    """A document with an older rate of exchange is looked at by a person."""


class RatingRun(Base):
    """One rating of one invoice month, with the cut-offs that make it repeatable."""

    __tablename__ = "rating_runs"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    invoice_month: Mapped[date] = mapped_column(index=True)
    event_time_to: Mapped[datetime]
    """Events that occurred at or after this instant were not read."""
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    triggered_by: Mapped[str]
    line_count: Mapped[int | None] = mapped_column(Integer)
    lines_hash: Mapped[str | None]
    """SHA-256 over the lines in `line_ref` order: equal hash, equal lines."""


class RatingRunCutoff(Base):
    """The last `accept_seq` of a shard that the run read."""

    __tablename__ = "rating_run_cutoffs"

    rating_run_id: Mapped[UUID] = mapped_column(
        ForeignKey("billing.rating_runs.id"), primary_key=True
    )
    shard: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    accept_seq: Mapped[int]


class Invoice(Base):
    """A document that asks for money: a draft, and a frozen snapshot from issue on.

    Bills of supply and debit notes are settled, reviewed and void as invoices are, and are kept
    beside them; `document_type` says what it is in law.
    """

    __tablename__ = "invoices"
    __table_args__ = (
        Index(
            "uq_invoices_rated_period",
            "account_id",
            "period_start",
            "period_end",
            "revision",
            unique=True,
            postgresql_where="origin = 'rated'",
        ),
        UniqueConstraint("supplier_gstin", "number"),
        CheckConstraint(
            "total_minor = taxable_minor + tax_minor + round_off_minor", name="total_adds_up"
        ),
        CheckConstraint(
            "round_off_minor = 0 OR (currency = 'INR' AND round_off_minor BETWEEN -50 AND 50)",
            name="round_off_to_a_rupee",
        ),
        CheckConstraint("taxable_minor >= 0 AND tax_minor >= 0", name="amounts_not_negative"),
        CheckConstraint("period_end > period_start", name="some_days"),
        CheckConstraint("(status = 'draft') = (number IS NULL)", name="number_unless_draft"),
        CheckConstraint("number ~ '^[A-Z1-9][A-Z0-9/-]{0,15}$'", name="number_allowed_by_rule_46"),
        CheckConstraint("settled_minor BETWEEN 0 AND total_minor", name="settled_within_total"),
        CheckConstraint(
            "status <> 'paid' OR settled_minor = total_minor", name="paid_means_settled"
        ),
        CheckConstraint("status <> 'void' OR settled_minor = 0", name="void_means_nothing_settled"),
        CheckConstraint(
            "document_type IN ('invoice', 'debit_note', 'bill_of_supply', 'statement')",
            name="document_type_of_invoices",
        ),
        CheckConstraint(
            "(origin = 'top_up') = (ledger_transaction_id IS NOT NULL)", name="a_top_up_was_posted"
        ),
        CheckConstraint("document_type <> 'statement' OR tax_minor = 0", name="no_tax_twice"),
        UniqueConstraint("ledger_transaction_id"),
        CheckConstraint(
            "(document_type = 'debit_note') = (corrects_id IS NOT NULL)",
            name="a_debit_note_corrects",
        ),
        Index("ix_invoices_status", "status", "review_state"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("billing.accounts.id"))
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("billing.customers.id"), index=True)
    supplier_gstin: Mapped[str]
    period_start: Mapped[date]
    period_end: Mapped[date]
    invoice_month: Mapped[date] = mapped_column(index=True)
    revision: Mapped[int] = mapped_column(Integer, default=1)
    """Of a rated period: one more for each that became void."""
    origin: Mapped[InvoiceOrigin] = mapped_column(
        choices(InvoiceOrigin), default=InvoiceOrigin.RATED
    )
    document_type: Mapped[DocumentType] = mapped_column(
        Enum(
            DocumentType,
            values_callable=lambda members: [member.value for member in members],
            native_enum=False,
            create_constraint=False,
            length=32,
        ),
        default=DocumentType.INVOICE,
    )
    corrects_id: Mapped[UUID | None] = mapped_column(ForeignKey("billing.invoices.id"), index=True)
    """Of a debit note: the invoice that said too little."""
    ledger_transaction_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("billing.ledger_transactions.id")
    )
    """Of a top-up: the posting that brought the credits."""
    remark: Mapped[str] = mapped_column(default="")
    """Printed below the lines: why a debit note was made, what was agreed."""
    usage_breakdown: Mapped[list[dict[str, Any]]] = mapped_column(default=list)
    """What was used by channel and country, for the annexure."""
    rating_run_id: Mapped[UUID | None] = mapped_column(ForeignKey("billing.rating_runs.id"))
    lines_hash: Mapped[str]
    status: Mapped[InvoiceStatus] = mapped_column(choices(InvoiceStatus))
    review_state: Mapped[ReviewState] = mapped_column(choices(ReviewState))
    review_note: Mapped[str | None]
    reviewed_by: Mapped[str | None]
    currency: Mapped[str] = mapped_column(ForeignKey("billing.currencies.code"))
    taxable_minor: Mapped[int]
    tax_minor: Mapped[int]
    round_off_minor: Mapped[int] = mapped_column(default=0)
    """What makes the total whole rupees, where the registration wants that."""
    total_minor: Mapped[int]
    settled_minor: Mapped[int] = mapped_column(default=0)
    """Paid so far, from the wallet or by a payment."""
    tax_decision: Mapped[dict[str, Any]]
    number: Mapped[str | None]
    issue_date: Mapped[date | None]
    due_date: Mapped[date | None]
    issued_at: Mapped[datetime | None]
    snapshot: Mapped[dict[str, Any] | None] = mapped_column(info={"audit": False})
    """The whole document as it was issued; the PDF is rendered from this and nothing else."""
    snapshot_hash: Mapped[str | None]
    """Of its canonical JSON. The audit log holds this in place of another copy of the document."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    lines: Mapped[list["InvoiceLine"]] = relationship(
        lazy="raise", order_by="InvoiceLine.ordinal", cascade="all, delete-orphan"
    )

    @property
    def invoice_by(self) -> date | None:
        """The last day for issuing a draft, counted from the last of its period (r.47)."""
        if self.status is not InvoiceStatus.DRAFT:
            return None
        return invoice_deadline(self.period_end - timedelta(days=1))


class InvoiceLine(Base):
    """One line; `line_ref` is stable across re-rating."""

    __tablename__ = "invoice_lines"
    __table_args__ = (
        UniqueConstraint("invoice_id", "line_ref"),
        CheckConstraint("amount_minor >= 0", name="amount_not_negative"),
        Index(
            "ix_invoice_lines_account_id",
            "account_id",
            postgresql_where="account_id IS NOT NULL",
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("billing.invoices.id"))
    account_id: Mapped[UUID | None] = mapped_column(ForeignKey("billing.accounts.id"))
    """On an invoice for several accounts: whose line it is; None on all others."""
    line_ref: Mapped[str] = mapped_column(index=True)
    ordinal: Mapped[int] = mapped_column(Integer)
    description: Mapped[str]
    item_code: Mapped[str]
    sac: Mapped[str]
    quantity: Mapped[Decimal]
    unit: Mapped[str]
    unit_price: Mapped[Decimal | None]
    """None where tiers make the price differ from unit to unit."""
    amount_minor: Mapped[int]
    period_start: Mapped[date]
    period_end: Mapped[date]
    tier_breakdown: Mapped[list[dict[str, Any]]]

    taxes: Mapped[list["TaxLine"]] = relationship(
        lazy="raise", order_by="TaxLine.head", cascade="all, delete-orphan"
    )


class TaxLine(Base):
    """One head of tax on one line, rounded once."""

    __tablename__ = "tax_lines"
    __table_args__ = (
        CheckConstraint("rate >= 0 AND rate <= 100", name="rate_is_percentage"),
        CheckConstraint("tax_minor >= 0", name="tax_not_negative"),
    )

    invoice_line_id: Mapped[UUID] = mapped_column(
        ForeignKey("billing.invoice_lines.id"), primary_key=True
    )
    head: Mapped[TaxHead] = mapped_column(choices(TaxHead), primary_key=True)
    rate: Mapped[Decimal]
    """Percent."""
    taxable_minor: Mapped[int]
    tax_minor: Mapped[int]


class InvoiceAllocation(Base):
    """A settlement line: money, or what stands for it, set against an invoice."""

    __tablename__ = "invoice_allocations"
    __table_args__ = (
        UniqueConstraint("invoice_id", "reference"),
        CheckConstraint(
            "amount_minor > 0 OR (amount_minor < 0 AND source IN ('refund', 'reversal'))",
            name="taken_back_only_by_a_reversal",
        ),
        Index("ix_invoice_allocations_payment_id", "payment_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("billing.invoices.id"), index=True)
    source: Mapped[str]
    """A `SettlementSource`."""
    reference: Mapped[str]
    amount_minor: Mapped[int]
    """Negative where it takes an earlier line back."""
    payment_id: Mapped[UUID | None] = mapped_column(ForeignKey("billing.payments.id"))
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Of tax deducted at source: section, rate, base, certificate."""
    recorded_at: Mapped[datetime]


class DocumentCounter(Base):
    """The last number given in a series; locked by whoever issues, so that there are no gaps."""

    __tablename__ = "document_counters"

    gstin: Mapped[str] = mapped_column(primary_key=True)
    series: Mapped[str] = mapped_column(primary_key=True)
    financial_year: Mapped[str] = mapped_column(primary_key=True)
    last_number: Mapped[int]
    last_issue_date: Mapped[date]


class InvoiceDocument(Base):
    """The rendered PDF of an issued invoice, with its hash."""

    __tablename__ = "invoice_documents"

    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("billing.invoices.id"), primary_key=True)
    sha256: Mapped[str]
    content: Mapped[bytes] = mapped_column(LargeBinary)
    rendered_at: Mapped[datetime]
