"""Tables of access: API keys, idempotency keys, and the audit chain."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Integer, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from billing.access.roles import Role
from billing.db.base import Base, choices
from billing.ids import new_id


class ApiKey(Base):
    """A credential: shown once, stored as an HMAC, found by its public prefix."""

    __tablename__ = "api_keys"
    __table_args__ = (
        CheckConstraint("events_per_second > 0", name="events_per_second_is_positive"),
        CheckConstraint("requests_per_minute > 0", name="requests_per_minute_is_positive"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    prefix: Mapped[str] = mapped_column(unique=True)
    secret_hmac: Mapped[bytes] = mapped_column(LargeBinary, info={"audit": False})
    name: Mapped[str]
    role: Mapped[Role] = mapped_column(choices(Role))
    customer_id: Mapped[UUID | None] = mapped_column(ForeignKey("billing.customers.id"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    events_per_second: Mapped[int | None] = mapped_column(Integer)
    """What it may send; None: what every key may."""
    requests_per_minute: Mapped[int | None] = mapped_column(Integer)


class IdempotencyKey(Base):
    """The first result of a command, for whoever sends the same key again."""

    __tablename__ = "idempotency_keys"

    actor: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    command: Mapped[str]
    input_hash: Mapped[bytes] = mapped_column(LargeBinary)
    result_type: Mapped[str | None]
    result_key: Mapped[list[str] | None]
    """Primary key of the first result, as text."""
    created_at: Mapped[datetime]


class AuditEntry(Base):
    """One command that happened. The database numbers it and chains its hash."""

    __tablename__ = "audit_log"

    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    actor: Mapped[str]
    role: Mapped[str]
    command: Mapped[str]
    entity_type: Mapped[str | None]
    entity_id: Mapped[UUID | None] = mapped_column(index=True)
    changes: Mapped[dict[str, Any]]
    entry: Mapped[str]
    """The canonical JSON that is hashed."""
    previous_hash: Mapped[bytes] = mapped_column(LargeBinary)
    hash: Mapped[bytes] = mapped_column(LargeBinary)
