"""Lots: what of each top-up and grant is left.

They are no rows of their own. The ledger says what came in and how much went out, allocations say
what documents were made of, and the rest follows; nothing can disagree with it. A lot of money is
papered by a receipt voucher, a lot that was given away is no consideration and is not. What no
document shows yet is used by priority (the lowest number first), then by the end that comes first,
then first in, first out: without grants that say otherwise, the last alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
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
        coalesce(max(d.issue_date), max(i.issue_date)) AS voucher_date,
        max(g.priority) AS priority, max(g.expires_at) AS expires_at
    FROM billing.ledger_entries e
    JOIN billing.ledger_transactions t ON t.id = e.transaction_id
    LEFT JOIN billing.documents d ON d.ledger_transaction_id = t.id
    LEFT JOIN billing.invoices i ON i.ledger_transaction_id = t.id
    LEFT JOIN billing.credit_grants g ON g.ledger_transaction_id = t.id
    WHERE e.wallet_id = :wallet AND t.kind IN ('top_up', 'refund', 'deposit',
        'deposit_refund', 'promotion', 'commitment', 'credit_note', 'correction', 'expiry', 'void')
    GROUP BY t.id
    HAVING sum(e.amount_units) FILTER (WHERE e.account = 'wallet') > 0
        -- a correction that takes is use, as an event is
        OR t.kind <> 'correction' AND sum(e.amount_units) FILTER (WHERE e.account = 'wallet') < 0
    ORDER BY min(e.wallet_seq)
    """
)


_SETTLED: Final = text(
    """
    SELECT a.lot_id, sum(a.credit_units) AS units
    FROM billing.lot_allocations a
    JOIN billing.ledger_transactions t ON t.id = a.used_by_id
    WHERE a.wallet_id = :wallet AND t.kind IN ('invoice', 'correction')
    GROUP BY a.lot_id
    """
)

USUAL_PRIORITY: Final = 50
_NEVER: Final = datetime.max.replace(tzinfo=UTC)
_ENDS: Final = frozenset({LedgerKind.EXPIRY, LedgerKind.VOID})


def origin_of(reference: str) -> str:
    """What postings of one payment have in common."""
    return reference.rpartition(":")[0] or reference


def ended_lot(kind: LedgerKind, reference: str) -> UUID | None:
    """The lot of which a posting takes away what is left, if it is one that does."""
    return UUID(reference.split(":")[1]) if kind in _ENDS else None


def end_reference(kind: LedgerKind, lot_id: UUID, number: int) -> str:
    """How the posting is named that takes away what is left of a lot, for the so-manieth time."""
    return f"{kind.value}:{lot_id}:{number}"


@dataclass(frozen=True, slots=True)
class Turn:
    """When a lot is used; the smaller, the earlier. With the same turn: first in, first out."""

    priority: int = USUAL_PRIORITY
    expires_at: datetime | None = None

    @property
    def key(self) -> tuple[int, datetime]:
        """What lots are sorted by."""
        return self.priority, self.expires_at or _NEVER


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
    turn: Turn = Turn()

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


def lots_after(
    inflows: Sequence[Inflow], balance_units: int, settled: Mapping[UUID, int] | None = None
) -> list[Lot]:
    """The lots of a wallet with that balance, oldest first.

    A refund takes back the lot of its own payment, and what that no longer holds from the others
    in their order; an end takes from its own lot alone. Everything else that is not there any more
    was used: what is allocated of the lots it was allocated to, the rest of the lots in their
    turn. A balance below zero uses all lots up; it is what the customer owes, and the next lot pays
    it.

    Args:
        settled: what was allocated to invoices and corrections, by lot.
    """
    came = [one for one in inflows if one.units > 0]
    refunded = dict.fromkeys((one.id for one in came), 0)
    for back in (one for one in inflows if one.units < 0):
        wanted = -back.units
        for one in _sources(came, back):
            part = min(wanted, one.units - refunded[one.id])
            refunded[one.id] += part
            wanted -= part
    there = {one.id: one.units - refunded[one.id] for one in came}
    used = {one.id: min(there[one.id], (settled or {}).get(one.id, 0)) for one in came}
    open_units = sum(there.values()) - max(balance_units, 0) - sum(used.values())
    in_turn = sorted(came, key=lambda one: one.turn.key)
    for one in in_turn:
        part = min(max(open_units, 0), there[one.id] - used[one.id])
        used[one.id] += part
        open_units -= part
    for one in reversed(in_turn):  # more came back than went, by a correction or an amendment
        part = min(max(-open_units, 0), used[one.id])
        used[one.id] -= part
        open_units += part
    return [Lot(one, refunded[one.id], used[one.id]) for one in came]


def _sources(came: Sequence[Inflow], back: Inflow) -> list[Inflow]:
    """The lots that a posting takes from, in their order."""
    lot_id = ended_lot(back.kind, back.reference)
    if lot_id is not None:
        return [one for one in came if one.id == lot_id]
    return sorted(came, key=lambda one: one.origin != back.origin)


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
            turn=Turn() if row.priority is None else Turn(row.priority, row.expires_at),
        )
        for row in rows
    ]
    taken = session.execute(_SETTLED, {"wallet": wallet.id})
    return lots_after(inflows, wallet.balance_units, {row[0]: int(row[1]) for row in taken})
