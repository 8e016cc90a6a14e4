"""Wallets and the double-entry ledger behind them.

A balance is the sum of immutable entries; `wallets.balance_units` and Redis are projections.
Signs: a credit to the wallet is positive; within one transaction all entries sum to zero.
"""

from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from billing.db.base import Base, choices
from billing.ids import new_id


class WalletStatus(StrEnum):
    """What the balance means for sending."""

    ACTIVE = "active"
    LOW = "low"
    SUSPENDED = "suspended"


class AdvancePolicy(StrEnum):
    """What money paid into a wallet is in the eyes of GST."""

    RECEIPT_VOUCHER = "receipt_voucher"
    """An advance: taxed when it comes, papered by a receipt voucher (CGST Act s.13(2), s.31(3))."""
    TAX_INVOICE = "tax_invoice_at_top_up"
    """Credits are sold by a tax invoice as the money comes; the month's document is a statement
    without tax, and unused credits go back by a credit note (s.31(2), s.34)."""
    DEPOSIT = "deposit"
    """A refundable deposit: no tax until an invoice is paid from it. Not certain (s.2(31)): only
    where finance has signed for it."""


class LedgerAccount(StrEnum):
    """The accounts of the ledger; `wallet` and `usage_unbilled` exist once per wallet."""

    WALLET = "wallet"
    USAGE_UNBILLED = "usage_unbilled"
    """Debited usage that no invoice has taken over yet; clears to zero when invoiced."""
    CASH = "cash"
    TAX_ON_ADVANCES = "tax_on_advances"
    PROMOTION = "promotion"
    COMMITMENT = "commitment"
    """Credits that customers have on the strength of what they committed to."""
    CORRECTION = "correction"
    REVENUE = "revenue"
    OUTPUT_TAX = "output_tax"


class LedgerKind(StrEnum):
    """Why a ledger transaction was posted."""

    USAGE = "usage"
    TOP_UP = "top_up"
    DEPOSIT = "deposit"
    """Money that came in untaxed; `top_up` is what came in as an advance."""
    DEPOSIT_REFUND = "deposit_refund"
    PROMOTION = "promotion"
    COMMITMENT = "commitment"
    EXPIRY = "expiry"
    """What was left of a grant when its time was over."""
    VOID = "void"
    """What was left of a grant when it was taken back."""
    AMENDMENT = "amendment"
    TRUE_UP = "true_up"
    CORRECTION = "correction"
    INVOICE = "invoice"
    REFUND = "refund"
    CREDIT_NOTE = "credit_note"


class GrantKind(StrEnum):
    """Where the credits of a grant come from."""

    PROMOTIONAL = "promotional"
    PURCHASED = "purchased"
    """Paid for, as any top-up is; a grant gives them a priority."""
    COMMITMENT = "commitment"


