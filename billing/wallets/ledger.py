"""Posting to the double-entry ledger: the only place that changes a wallet's balance by command.

The writer posts batches of usage by set-based SQL (`billing.usage.apply`); all else comes through
here: top-ups, grants, corrections, amendments, true-ups, invoices.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from billing.errors import ConflictError, InvalidError
from billing.money import WALLET_UNITS_LIMIT
from billing.usage.counters import Advance
from billing.wallets.tables import (
    LedgerAccount,
    LedgerEntry,
    LedgerKind,
    LedgerTransaction,
    Wallet,
    WalletAdjustment,
    WalletStatus,
)


@dataclass(frozen=True, slots=True)
class Posting:
    """One side of a transaction, in wallet units of the wallet's currency."""

    account: LedgerAccount
    amount_units: int


def lock_wallet(session: Session, wallet: Wallet) -> Wallet:
    """The wallet as it is now, held until the transaction ends."""
    return session.scalars(
        select(Wallet)
        .where(Wallet.id == wallet.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one()


def post_transaction(
    session: Session,
    wallet: Wallet,
    *,
    kind: LedgerKind,
    reference: str,
    postings: Sequence[Posting],
    now: datetime,
) -> LedgerTransaction:
    """Post a balanced transaction; a posting to `wallet` moves the wallet's balance.

    Args:
        wallet: locked by the caller (`lock_wallet`) if a posting touches its balance.
        reference: natural key; the same one cannot be posted twice.

    Raises:
        ValueError: if the postings do not sum to zero.
        ConflictError: if that reference was posted before.
    """
    if sum(posting.amount_units for posting in postings):
        raise ValueError(f"{reference} does not balance: {postings}")
    if session.scalar(select(LedgerTransaction.id).filter_by(reference=reference)):
        raise ConflictError(f"{reference} was posted before.", code="already_posted")
    transaction = LedgerTransaction(
        kind=kind, reference=reference, currency=wallet.currency, recorded_at=now
    )
    session.add(transaction)
    session.flush()
    for line_no, posting in enumerate(postings, start=1):
        session.add(_entry(wallet, transaction, line_no, posting))
    session.flush()
    return transaction


def post_adjustment(
    session: Session,
    wallet: Wallet,
    *,
    amount_units: int,
    kind: LedgerKind,
    counter_account: LedgerAccount,
    reference: str,
    note: str,
    actor: str,
    now: datetime,
    further: Sequence[Posting] = (),
    counter_changes: Sequence[Advance] = (),
) -> WalletAdjustment:
    """Change a balance in PostgreSQL first; Redis applies it afterwards, once and in order.

    Args:
        amount_units: what the wallet gains; negative takes.
        counter_account: where it comes from, or goes.
        further: postings of the same transaction that balance among themselves, such as the tax
            that came with a top-up.
        counter_changes: what counters of prices moved by in the same transaction.

    Raises:
        InvalidError: if the balance would leave what a wallet can hold.
        ConflictError: if that reference was posted before.
    """
    wallet = lock_wallet(session, wallet)
    if abs(wallet.balance_units + amount_units) >= WALLET_UNITS_LIMIT:
        raise InvalidError("The balance would exceed what a wallet can hold.", code="out_of_range")
    transaction = post_transaction(
        session,
        wallet,
        kind=kind,
        reference=reference,
        postings=[
            Posting(LedgerAccount.WALLET, amount_units),
            Posting(counter_account, -amount_units),
            *further,
        ],
        now=now,
    )
    wallet.adjustment_seq += 1
    wallet.status = status_of(wallet)
    wallet.updated_at = now
    adjustment = WalletAdjustment(
        wallet_id=wallet.id,
        seq=wallet.adjustment_seq,
        kind=kind,
        amount_units=amount_units,
        counter_changes=_change_list(counter_changes),
        reference=reference,
        note=note,
        ledger_transaction_id=transaction.id,
        actor=actor,
        recorded_at=now,
    )
    session.add(adjustment)
    session.flush()
    return adjustment


def _change_list(changes: Sequence[Advance]) -> list[list[Any]] | None:
    found = [[str(one.rate_id), one.counted_on.isoformat(), one.micros] for one in changes]
    return found or None


def tax_held(session: Session, wallet: Wallet) -> int:
    """Tax that came with top-ups and that no invoice has used yet, in wallet units."""
    total = session.scalar(
        select(func.coalesce(func.sum(LedgerEntry.amount_units), 0)).filter_by(
            wallet_id=wallet.id, account=LedgerAccount.TAX_ON_ADVANCES
        )
    )
    return int(total or 0)


def status_of(wallet: Wallet) -> WalletStatus:
    """What a wallet's balance means."""
    return status_for(wallet.balance_units, wallet.credit_line_units, wallet.low_balance_units)


def status_for(balance_units: int, credit_line_units: int, low_balance_units: int) -> WalletStatus:
    """What a balance means: nothing left to send with, little left, or enough."""
    if balance_units + credit_line_units <= 0:
        return WalletStatus.SUSPENDED
    if balance_units < low_balance_units:
        return WalletStatus.LOW
    return WalletStatus.ACTIVE


def _entry(
    wallet: Wallet, transaction: LedgerTransaction, line_no: int, posting: Posting
) -> LedgerEntry:
    moves_balance = posting.account is LedgerAccount.WALLET
    if moves_balance:
        wallet.entry_seq += 1
        wallet.balance_units += posting.amount_units
    return LedgerEntry(
        transaction_id=transaction.id,
        line_no=line_no,
        account=posting.account,
        wallet_id=wallet.id,
        currency=wallet.currency,
        amount_units=posting.amount_units,
        wallet_seq=wallet.entry_seq if moves_balance else None,
        balance_after_units=wallet.balance_units if moves_balance else None,
    )
