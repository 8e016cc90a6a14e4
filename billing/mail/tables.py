"""Letters that are to be sent, and those that were."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ForeignKey, Index, Integer, text
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
