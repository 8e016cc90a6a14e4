"""What a gateway's own list and our books say about the same money, side by side.

A movement is a capture or a refund by the gateway's name for it. Both sides are compared movement
by movement; whatever is not the same on both is named. The result is kept as a run.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from pydantic import Field
from sqlalchemy import Index, or_, select
from sqlalchemy.orm import Mapped, Session, mapped_column
from sqlalchemy.schema import ForeignKey

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Context, Request, command
from billing.db.base import Base, choices
from billing.errors import not_found
from billing.ids import new_id
from billing.payments.effects import picture_of
from billing.payments.tables import Payment, ProviderPayment, Refund, RefundState

_UNFINISHED: Final = "It has not finished."

Key = tuple[str, str | None]
"""A movement's name: the gateway's payment id, and its refund id if money went back."""


class DifferenceKind(StrEnum):
    """In what the two sides differ."""

    MISSING_HERE = "missing_here"
    """The gateway has it; no payment of ours could be brought to have it too."""
    MISSING_THERE = "missing_there"
    """We count it; the gateway does not know of it even when asked about that payment."""
    AMOUNT_DIFFERS = "amount_differs"
    CURRENCY_DIFFERS = "currency_differs"
    REFUND_MISSING_HERE = "refund_missing_here"
    REFUND_MISSING_THERE = "refund_missing_there"
    REFUND_AMOUNT_DIFFERS = "refund_amount_differs"


class ReconciliationRun(Base):
    """One comparison of a gateway with our books over a half-open window."""

    __tablename__ = "reconciliation_runs"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    gateway: Mapped[str]
    since: Mapped[datetime]
    until: Mapped[datetime]
    movements: Mapped[int]
    """Entries of the gateway's list in the window."""
    matched: Mapped[int]
    """Of those and of ours: found the same on both sides."""
    caught_up: Mapped[int]
    """Payments that were asked about because the sides differed at first."""
    differing: Mapped[int]
    """How many differences remained."""
    error: Mapped[str | None]
    """Why the comparison could not be made; then the figures mean nothing."""
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime]