class Wallet(Base):
    """Prepaid money of one account in one currency, in wallet units."""

    __tablename__ = "wallets"
    __table_args__ = (
        UniqueConstraint("account_id", "currency"),
        CheckConstraint("abs(balance_units) < 9007199254740992", name="balance_below_2_53"),
        CheckConstraint("credit_line_units >= 0", name="credit_line_not_negative"),
        Index("ix_wallets_suspended", "account_id", postgresql_where=text("status = 'suspended'")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("billing.accounts.id"))
    currency: Mapped[str] = mapped_column(ForeignKey("billing.currencies.code"))
    shard: Mapped[int] = mapped_column(Integer)
    balance_units: Mapped[int] = mapped_column(default=0)
    entry_seq: Mapped[int] = mapped_column(default=0)
    """Number of the last ledger entry."""
    adjustment_seq: Mapped[int] = mapped_column(default=0)
    """Number of the last adjustment; Redis applies them in this order, each once."""
    credit_line_units: Mapped[int] = mapped_column(default=0)
    """How far below zero authorisations may still be given."""
    low_balance_units: Mapped[int] = mapped_column(default=0)
    advance_policy: Mapped[AdvancePolicy] = mapped_column(
        choices(AdvancePolicy), default=AdvancePolicy.RECEIPT_VOUCHER
    )
    status: Mapped[WalletStatus] = mapped_column(choices(WalletStatus))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class LedgerTransaction(Base):
    """One balanced posting."""

    __tablename__ = "ledger_transactions"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    kind: Mapped[LedgerKind] = mapped_column(choices(LedgerKind))
    reference: Mapped[str] = mapped_column(unique=True)
    """Natural key: posting the same thing twice is refused."""
    currency: Mapped[str] = mapped_column(ForeignKey("billing.currencies.code"))
    recorded_at: Mapped[datetime]


class LedgerEntry(Base):
    """One side of a posting. Never updated, never deleted."""

    __tablename__ = "ledger_entries"
    __table_args__ = (
        UniqueConstraint("wallet_id", "wallet_seq"),
        CheckConstraint(
            "(account = 'wallet') = (wallet_seq IS NOT NULL AND balance_after_units IS NOT NULL)",
            name="wallet_entries_are_numbered",
        ),
    )

    # that both exist is looked at by a trigger, for a whole statement at once
    transaction_id: Mapped[UUID] = mapped_column(primary_key=True)
    line_no: Mapped[int] = mapped_column(Integer, primary_key=True)
    account: Mapped[LedgerAccount] = mapped_column(choices(LedgerAccount))
    wallet_id: Mapped[UUID]
    currency: Mapped[str]
    amount_units: Mapped[int]
    wallet_seq: Mapped[int | None]
    balance_after_units: Mapped[int | None]


class WalletAdjustment(Base):
    """A change of balance that begins in PostgreSQL and is applied to Redis once, in order."""

    __tablename__ = "wallet_adjustments"
    __table_args__ = (UniqueConstraint("reference"),)

    wallet_id: Mapped[UUID] = mapped_column(ForeignKey("billing.wallets.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[LedgerKind] = mapped_column(choices(LedgerKind))
    amount_units: Mapped[int]
    counter_changes: Mapped[list[list[Any]] | None] = mapped_column(JSONB(none_as_null=True))
    """What counters of prices move by: rate, first local day and millionths of a unit of each."""
    reference: Mapped[str]
    note: Mapped[str]
    ledger_transaction_id: Mapped[UUID] = mapped_column(
        ForeignKey("billing.ledger_transactions.id")
    )
    actor: Mapped[str]
    recorded_at: Mapped[datetime]


class LotAllocation(Base):
    """What of a lot an invoice or a refund used. Never updated, never deleted."""

    __tablename__ = "lot_allocations"
    __table_args__ = (
        CheckConstraint("credit_units >= 0 AND tax_units >= 0", name="not_negative"),
        CheckConstraint("credit_units + tax_units > 0", name="something"),
        Index("ix_lot_allocations_wallet_id", "wallet_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    wallet_id: Mapped[UUID] = mapped_column(ForeignKey("billing.wallets.id"))
    lot_id: Mapped[UUID] = mapped_column(ForeignKey("billing.ledger_transactions.id"))
    """The posting that brought the credits."""
    used_by_id: Mapped[UUID] = mapped_column(ForeignKey("billing.ledger_transactions.id"))
    """The posting of the invoice, refund or correction that took them."""
    credit_units: Mapped[int]
    tax_units: Mapped[int]
    recorded_at: Mapped[datetime]


class CreditGrant(Base):
    """Credits with a priority, and a scope and an end if they have them; in wallet units.

    Only `voided_at` and `void_reason` are ever set later.
    """

    __tablename__ = "credit_grants"
    __table_args__ = (
        UniqueConstraint("kind", "reference"),
        CheckConstraint("amount_units > 0", name="something"),
        CheckConstraint("priority BETWEEN 0 AND 100", name="priority_in_range"),
        CheckConstraint(
            "(ledger_transaction_id IS NULL) = (cardinality(item_codes) > 0)",
            name="scoped_is_not_in_the_balance",
        ),
        CheckConstraint(
            "kind <> 'purchased' OR (cardinality(item_codes) = 0 AND expires_on IS NULL)",
            name="paid_stays",
        ),
        CheckConstraint("(expires_on IS NULL) = (expires_at IS NULL)", name="one_end"),
        Index("ix_credit_grants_wallet_id", "wallet_id"),
        Index("ix_credit_grants_expires_at", "expires_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    wallet_id: Mapped[UUID] = mapped_column(ForeignKey("billing.wallets.id"))
    kind: Mapped[GrantKind] = mapped_column(choices(GrantKind))
    priority: Mapped[int] = mapped_column(Integer)
    """The lower it is, the earlier the credits are used."""
    item_codes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    """What it pays for; empty is everything."""
    amount_units: Mapped[int]
    expires_on: Mapped[date | None]
    """The first day, of the account's, on which it no longer holds."""
    expires_at: Mapped[datetime | None]
    """When that day begins."""
    reference: Mapped[str]
    note: Mapped[str]
    granted_by: Mapped[str]
    granted_at: Mapped[datetime]
    ledger_transaction_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("billing.ledger_transactions.id"), unique=True
    )
    """What put it into the balance; a grant for some items gets there with its invoices."""
    voided_at: Mapped[datetime | None]
    void_reason: Mapped[str | None]


class CreditGrantDraw(Base):
    """What of a grant for some items an invoice took. Never updated, never deleted."""

    __tablename__ = "credit_grant_draws"
    __table_args__ = (CheckConstraint("amount_units > 0", name="something"),)

    grant_id: Mapped[UUID] = mapped_column(ForeignKey("billing.credit_grants.id"), primary_key=True)
    ledger_transaction_id: Mapped[UUID] = mapped_column(
        ForeignKey("billing.ledger_transactions.id"), primary_key=True
    )
    amount_units: Mapped[int]
    recorded_at: Mapped[datetime]


class AccountMove(Base):
    """An account on its way to another shard, or there."""

    __tablename__ = "account_moves"
    __table_args__ = (
        CheckConstraint("from_shard <> to_shard", name="goes_somewhere"),
        CheckConstraint(
            "moved_at IS NOT NULL OR (arrived_at IS NULL AND left_at IS NULL)", name="in_order"
        ),
        Index(
            "uq_account_moves_open",
            "account_id",
            unique=True,
            postgresql_where=text("arrived_at IS NULL OR left_at IS NULL"),
        ),
        Index("ix_account_moves_from_shard", "from_shard"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("billing.accounts.id"))
    from_shard: Mapped[int] = mapped_column(Integer)
    to_shard: Mapped[int] = mapped_column(Integer)
    actor: Mapped[str]
    asked_at: Mapped[datetime]
    moved_at: Mapped[datetime | None]
    """When PostgreSQL said so; until then the account is served where it was."""
    arrived_at: Mapped[datetime | None]
    """When the Redis of its new shard had it."""
    left_at: Mapped[datetime | None]
    """When the Redis of its old shard had let go of it."""
    accept_seq: Mapped[int | None]
    """The last event of its new shard before it came."""
    carried: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Holds and quotas on their way, as `billing.wallets.moving` packs them."""

    @property
    def is_over(self) -> bool:
        """Whether nothing of it is left to do."""
        return self.arrived_at is not None and self.left_at is not None
