"""Tables of intake: event keys, per-event debits, revisions, conflicts, and the shard's cursor.

`usage.raw_events` itself is made by `billing.usage.storage`, which decides how it is partitioned.
"""

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from billing.db.base import Base, choices
from billing.wallets.holds import HoldState


class ShardMode(StrEnum):
    """Which way events of a shard take into the books."""

    OPEN = "open"
    """Through the journal in Redis."""
    DIRECT = "direct"
    """Straight into PostgreSQL: Redis is away, or being made anew."""
    REBUILDING = "rebuilding"
    """Not at all, for the moment in which wallets are written to Redis."""


class ShardState(Base):
    """Where a shard's writer stands: the only place that numbers events (`accept_seq`)."""

    __tablename__ = "shard_state"
    __table_args__ = (
        CheckConstraint("epoch >= 1 AND accept_seq >= 0", name="counters_positive"),
        CheckConstraint(
            "(mode = 'direct') = (undrained_epoch IS NOT NULL) AND "
            "num_nulls(undrained_epoch, undrained_ms, undrained_seq) IN (0, 3)",
            name="undrained_in_direct_mode",
        ),
        {"schema": "usage"},
    )

    shard: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    epoch: Mapped[int]
    cursor_ms: Mapped[int] = mapped_column(default=0)
    cursor_seq: Mapped[int] = mapped_column(default=0)
    session: Mapped[int] = mapped_column(default=0)
    """How often a writer took up the journal; it reads one without a break from one Redis."""
    accept_seq: Mapped[int] = mapped_column(default=0)
    mode: Mapped[ShardMode] = mapped_column(choices(ShardMode), default=ShardMode.OPEN)
    undrained_epoch: Mapped[int | None]
    """In direct mode: how far the journals of this and later epochs were applied before it."""
    undrained_ms: Mapped[int | None]
    undrained_seq: Mapped[int | None]


class EventKey(Base):
    """The identity of an event, unique for ever: `(source, event_id)` as in CloudEvents."""

    __tablename__ = "event_key"
    __table_args__ = (
        UniqueConstraint("shard", "accept_seq"),
        {"schema": "usage"},
    )

    source: Mapped[str] = mapped_column(primary_key=True)
    event_id: Mapped[str] = mapped_column(primary_key=True)
    body_hash: Mapped[bytes] = mapped_column(LargeBinary)
    shard: Mapped[int] = mapped_column(Integer)
    accept_seq: Mapped[int]
    """Of the first revision."""
    epoch: Mapped[int]
    stream_ms: Mapped[int]
    stream_seq: Mapped[int]
    account_id: Mapped[UUID]
    occurred_at: Mapped[datetime]
    received_at: Mapped[datetime]


class UsageDebit(Base):
    """What one event (or one revision) took from a wallet, provisionally."""

    __tablename__ = "usage_debits"
    __table_args__ = (
        Index("ix_usage_debits_wallet_id", "wallet_id", "occurred_at"),
        {"schema": "usage"},
    )

    shard: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    accept_seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    wallet_id: Mapped[UUID]
    amount_units: Mapped[int]
    rate_id: Mapped[UUID | None]
    card_version: Mapped[int] = mapped_column(Integer, default=0)
    """Of the account's rate card when the event was priced; 0 where none was used."""
    counted_on: Mapped[date | None]
    """First local day of the counter that decided the price; see `PriceCounter`."""
    counted_micros: Mapped[int | None]
    """Millionths of a unit that it was advanced by."""
    occurred_at: Mapped[datetime]


class PriceCounter(Base):
    """What a wallet used under a rate since a local day, where that decides the price of the next.

    It is the sum of `counted_micros` over the latest revisions, kept beside them.
    """

    __tablename__ = "price_counters"
    __table_args__ = (
        CheckConstraint("quantity_micros < 9007199254740992", name="quantity_below_2_53"),
        Index("ix_price_counters_updated_at", "updated_at"),
        {"schema": "usage"},
    )

    wallet_id: Mapped[UUID] = mapped_column(ForeignKey("billing.wallets.id"), primary_key=True)
    counted_on: Mapped[date] = mapped_column(primary_key=True)
    rate_id: Mapped[UUID] = mapped_column(primary_key=True)
    quantity_micros: Mapped[int]
    updated_at: Mapped[datetime]


class SupersededEvent(Base):
    """A revision that another one replaced; the latest revision is the one not listed here."""

    __tablename__ = "superseded_events"
    __table_args__ = (
        Index("ix_superseded_events_superseded_by", "shard", "superseded_by"),
        {"schema": "usage"},
    )

    shard: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    accept_seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    superseded_by: Mapped[int]
    """`accept_seq`, in the same shard, of the revision that replaced it."""
    occurred_at: Mapped[datetime]
    """Of the replaced revision, so that its day is aggregated again."""
    recorded_at: Mapped[datetime]


