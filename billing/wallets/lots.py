"""Lots: what of each top-up and grant is left, first in, first out.

They are no rows of their own. The ledger says what came in and how much went out, and the rest
follows; nothing can disagree with it. A lot of money is papered by a receipt voucher, a lot that
was given away is no consideration and is not; both are used in the order in which they came.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.wallets.repository import find_wallet
from billing.wallets.tables import LedgerKind

_MOVED: Final = text(
    """
    SELECT t.id, t.kind, t.reference, t.recorded_at,
        sum(e.amount_units) FILTER (WHERE e.account = 'wallet') AS units,
        coalesce(sum(e.amount_units) FILTER (WHERE e.account = 'tax_on_advances'), 0) AS tax,
        coalesce(max(d.number), max(i.number)) AS voucher,
        coalesce(max(d.issue_date), max(i.issue_date)) AS voucher_date
    FROM billing.ledger_entries e
    JOIN billing.ledger_transactions t ON t.id = e.transaction_id
    LEFT JOIN billing.documents d ON d.ledger_transaction_id = t.id
    LEFT JOIN billing.invoices i ON i.ledger_transaction_id = t.id
    WHERE e.wallet_id = :wallet AND t.kind IN ('top_up', 'refund', 'deposit',
        'deposit_refund', 'promotion', 'credit_note')
    GROUP BY t.id
    HAVING sum(e.amount_units) FILTER (WHERE e.account = 'wallet') <> 0
    ORDER BY min(e.wallet_seq)
    """
)


def origin_of(reference: str) -> str:
    """What postings of one payment have in common."""
    return reference.rpartition(":")[0] or reference


@dataclass(frozen=True, slots=True)
class Inflow:
    """Credits that came in, or went back out where they came from; in wallet units."""

    id: UUID
    kind: LedgerKind
    reference: str
    at: datetime
    units: int
    tax_units: int = 0
    voucher: str | None = None
    voucher_date: date | None = None

    @property
    def origin(self) -> str:
        """What a refund has in common with the top-up it takes back: the payment."""
        return origin_of(self.reference)


@dataclass(frozen=True, slots=True)
class Lot:
    """Credits that came in together, and what is left of them; in wallet units."""

    source: Inflow
    refunded_units: int
    used_units: int

    @property
    def left_units(self) -> int:
        """What can still be used or refunded."""
        return self.source.units - self.refunded_units - self.used_units


def lots_after(inflows: Sequence[Inflow], balance_units: int) -> list[Lot]:
    """The lots of a wallet with that balance, oldest first.

    A refund takes back the lot of its own payment, and what that no longer holds from the others
    in their order. Everything else that is not there any more was used, oldest lot first. A
    balance below zero uses all lots up; it is what the customer owes, and the next lot pays it.
    """
    came = [one for one in inflows if one.units > 0]
    refunded = dict.fromkeys((one.id for one in came), 0)
    for back in (one for one in inflows if one.units < 0):
        wanted = -back.units
        for one in sorted(came, key=lambda lot: lot.origin != back.origin):
            part = min(wanted, one.units - refunded[one.id])
            refunded[one.id] += part
            wanted -= part
    there = [one.units - refunded[one.id] for one in came]
    used = max(sum(there) - max(balance_units, 0), 0)
    lots = []
    for one, units in zip(came, there, strict=True):
        part = min(used, units)
        used -= part
        lots.append(Lot(one, refunded[one.id], part))
    return lots


def lots_of(session: Session, actor: Actor, wallet_id: UUID) -> list[Lot]:
    """A wallet's lots as its ledger has them now.

    Raises:
        NotFoundError: if there is no such wallet, or it is another customer's.
    """
    wallet = find_wallet(session, actor, wallet_id)
    rows = session.execute(_MOVED, {"wallet": wallet.id})
    inflows = [
        Inflow(
            id=row.id,
            kind=LedgerKind(row.kind),
            reference=row.reference,
            at=row.recorded_at,
            units=int(row.units),
            tax_units=int(row.tax),
            voucher=row.voucher,
            voucher_date=row.voucher_date,
        )
        for row in rows
    ]
    return lots_after(inflows, wallet.balance_units)
