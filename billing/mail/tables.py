"""Letters that are to be sent, and those that were."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from billing.db.base import Base, choices
from billing.ids import new_id


class MailState(StrEnum):
    """What became of a letter."""

    QUEUED = "queued"
    SENT = "sent"
    GIVEN_UP = "given_up"
    """Refused for good by the mail server, or too often for a while."""


class Mail(Base):
    """One letter; written in the transaction that has something to tell."""

    __tablename__ = "mails"
    __table_args__ = (
        Index("ix_mails_queued", "next_try_at", postgresql_where=text("state = 'queued'")),
        Index("ix_mails_customer_id", "customer_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    reference: Mapped[str] = mapped_column(unique=True)
    """Natural key: the same thing is told once."""
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("billing.customers.id"))
    recipient: Mapped[str]
    subject: Mapped[str]
    body: Mapped[str]
    state: Mapped[MailState] = mapped_column(choices(MailState))
    tries: Mapped[int] = mapped_column(Integer, default=0)
    next_try_at: Mapped[datetime]
    error: Mapped[str | None]
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]


class MailingKind(StrEnum):
    """Why a document was mailed."""

    ISSUED = "issued"
    """By itself, once."""
    RESENT = "resent"
    """Because somebody asked."""


class DocumentMailing(Base):
    """That a document was given to the mail, to whom it went then; never changed."""

    __tablename__ = "document_mailings"
    __table_args__ = (
        CheckConstraint("(invoice_id IS NULL) <> (document_id IS NULL)", name="of_one_document"),
        Index(
            "uq_document_mailings_invoice_issued",
            "invoice_id",
            unique=True,
            postgresql_where=text("kind = 'issued'"),
        ),
        Index(
            "uq_document_mailings_document_issued",
            "document_id",
            unique=True,
            postgresql_where=text("kind = 'issued'"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    kind: Mapped[MailingKind] = mapped_column(choices(MailingKind))
    invoice_id: Mapped[UUID | None] = mapped_column(ForeignKey("billing.invoices.id"), index=True)
    document_id: Mapped[UUID | None] = mapped_column(ForeignKey("billing.documents.id"), index=True)
    recipients: Mapped[list[str]]
    requested_by: Mapped[str]
    requested_at: Mapped[datetime]


class MailAttachment(Base):
    """The PDF that goes with a letter: the stored one of an invoice, or of another document."""

    __tablename__ = "mail_attachments"
    __table_args__ = (
        CheckConstraint("(invoice_id IS NULL) <> (document_id IS NULL)", name="of_one_document"),
    )

    mail_id: Mapped[UUID] = mapped_column(ForeignKey("billing.mails.id"), primary_key=True)
    file_name: Mapped[str]
    invoice_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("billing.invoice_documents.invoice_id")
    )
    document_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("billing.document_files.document_id")
    )
