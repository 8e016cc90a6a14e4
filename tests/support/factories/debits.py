"""Provisional debits of usage, as the writer records them."""

from datetime import UTC, datetime

from sqlalchemy.orm import Session

from billing.usage.tables import UsageDebit
from billing.wallets.ledger import post_adjustment
from billing.wallets.tables import LedgerAccount, LedgerKind, Wallet

IN_JUNE = datetime(2026, 6, 10, tzinfo=UTC)


def debit(
    session: Session,
    wallet: Wallet,
    accept_seq: int,
    amount_units: int,
    occurred_at: datetime = IN_JUNE,
) -> None:
    """A debit of an event, with its ledger posting; below nothing it gives back."""
    session.add(
        UsageDebit(
            shard=0,
            accept_seq=accept_seq,
            wallet_id=wallet.id,
            amount_units=amount_units,
            rate_id=None,
            occurred_at=occurred_at,
        )
    )
    post_adjustment(
        session,
        wallet,
        amount_units=-amount_units,
        kind=LedgerKind.USAGE,
        counter_account=LedgerAccount.USAGE_UNBILLED,
        reference=f"usage:{accept_seq}",
        note="",
        actor="test",
        now=IN_JUNE,
    )
