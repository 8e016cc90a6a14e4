"""Which lot paid what: each in its turn, written down once and never changed.

`lots.py` says what is left of each lot now, with usage that no invoice shows yet. Here stands what
documents were made of: an invoice of usage adjusts advances, a refund gives them back. The rows
follow from the ledger in the order of its postings, so what is missing (an invoice that a later
top-up paid for, history from before the rows were kept) is added by looking again.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.wallets.ledger import lock_wallet
from billing.wallets.lots import Turn, ended_lot, origin_of
from billing.wallets.repository import find_wallet
from billing.wallets.tables import AdvancePolicy, LedgerKind, LotAllocation, Wallet

# Adjustments are few; usage, of which there is much, has none. What an invoice takes over moves no
# balance and is found by its name.
_POSTED: Final = text(
    """
    WITH postings AS (
        SELECT a.ledger_transaction_id AS id FROM billing.wallet_adjustments a
        WHERE a.wallet_id = :wallet AND a.kind IN ('top_up', 'refund', 'deposit',
            'deposit_refund', 'promotion', 'commitment', 'credit_note', 'correction', 'invoice',
            'expiry', 'void')
        UNION
        SELECT t.id FROM billing.invoices i
        JOIN billing.ledger_transactions t ON t.reference = 'invoice:' || i.id
        WHERE i.account_id = :account AND i.currency = :currency AND i.origin = 'rated'
    )
    SELECT t.id, t.kind, t.reference,
        coalesce(sum(e.amount_units) FILTER (WHERE e.account = 'wallet'), 0) AS wallet,
        coalesce(sum(e.amount_units) FILTER (WHERE e.account = 'revenue'), 0) AS revenue,
        coalesce(sum(e.amount_units) FILTER (WHERE e.account = 'tax_on_advances'), 0) AS tax,
        g.priority, g.expires_at
    FROM postings JOIN billing.ledger_transactions t USING (id)
    JOIN billing.ledger_entries e ON e.transaction_id = t.id AND e.wallet_id = :wallet
    LEFT JOIN billing.credit_grants g ON g.ledger_transaction_id = t.id
    GROUP BY t.id, g.id
    ORDER BY t.id
    """
)

_PRINTED: Final = text(
    """
    SELECT lot.kind, lot.reference, lot.recorded_at,
        coalesce(voucher.number, sold.number) AS number,
        coalesce(voucher.issue_date, sold.issue_date) AS issue_date,
        a.lot_id, a.used_by_id, used_by.kind AS used_by_kind, used_by.reference AS used_by,
        a.credit_units, a.tax_units, a.recorded_at AS allocated_at, a.id
    FROM billing.lot_allocations a
    JOIN billing.ledger_transactions lot ON lot.id = a.lot_id
    JOIN billing.ledger_transactions used_by ON used_by.id = a.used_by_id
    LEFT JOIN billing.documents voucher ON voucher.ledger_transaction_id = a.lot_id
    LEFT JOIN billing.invoices sold ON sold.ledger_transaction_id = a.lot_id
    WHERE a.wallet_id = :wallet AND (CAST(:of AS text[]) IS NULL OR used_by.reference = ANY(:of))
    ORDER BY a.id
    """
)


@dataclass(slots=True)
class Supply:
    """A lot and what is left of it; wallet units."""

    id: UUID
    origin: str
    credit_units: int
    tax_units: int
    turn: Turn = field(default_factory=Turn)


@dataclass(slots=True)
class Demand:
    """What an invoice, a refund or an end takes and no lot was found for yet; wallet units."""

    id: UUID
    credit_units: int
    tax_units: int
    origin: str | None = None
    """Of a refund: the payment it gives back, whose lot goes first; of an invoice: itself, for
    what grants for its items put into the wallet with it."""
    only_lot: UUID | None = None
    """Of an end: what it ends, and nothing else."""


@dataclass(frozen=True, slots=True)
class Part:
    """What of a lot goes to a demand; wallet units."""

    lot_id: UUID
    used_by_id: UUID
    credit_units: int
    tax_units: int


@dataclass(frozen=True, slots=True)
class Allocated:
    """An allocation with the names of both sides; wallet units."""

    id: UUID
    lot_kind: LedgerKind
    lot_reference: str
    received_at: datetime
    voucher: str | None
    voucher_date: date | None
    used_by_kind: LedgerKind
    used_by: str
    credit_units: int
    tax_units: int
    allocated_at: datetime


@dataclass(slots=True)
class _Book:
    supplies: list[Supply] = field(default_factory=list)
    demands: list[Demand] = field(default_factory=list)


def each_in_its_turn(supplies: Iterable[Supply], demands: Iterable[Demand]) -> list[Part]:
    """Meet demands in their order from lots in theirs; a refund from its own lot first.

    Lots are used by priority, then by the end that comes first, then first in, first out.
    Credits and tax are each used up by themselves, so that both add up whatever rates said. What
    the lots do not hold stays open.
    """
    lots = sorted(supplies, key=lambda one: one.turn.key)
    parts = []
    for demand in demands:
        for lot in _open_to(demand, lots):
            part = Part(
                lot.id,
                demand.id,
                min(lot.credit_units, demand.credit_units),
                min(lot.tax_units, demand.tax_units),
            )
            if not part.credit_units and not part.tax_units:
                continue
            parts.append(part)
            for one in (lot, demand):
                one.credit_units -= part.credit_units
                one.tax_units -= part.tax_units
    return parts


def _open_to(demand: Demand, lots: Iterable[Supply]) -> list[Supply]:
    if demand.only_lot is not None:
        return [one for one in lots if one.id == demand.only_lot]
    return sorted(lots, key=lambda one: demand.origin not in {None, one.origin})


def allocate(session: Session, wallet: Wallet, now: datetime) -> None:
    """Write down which lots paid the invoices and refunds of a wallet that have none yet."""
    wallet = lock_wallet(session, wallet)
    session.flush()
    book = _open_book(session, wallet)
    for part in each_in_its_turn(book.supplies, book.demands):
        session.add(
            LotAllocation(
                wallet_id=wallet.id,
                lot_id=part.lot_id,
                used_by_id=part.used_by_id,
                credit_units=part.credit_units,
                tax_units=part.tax_units,
                recorded_at=now,
            )
        )
    session.flush()


def allocations_of(
    session: Session, wallet_id: UUID, used_by: list[str] | None = None
) -> list[Allocated]:
    """The allocations of a wallet in the order they were made.

    Args:
        used_by: only those of the postings of these references.
    """
    rows = session.execute(_PRINTED, {"wallet": wallet_id, "of": used_by})
    return [
        Allocated(
            id=row.id,
            lot_kind=LedgerKind(row.kind),
            lot_reference=row.reference,
            received_at=row.recorded_at,
            voucher=row.number,
            voucher_date=row.issue_date,
            used_by_kind=LedgerKind(row.used_by_kind),
            used_by=row.used_by,
            credit_units=int(row.credit_units),
            tax_units=int(row.tax_units),
            allocated_at=row.allocated_at,
        )
        for row in rows
    ]


def list_allocations(session: Session, actor: Actor, wallet_id: UUID) -> list[Allocated]:
    """The allocations of a wallet that the actor may see.

    Raises:
        NotFoundError: if there is no such wallet, or it is another customer's.
    """
    return allocations_of(session, find_wallet(session, actor, wallet_id).id)


def _open_book(session: Session, wallet: Wallet) -> _Book:
    """What of lots and demands is not allocated yet, in the order of their postings."""
    given: dict[UUID, list[int]] = {}
    taken: dict[UUID, list[int]] = {}
    for done in session.scalars(select(LotAllocation).filter_by(wallet_id=wallet.id)):
        for sums, key in ((given, done.lot_id), (taken, done.used_by_id)):
            sums.setdefault(key, [0, 0])
            sums[key][0] += done.credit_units
            sums[key][1] += done.tax_units
    book = _Book()
    names = {"wallet": wallet.id, "account": wallet.account_id, "currency": wallet.currency}
    for row in session.execute(_POSTED, names):
        credit_units, tax_units = _moved(row)
        if wallet.advance_policy is AdvancePolicy.TAX_INVOICE:
            tax_units = 0  # charged on the invoice of the top-up: none is left to adjust
        takes = _is_use(row) or credit_units < 0
        gone = (taken if takes else given).get(row.id, [0, 0])
        left = abs(credit_units) - gone[0], abs(tax_units) - gone[1]
        if takes:
            only_lot = ended_lot(LedgerKind(row.kind), row.reference)
            book.demands.append(Demand(row.id, *left, _origin(row), only_lot))
        else:
            turn = Turn() if row.priority is None else Turn(row.priority, row.expires_at)
            book.supplies.append(Supply(row.id, origin_of(row.reference), *left, turn))
    return book


def _origin(row: Any) -> str | None:
    if row.kind in {LedgerKind.REFUND, LedgerKind.DEPOSIT_REFUND}:
        return origin_of(row.reference)
    return str(row.reference) if row.kind == LedgerKind.INVOICE else None


def _is_use(row: Any) -> bool:
    return bool(row.kind == LedgerKind.INVOICE)


def _moved(row: Any) -> tuple[int, int]:
    """Credits and tax of a posting; what an invoice takes over it takes as revenue."""
    if _is_use(row) and not row.wallet:
        return int(row.revenue), int(row.tax)
    return int(row.wallet), int(row.tax)
