"""What happened and others want to hear of, in the order it was written."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from billing.db.base import Base


class OutboxEntry(Base):
    """One thing that happened, written in the transaction in which it did."""

    __tablename__ = "outbox"
    __table_args__ = (Index("ix_outbox_account_id_seq", "account_id", "seq"),)

    seq: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    transaction_id: Mapped[int] = mapped_column(
        server_default=text("pg_current_xact_id()::text::bigint")
    )
    """Readers wait for older transactions: numbers do not become visible in order."""
    topic: Mapped[str]
    """`concept.what_happened`, such as `wallet.low`."""
    entity_type: Mapped[str]
    entity_id: Mapped[UUID]
    account_id: Mapped[UUID | None] = mapped_column(ForeignKey("billing.accounts.id"))
    payload: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
