"""Reading wallets and their movements, within what the actor may see."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.customers.tables import Account
from billing.errors import not_found
from billing.wallets.tables import (
    LedgerAccount,
    LedgerEntry,
    LedgerKind,
    LedgerTransaction,
    Wallet,
    WalletStatus,
)


@dataclass(frozen=True, slots=True)
class Movement:
    """One change of a wallet's balance, in wallet units."""

    wallet_id: UUID
    seq: int
    kind: LedgerKind
    reference: str
    amount_units: int
    balance_after_units: int
    recorded_at: datetime


def find_wallet(session: Session, actor: Actor, wallet_id: UUID) -> Wallet:
    """One wallet that the actor may see.

    Raises:
        NotFoundError: if there is none, or it is another customer's.
    """
    actor.require(Permission.WALLETS_READ)
    wallet = session.get(Wallet, wallet_id)
    if wallet is None:
        raise not_found("wallet", wallet_id)
    actor.require_customer(session.get_one(Account, wallet.account_id).customer_id)
    return wallet


def list_wallets(
    session: Session,
    actor: Actor,
    *,
    account_id: UUID | None = None,
    status: WalletStatus | None = None,
    limit: int = 50,
    after: UUID | None = None,
) -> Sequence[Wallet]:
    """Wallets by id, one page at a time."""
    actor.require(Permission.WALLETS_READ)
    query = select(Wallet).order_by(Wallet.id).limit(limit)
    if actor.customer_id is not None:
        query = query.join(Account, Account.id == Wallet.account_id).where(
            Account.customer_id == actor.customer_id
        )
    if account_id is not None:
        query = query.where(Wallet.account_id == account_id)
    if status is not None:
        query = query.where(Wallet.status == status)
    if after is not None:
        query = query.where(Wallet.id > after)
    return session.scalars(query).all()


def list_movements(
    session: Session, actor: Actor, wallet_id: UUID, *, limit: int = 50, after: int | None = None
) -> Sequence[Movement]:
    """A wallet's movements, the newest first, one page at a time.

    Args:
        after: the number of the last movement of the page before.
    """
    find_wallet(session, actor, wallet_id)
    query = (
        select(LedgerEntry, LedgerTransaction)
        .join(LedgerTransaction, LedgerTransaction.id == LedgerEntry.transaction_id)
        .where(LedgerEntry.wallet_id == wallet_id, LedgerEntry.account == LedgerAccount.WALLET)
        .order_by(LedgerEntry.wallet_seq.desc())
        .limit(limit)
    )
    if after is not None:
        query = query.where(LedgerEntry.wallet_seq < after)
    return [_movement(entry, posted) for entry, posted in session.execute(query)]


def _movement(entry: LedgerEntry, posted: LedgerTransaction) -> Movement:
    return Movement(
        wallet_id=entry.wallet_id,
        seq=entry.wallet_seq or 0,
        kind=posted.kind,
        reference=posted.reference,
        amount_units=entry.amount_units,
        balance_after_units=entry.balance_after_units or 0,
        recorded_at=posted.recorded_at,
    )
