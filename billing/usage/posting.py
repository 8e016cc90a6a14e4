"""The ledger side of a batch: one balanced transaction per wallet, wallets taken in id order.

A wallet may have been moved to another shard since its event was admitted to this one's journal.
Its Redis there does not know of that debit: it is told, as of any other adjustment.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.types.json import Jsonb

from billing.ids import new_id
from billing.usage.counters import Advance
from billing.wallets.ledger import status_for
from billing.wallets.tables import LedgerAccount, LedgerKind

_LOCK = """
SELECT w.id, w.currency, w.balance_units, w.entry_seq, w.credit_line_units, w.low_balance_units,
    w.shard, w.account_id, s.amount_units
FROM unnest(%b::uuid[], %b::bigint[]) AS s (wallet_id, amount_units)
JOIN billing.wallets w ON w.id = s.wallet_id
ORDER BY w.id FOR UPDATE OF w
"""

_STAGED = """
SELECT wallet_id, sum(amount_units)::bigint FROM pg_temp.incoming
WHERE verdict = 'new' AND wallet_id IS NOT NULL GROUP BY wallet_id
"""

_WITHOUT_WALLET = """
SELECT DISTINCT account_id FROM pg_temp.incoming WHERE verdict = 'new' AND wallet_id IS NULL
"""

# in one statement, so that the rules of the ledger look once at all of it
_POST = """
WITH posted AS MATERIALIZED (
    SELECT * FROM unnest(%(ids)b::uuid[], %(wallets)b::uuid[], %(currencies)s::text[],
            %(amounts)b::bigint[], %(seqs)b::bigint[], %(balances)b::bigint[], %(statuses)s::text[])
        AS t (id, wallet_id, currency, amount, seq, balance, status)
), transactions AS (
    INSERT INTO billing.ledger_transactions (id, kind, reference, currency, recorded_at)
    SELECT id, %(kind)s, %(reference)s || ':' || wallet_id, currency, %(now)s FROM posted
), entries AS (
    INSERT INTO billing.ledger_entries
        (transaction_id, line_no, account, wallet_id, currency, amount_units, wallet_seq,
         balance_after_units)
    SELECT t.id, side.line_no, side.account, t.wallet_id, t.currency,
        CASE side.line_no WHEN 1 THEN -t.amount ELSE t.amount END,
        CASE side.line_no WHEN 1 THEN t.seq END,
        CASE side.line_no WHEN 1 THEN t.balance END
    FROM posted t
    CROSS JOIN (VALUES (1, %(wallet_side)s), (2, %(usage_side)s)) AS side (line_no, account)
)
UPDATE billing.wallets w
SET balance_units = t.balance, entry_seq = t.seq, status = t.status, updated_at = %(now)s
FROM posted t WHERE w.id = t.wallet_id
"""

_TELL = """
WITH told AS (
    UPDATE billing.wallets SET adjustment_seq = adjustment_seq + 1 WHERE id = %(wallet)s
    RETURNING id, adjustment_seq
)
INSERT INTO billing.wallet_adjustments (wallet_id, seq, kind, amount_units, counter_changes,
    reference, note, ledger_transaction_id, actor, recorded_at)
SELECT told.id, told.adjustment_seq, %(kind)s, -%(amount)s, %(changes)s, t.reference,
    'came by the shard it was in before', t.id, 'system', %(now)s
FROM told JOIN billing.ledger_transactions t ON t.reference = %(reference)s
"""


class UnknownWalletError(Exception):
    """A row names a wallet that does not exist."""


@dataclass(frozen=True, slots=True)
class _Debit:
    wallet_id: UUID
    currency: str
    amount: int
    seq: int
    balance: int
    status: str
    shard: int
    """That the wallet is in now."""


def staged_amounts(connection: Connection[Any]) -> dict[UUID, int]:
    """What the new rows of `pg_temp.incoming` cost, by wallet."""
    return dict(connection.execute(_STAGED).fetchall())


def staged_without_wallet(connection: Connection[Any]) -> set[UUID]:
    """Whose new rows of `pg_temp.incoming` are without a wallet."""
    return {account for (account,) in connection.execute(_WITHOUT_WALLET)}


def post_debits(
    connection: Connection[Any],
    shard: int,
    amounts: Mapping[UUID, int],
    advances: Sequence[Advance],
    *,
    reference: str,
    now: datetime,
) -> set[UUID]:
    """Take amounts from wallets.

    Args:
        shard: in whose journal the events were.
        amounts: wallet units by wallet.
        advances: what the same events moved counters of prices by.
        reference: beginning of the natural key of each wallet's ledger transaction.

    Returns:
        the accounts that are in another shard.

    Raises:
        UnknownWalletError: if a wallet does not exist.
    """
    rows = connection.execute(_LOCK, [list(amounts), list(amounts.values())]).fetchall()
    if len(rows) != len(amounts):
        raise UnknownWalletError("the wallet does not exist")
    debits, elsewhere = list(_debits(rows)), {row[7] for row in rows if row[6] != shard}
    if not debits:
        return elsewhere
    values = {
        "kind": LedgerKind.USAGE.value,
        "now": now,
        "wallet_side": LedgerAccount.WALLET.value,
        "usage_side": LedgerAccount.USAGE_UNBILLED.value,
        "ids": [new_id() for _ in debits],
        "reference": reference,
        "wallets": [debit.wallet_id for debit in debits],
        "currencies": [debit.currency for debit in debits],
        "amounts": [debit.amount for debit in debits],
        "seqs": [debit.seq for debit in debits],
        "balances": [debit.balance for debit in debits],
        "statuses": [debit.status for debit in debits],
    }
    connection.execute(_POST, values)
    for debit in debits:
        if debit.shard != shard:
            _tell(connection, debit, advances, f"{reference}:{debit.wallet_id}", now)
    return elsewhere


def _tell(
    connection: Connection[Any],
    debit: _Debit,
    advances: Sequence[Advance],
    reference: str,
    now: datetime,
) -> None:
    """Let the Redis of the wallet's shard take the debit as well."""
    changes = [
        [str(one.rate_id), one.counted_on.isoformat(), one.micros]
        for one in advances
        if one.wallet_id == debit.wallet_id
    ]
    values = {
        "wallet": debit.wallet_id,
        "kind": LedgerKind.USAGE.value,
        "amount": debit.amount,
        "changes": Jsonb(changes) if changes else None,
        "reference": reference,
        "now": now,
    }
    connection.execute(_TELL, values)


def _debits(rows: Iterable[tuple[Any, ...]]) -> Iterable[_Debit]:
    for wallet_id, currency, balance, seq, credit_line, low_balance, shard, _, amount in rows:
        if amount:
            after = balance - amount
            status = status_for(after, credit_line, low_balance)
            yield _Debit(wallet_id, currency, amount, seq + 1, after, status.value, shard)
