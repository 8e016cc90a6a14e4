"""Payments, calls to gateways, what gateways said, refunds."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from billing.db.base import Base, choices
from billing.ids import new_id
from billing.payments.facts import DisputeState, PaymentStatus


class PaymentPurpose(StrEnum):
    """What a payment is for."""

    INVOICE = "invoice"
    TOP_UP = "top_up"


class CallState(StrEnum):
    """What became of a call to a gateway."""

    STARTED = "started"
    """Written before the call; found after a crash, its outcome is unknown."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """The gateway refused: nothing happened there."""
    UNKNOWN = "unknown"
    """No answer: it may have happened. Repeated under the same key, never under a new one."""


class EventOutcome(StrEnum):
    """What a message of a gateway led to."""

    RECEIVED = "received"
    APPLIED = "applied"
    IGNORED = "ignored"
    UNMATCHED = "unmatched"
    """It speaks of a payment that we do not know (yet)."""


class RefundState(StrEnum):
    """Where a refund stands."""

    REQUESTED = "requested"
    PROCESSED = "processed"
    FAILED = "failed"


class Payment(Base):
    """Money asked for through a gateway, and what came of it."""

    __tablename__ = "payments"
    __table_args__ = (
        CheckConstraint("amount_minor > 0", name="amount_positive"),
        CheckConstraint(
            "refunded_minor BETWEEN 0 AND captured_minor", name="refunded_within_captured"
        ),
        CheckConstraint(
            "(purpose = 'invoice') = (invoice_id IS NOT NULL)", name="an_invoice_to_pay"
        ),
        CheckConstraint(
            "(purpose = 'top_up') = (wallet_id IS NOT NULL AND credits_minor IS NOT NULL)",
            name="a_wallet_to_fill",
        ),
        CheckConstraint(
            "credits_minor IS NULL OR credits_minor BETWEEN 1 AND amount_minor",
            name="credits_within_amount",
        ),
        UniqueConstraint("gateway", "provider_order_id"),
        Index("ix_payments_customer_id", "customer_id", "id"),
        Index("ix_payments_invoice_id", "invoice_id"),
        Index("ix_payments_wallet_id", "wallet_id"),
        Index(
            "uq_payments_one_charge_in_flight",
            text("coalesce(wallet_id, invoice_id)"),
            unique=True,
            postgresql_where=text(
                "payment_method_id IS NOT NULL AND status IN ('created', 'pending', 'authorised')"
            ),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    purpose: Mapped[PaymentPurpose] = mapped_column(choices(PaymentPurpose))
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("billing.customers.id"))
    account_id: Mapped[UUID] = mapped_column(ForeignKey("billing.accounts.id"))
    invoice_id: Mapped[UUID | None] = mapped_column(ForeignKey("billing.invoices.id"))
    wallet_id: Mapped[UUID | None] = mapped_column(ForeignKey("billing.wallets.id"))
    gateway: Mapped[str]
    currency: Mapped[str] = mapped_column(ForeignKey("billing.currencies.code"))
    amount_minor: Mapped[int]
    """What is asked for, tax included."""
    credits_minor: Mapped[int | None]
    """Of a top-up: what the wallet gains when all of it is paid; the rest is tax."""
    status: Mapped[PaymentStatus] = mapped_column(choices(PaymentStatus))
    dispute: Mapped[DisputeState] = mapped_column(choices(DisputeState), default=DisputeState.NONE)
    captured_minor: Mapped[int] = mapped_column(default=0)
    refunded_minor: Mapped[int] = mapped_column(default=0)
    provider_order_id: Mapped[str | None]
    """The gateway's name of the order, link or session that we asked for."""
    checkout_url: Mapped[str | None]
    payment_method_id: Mapped[UUID | None] = mapped_column(ForeignKey("billing.payment_methods.id"))
    """The saved method that is charged; None if the customer pays on a page."""
    failure: Mapped[str | None]
    attention: Mapped[str | None]
    """Why a person has to look at it: another amount or currency than asked for, a dispute."""
    captured_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    @property
    def net_minor(self) -> int:
        """What came in and stayed."""
        return self.captured_minor - self.refunded_minor


class ProviderPayment(Base):
    """The gateway's names of the movements of money behind a payment; a link may have several."""

    __tablename__ = "provider_payments"

    gateway: Mapped[str] = mapped_column(primary_key=True)
    provider_payment_id: Mapped[str] = mapped_column(primary_key=True)
    payment_id: Mapped[UUID] = mapped_column(ForeignKey("billing.payments.id"), index=True)


class GatewayCall(Base):
    """One call to a gateway: written before it is made, completed after it is answered."""

    __tablename__ = "gateway_calls"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    payment_id: Mapped[UUID] = mapped_column(ForeignKey("billing.payments.id"), index=True)
    operation: Mapped[str]
    key: Mapped[str] = mapped_column(unique=True)
    """The idempotency key that the gateway is given; a repetition carries the same."""
    state: Mapped[CallState] = mapped_column(choices(CallState))
    error: Mapped[str | None]
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class GatewayEvent(Base):
    """The inbox: every message once, for ever. A signature may be replayed, an id may not."""

    __tablename__ = "gateway_events"
    __table_args__ = (
        Index("ix_gateway_events_payment_id", "payment_id"),
        Index("ix_gateway_events_outcome", "outcome"),
    )

    gateway: Mapped[str] = mapped_column(primary_key=True)
    event_id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    reference: Mapped[str | None]
    provider_order_id: Mapped[str | None]
    provider_payment_ids: Mapped[list[str]]
    facts: Mapped[list[dict[str, Any]]]
    body: Mapped[bytes] = mapped_column(LargeBinary, info={"audit": False})
    outcome: Mapped[EventOutcome] = mapped_column(choices(EventOutcome))
    reason: Mapped[str | None]
    payment_id: Mapped[UUID | None] = mapped_column(ForeignKey("billing.payments.id"))
    received_at: Mapped[datetime]
    processed_at: Mapped[datetime | None]


class Refund(Base):
    """Money to give back; the gateway's word decides whether it went."""

    __tablename__ = "refunds"
    __table_args__ = (
        CheckConstraint("amount_minor > 0", name="amount_positive"),
        UniqueConstraint("payment_id", "provider_refund_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    payment_id: Mapped[UUID] = mapped_column(ForeignKey("billing.payments.id"), index=True)
    amount_minor: Mapped[int]
    reason: Mapped[str]
    state: Mapped[RefundState] = mapped_column(choices(RefundState))
    provider_refund_id: Mapped[str | None]
    requested_by: Mapped[str]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
