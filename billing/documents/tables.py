"""Issued documents other than invoices: frozen from the moment they exist."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, LargeBinary, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from billing.db.base import Base, choices
from billing.ids import new_id


class DocumentKind(StrEnum):
    """What a document is in law, and the series it is numbered in."""

    CREDIT_NOTE = "credit_note"
    """Value or tax of an invoice was too high (CGST Act s.34(1), Rules r.53)."""
    FINANCIAL_CREDIT_NOTE = "financial_credit_note"
    """The same after the time limit: no GST, no return."""
    RECEIPT_VOUCHER = "receipt_voucher"
    """An advance was received (s.31(3)(d), r.50)."""
    REFUND_VOUCHER = "refund_voucher"
    """An advance went back for which no invoice was issued (s.31(3)(e), r.51)."""
    PROFORMA = "proforma"
    """What an invoice would say; no document of GST."""


SERIES: dict[DocumentKind, str] = {
    DocumentKind.CREDIT_NOTE: "CN",
    DocumentKind.FINANCIAL_CREDIT_NOTE: "FCN",
    DocumentKind.RECEIPT_VOUCHER: "RV",
    DocumentKind.REFUND_VOUCHER: "RF",
    DocumentKind.PROFORMA: "PF",
}
WITHOUT_GST = frozenset({DocumentKind.FINANCIAL_CREDIT_NOTE, DocumentKind.PROFORMA})
"""Documents that no return knows of."""


class Document(Base):
    """An issued document; amounts are positive, its kind says which way they go."""

    __tablename__ = "documents"
    __table_args__ = (
        UniqueConstraint("supplier_gstin", "number"),
        UniqueConstraint("ledger_transaction_id"),
        CheckConstraint(
            "total_minor = taxable_minor + tax_minor + round_off_minor", name="total_adds_up"
        ),
        CheckConstraint(
            "round_off_minor = 0 OR (currency = 'INR' AND round_off_minor BETWEEN -50 AND 50)",
            name="round_off_to_a_rupee",
        ),
        CheckConstraint("taxable_minor > 0 AND tax_minor >= 0", name="amounts_not_negative"),
        CheckConstraint("applied_minor BETWEEN 0 AND total_minor", name="applied_within_total"),
        CheckConstraint(
            "(kind IN ('credit_note', 'financial_credit_note')) = (invoice_id IS NOT NULL)",
            name="a_note_has_an_invoice",
        ),
        CheckConstraint(
            "CASE WHEN kind IN ('receipt_voucher', 'refund_voucher') "
            "THEN ledger_transaction_id IS NOT NULL "
            "ELSE ledger_transaction_id IS NULL OR kind = 'credit_note' END",
            name="a_voucher_has_a_posting",
        ),
        CheckConstraint(
            "kind <> 'financial_credit_note' OR tax_minor = 0", name="no_tax_after_the_limit"
        ),
        CheckConstraint(
            "NOT for_usage OR kind IN ('credit_note', 'financial_credit_note')",
            name="only_notes_are_for_usage",
        ),
        Index("ix_documents_customer_id", "customer_id", "id"),
        Index("ix_documents_invoice_id", "invoice_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    kind: Mapped[DocumentKind] = mapped_column(choices(DocumentKind))
    number: Mapped[str]
    issue_date: Mapped[date]
    supplier_gstin: Mapped[str]
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("billing.customers.id"))
    account_id: Mapped[UUID] = mapped_column(ForeignKey("billing.accounts.id"))
    currency: Mapped[str] = mapped_column(ForeignKey("billing.currencies.code"))
    taxable_minor: Mapped[int]
    tax_minor: Mapped[int]
    round_off_minor: Mapped[int] = mapped_column(default=0)
    """Of the invoice, where a note takes back the last of it."""
    total_minor: Mapped[int]
    reason: Mapped[str]
    invoice_id: Mapped[UUID | None] = mapped_column(ForeignKey("billing.invoices.id"))
    ledger_transaction_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("billing.ledger_transactions.id")
    )
    """Of a voucher, or a note for credits that went back: the posting that moved them."""
    applied_minor: Mapped[int] = mapped_column(default=0)
    """Of a note: set against invoices or given back to a wallet so far."""
    for_usage: Mapped[bool] = mapped_column(default=False)
    """Of a note: it gives back what the invoice's usage came to less after issue."""
    snapshot: Mapped[dict[str, Any]] = mapped_column(info={"audit": False})
    snapshot_hash: Mapped[str]
    issued_by: Mapped[str]
    issued_at: Mapped[datetime]

    lines: Mapped[list["DocumentLine"]] = relationship(
        lazy="raise", order_by="DocumentLine.ordinal"
    )

    @property
    def unapplied_minor(self) -> int:
        """Of a note: still to be set against something."""
        return self.total_minor - self.applied_minor


class DocumentLine(Base):
    """One line, with its tax by head: `[{"head", "rate", "tax_minor"}]`."""

    __tablename__ = "document_lines"
    __table_args__ = (CheckConstraint("taxable_minor > 0", name="taxable_positive"),)

    document_id: Mapped[UUID] = mapped_column(ForeignKey("billing.documents.id"), primary_key=True)
    ordinal: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    invoice_line_id: Mapped[UUID | None] = mapped_column(ForeignKey("billing.invoice_lines.id"))
    description: Mapped[str]
    sac: Mapped[str]
    taxable_minor: Mapped[int]
    taxes: Mapped[list[dict[str, Any]]]

    @property
    def tax_minor(self) -> int:
        """Tax of all heads."""
        return sum(int(tax["tax_minor"]) for tax in self.taxes)


class DocumentFile(Base):
    """The rendered PDF of a document, with its hash."""

    __tablename__ = "document_files"

    document_id: Mapped[UUID] = mapped_column(ForeignKey("billing.documents.id"), primary_key=True)
    sha256: Mapped[str]
    content: Mapped[bytes] = mapped_column(LargeBinary)
    rendered_at: Mapped[datetime]