class EventConflict(Base):
    """The same id with another body: refused, and kept for whoever must explain it."""

    __tablename__ = "event_conflicts"
    __table_args__ = (
        UniqueConstraint("source", "event_id", "body_hash"),
        {"schema": "usage"},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    source: Mapped[str]
    event_id: Mapped[str]
    body_hash: Mapped[bytes] = mapped_column(LargeBinary)
    payload: Mapped[dict[str, Any]]
    recorded_at: Mapped[datetime]


class QuarantineStatus(StrEnum):
    """What became of what was set aside."""

    OPEN = "open"
    REPLAYED = "replayed"
    DISCARDED = "discarded"


class QuarantinedEntry(Base):
    """A journal entry that could not be applied; set aside so that the rest goes on."""

    __tablename__ = "quarantine"
    __table_args__ = (
        UniqueConstraint("shard", "epoch", "stream_ms", "stream_seq", "position"),
        CheckConstraint(
            "num_nulls(settled_at, settled_by) = CASE status WHEN 'open' THEN 2 ELSE 0 END",
            name="settled_by_somebody",
        ),
        Index("ix_quarantine_source_event_id", "source", "event_id"),
        {"schema": "usage"},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    shard: Mapped[int] = mapped_column(Integer)
    epoch: Mapped[int]
    stream_ms: Mapped[int]
    stream_seq: Mapped[int]
    position: Mapped[int] = mapped_column(Integer)
    reason: Mapped[str]
    payload: Mapped[bytes] = mapped_column(LargeBinary)
    """As it was found; never changed."""
    wallet_id: Mapped[UUID | None]
    """Whose debit Redis had taken for it; it was given back."""
    amount_units: Mapped[int] = mapped_column(default=0)
    recorded_at: Mapped[datetime]
    status: Mapped[QuarantineStatus] = mapped_column(
        choices(QuarantineStatus), default=QuarantineStatus.OPEN
    )
    source: Mapped[str | None]
    event_id: Mapped[str | None]
    event: Mapped[str | None]
    """As JSON, as it would be sent: read from the payload, or mended since."""
    settled_at: Mapped[datetime | None]
    settled_by: Mapped[str | None]
    note: Mapped[str | None]
    """Why it was discarded."""


class Compensation(Base):
    """A debit that Redis took twice for one event, to be given back to it once."""

    __tablename__ = "redis_compensations"
    __table_args__ = ({"schema": "usage"},)

    shard: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    stream_ms: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    stream_seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    wallet_id: Mapped[UUID]
    amount_units: Mapped[int]
    rate_id: Mapped[UUID | None]
    counted_on: Mapped[date | None]
    counted_micros: Mapped[int | None]
    """Millionths of a unit that the counter of this rate and day gets back as well."""
    recorded_at: Mapped[datetime]


class AuthorizationHold(Base):
    """What was authorised: a copy of what Redis decided, as far as the journal is applied.

    In direct mode it is decided here. Those that ended are forgotten some minutes later.
    """

    __tablename__ = "holds"
    __table_args__ = (
        CheckConstraint("(state = 'open') = (resolved_at IS NULL)", name="ended_at_some_time"),
        Index("ix_holds_open", "account_id", postgresql_where=text("state = 'open'")),
        Index(
            "ix_holds_resolved_at", "resolved_at", postgresql_where=text("resolved_at IS NOT NULL")
        ),
        {"schema": "usage"},
    )

    name: Mapped[str] = mapped_column(primary_key=True)
    """Account (its id in hex), a colon, and the sender's id."""
    account_id: Mapped[UUID]
    wallet_id: Mapped[UUID | None]
    state: Mapped[HoldState] = mapped_column(choices(HoldState))
    amount_units: Mapped[int]
    body_hash: Mapped[str]
    """Of the question; empty if an event named a hold that nobody here knows of."""
    balance_units: Mapped[int]
    """When it was placed."""
    available_units: Mapped[int]
    verdict: Mapped[str]
    quotas: Mapped[list[list[Any]]] = mapped_column(JSONB)
    """Name and millionths of a unit of each quota that it binds."""
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    resolved_at: Mapped[datetime | None]


class AccountNews(Base):
    """Something of an account came by the journal of another shard: its own is to be told."""

    __tablename__ = "account_news"
    __table_args__ = ({"schema": "usage"},)

    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    token: Mapped[UUID]
    """Another one each time; Redis notes which one it has."""
    noted_at: Mapped[datetime]


class WalletDrift(Base):
    """A wallet that Redis and PostgreSQL did not agree on; frozen until it is settled."""

    __tablename__ = "wallet_drifts"
    __table_args__ = (
        Index(
            "ix_wallet_drifts_open",
            "wallet_id",
            unique=True,
            postgresql_where="settled_at IS NULL",
        ),
        {"schema": "usage"},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    wallet_id: Mapped[UUID] = mapped_column(ForeignKey("billing.wallets.id"))
    shard: Mapped[int] = mapped_column(Integer)
    epoch: Mapped[int]
    cursor_ms: Mapped[int]
    cursor_seq: Mapped[int]
    expected_units: Mapped[int]
    """By PostgreSQL and the entries of the journal that follow its cursor."""
    found_units: Mapped[int]
    """In Redis."""
    found_at: Mapped[datetime]
    settled_at: Mapped[datetime | None]
    """When Redis was made anew."""


RAW_EVENT_COLUMNS: dict[str, type[Any]] = {
    "occurred_at": datetime,
    "shard": int,
    "accept_seq": int,
    "source": str,
    "event_id": str,
    "revision": int,
    "account_id": UUID,
    "event_type": str,
    "quantity": Decimal,
    "dimensions": dict,
    "vendor_cost": Decimal,
    "voided": bool,
    "received_at": datetime,
    "recorded_at": datetime,
}
"""The columns of `usage.raw_events`, in order."""