class ReconciliationDifference(Base):
    """One movement that is not the same on both sides."""

    __tablename__ = "reconciliation_differences"
    __table_args__ = (Index("ix_reconciliation_differences_run_id", "run_id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    run_id: Mapped[UUID] = mapped_column(ForeignKey("billing.reconciliation_runs.id"))
    kind: Mapped[DifferenceKind] = mapped_column(choices(DifferenceKind))
    provider_payment_id: Mapped[str]
    refund_id: Mapped[str | None]
    payment_id: Mapped[UUID | None] = mapped_column(ForeignKey("billing.payments.id"))
    their_currency: Mapped[str | None]
    their_amount_minor: Mapped[int | None]
    our_currency: Mapped[str | None]
    our_amount_minor: Mapped[int | None]


class Difference(Request):
    """A difference as it is found."""

    kind: DifferenceKind
    provider_payment_id: str
    refund_id: str | None = None
    payment_id: UUID | None = None
    their_currency: str | None = None
    their_amount_minor: int | None = None
    our_currency: str | None = None
    our_amount_minor: int | None = None


class BeginReconciliation(Request):
    """Which gateway, and how far to look back from now."""

    gateway: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")
    days: int = Field(ge=1, le=400)


class FinishReconciliation(Request):
    """The outcome of a comparison."""

    run_id: UUID
    movements: int = 0
    matched: int = 0
    caught_up: int = 0
    differences: list[Difference] = Field(default_factory=list)
    error: str | None = None


@command("payment.begin_reconciliation", Permission.PAYMENTS_WRITE)
def begin_reconciliation(ctx: Context, request: BeginReconciliation) -> ReconciliationRun:
    """Open a run; until it is finished it carries an error that says so."""
    now = ctx.clock.now()
    run = ReconciliationRun(
        gateway=request.gateway,
        since=now - timedelta(days=request.days),
        until=now,
        movements=0,
        matched=0,
        caught_up=0,
        differing=0,
        error=_UNFINISHED,
        started_at=now,
        finished_at=now,
    )
    ctx.session.add(run)
    return run


@command("payment.finish_reconciliation", Permission.PAYMENTS_WRITE)
def finish_reconciliation(ctx: Context, request: FinishReconciliation) -> ReconciliationRun:
    """Keep the outcome of a comparison, once."""
    run = ctx.session.get_one(ReconciliationRun, request.run_id, with_for_update=True)
    if run.error is None:
        return run
    run.movements, run.matched, run.caught_up = (
        request.movements,
        request.matched,
        request.caught_up,
    )
    run.differing, run.error = len(request.differences), request.error
    run.finished_at = ctx.clock.now()
    ctx.session.add_all(
        ReconciliationDifference(run_id=run.id, **one.model_dump()) for one in request.differences
    )
    return run


@dataclass(frozen=True, slots=True)
class Side:
    """A movement as one side has it."""

    currency: str
    amount_minor: int
    payment_id: UUID | None = None


def our_side(
    session: Session,
    gateway: str,
    since: datetime,
    until: datetime,
    named: Iterable[str],
) -> dict[Key, Side]:
    """Our movements of the payments that are concerned: by time, or because the gateway names them.

    Args:
        named: the gateway's payment ids that its list mentions.
    """
    refunded = select(Refund.payment_id).where(
        Refund.state == RefundState.PROCESSED,
        Refund.updated_at >= since,
        Refund.updated_at < until,
    )
    known = select(ProviderPayment.payment_id).where(
        ProviderPayment.gateway == gateway,
        ProviderPayment.provider_payment_id.in_(sorted(set(named))),
    )
    payments = session.scalars(
        select(Payment).where(
            Payment.gateway == gateway,
            or_(
                (Payment.captured_at >= since) & (Payment.captured_at < until),
                Payment.id.in_(refunded),
                Payment.id.in_(known),
            ),
        )
    ).all()
    ours: dict[Key, Side] = {}
    for payment in payments:
        picture = picture_of(session, payment)
        for name, amount_minor in picture.captured.items():
            ours[name, None] = Side(payment.currency, amount_minor, payment.id)
        for refund_id, amount_minor in picture.refunds.items():
            came_as = picture.refunded_from.get(refund_id, "")
            ours[came_as, refund_id] = Side(payment.currency, amount_minor, payment.id)
    return ours


def compare(theirs: Mapping[Key, Side], ours: Mapping[Key, Side]) -> tuple[int, list[Difference]]:
    """How many movements are the same on both sides, and those that are not, by name."""
    differences: list[Difference] = []
    matched = 0
    for key in sorted(theirs.keys() | ours.keys(), key=lambda one: (one[0], one[1] or "")):
        kind = _kind(key, theirs.get(key), ours.get(key))
        if kind is None:
            matched += 1
        else:
            differences.append(_difference(kind, key, theirs.get(key), ours.get(key)))
    return matched, differences


def _kind(key: Key, their: Side | None, our: Side | None) -> DifferenceKind | None:
    is_refund = key[1] is not None
    if our is None:
        return DifferenceKind.REFUND_MISSING_HERE if is_refund else DifferenceKind.MISSING_HERE
    if their is None:
        return DifferenceKind.REFUND_MISSING_THERE if is_refund else DifferenceKind.MISSING_THERE
    if their.currency != our.currency:
        return DifferenceKind.CURRENCY_DIFFERS
    if their.amount_minor != our.amount_minor:
        return DifferenceKind.REFUND_AMOUNT_DIFFERS if is_refund else DifferenceKind.AMOUNT_DIFFERS
    return None


def _difference(kind: DifferenceKind, key: Key, their: Side | None, our: Side | None) -> Difference:
    payments = [side.payment_id for side in (our, their) if side and side.payment_id]
    return Difference(
        kind=kind,
        provider_payment_id=key[0],
        refund_id=key[1],
        payment_id=payments[0] if payments else None,
        their_currency=their.currency if their else None,
        their_amount_minor=their.amount_minor if their else None,
        our_currency=our.currency if our else None,
        our_amount_minor=our.amount_minor if our else None,
    )


def list_runs(
    session: Session,
    actor: Actor,
    *,
    gateway: str | None = None,
    limit: int = 50,
    after: UUID | None = None,
) -> Sequence[ReconciliationRun]:
    """Runs, newest first."""
    actor.require(Permission.PAYMENTS_READ)
    query = select(ReconciliationRun).order_by(ReconciliationRun.id.desc()).limit(limit)
    if gateway is not None:
        query = query.where(ReconciliationRun.gateway == gateway)
    if after is not None:
        query = query.where(ReconciliationRun.id < after)
    return session.scalars(query).all()


def get_run(session: Session, actor: Actor, run_id: UUID) -> ReconciliationRun:
    """One run.

    Raises:
        NotFoundError: if there is none.
    """
    actor.require(Permission.PAYMENTS_READ)
    run = session.get(ReconciliationRun, run_id)
    if run is None:
        raise not_found("reconciliation", run_id)
    return run


def differences_of(session: Session, run: ReconciliationRun) -> Sequence[ReconciliationDifference]:
    """What differed in a run."""
    return session.scalars(
        select(ReconciliationDifference)
        .filter_by(run_id=run.id)
        .order_by(ReconciliationDifference.id)
    ).all()
