"""Storing a timeline: its segments as they stand, and the change that made them so."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.commands import Context
from billing.coupons.rates import end_with_period
from billing.errors import PreconditionError
from billing.invoices.tables import Invoice, InvoiceLine, InvoiceOrigin, InvoiceStatus
from billing.periods import Period
from billing.subscriptions.part import Part
from billing.subscriptions.periods import drop_outdated
from billing.subscriptions.repository import get_subscription, segments_of
from billing.subscriptions.tables import (
    ChangeKind,
    Proration,
    Subscription,
    SubscriptionChange,
    SubscriptionSegment,
    SubscriptionStatus,
)
from billing.subscriptions.timeline import Timeline

PARTS: TypeAdapter[tuple[Part, ...]] = TypeAdapter(tuple[Part, ...])
"""How a change writes down the segments."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What a change makes of a subscription, not stored yet."""

    kind: ChangeKind
    day: date
    proration: Proration | None
    timeline: Timeline
    status: SubscriptionStatus = SubscriptionStatus.ACTIVE
    cuts: Period | None = None
    """The whole period that it cuts short, by another interval."""

    @property
    def bills_from(self) -> date:
        """First day whose bill it can alter."""
        calendar = self.timeline.calendar
        if self.cuts is not None:
            start = calendar.period(self.day - timedelta(days=1)).start
        elif self.proration in {None, Proration.PRORATE}:
            return self.day
        else:
            start = calendar.period(self.day).start
        return max(start, self.timeline.starts_on)


def timeline_of(session: Session, subscription: Subscription) -> Timeline:
    """The segments of a subscription as a value."""
    rows = segments_of(session, subscription.id)
    return Timeline.of(subscription.cycle, (_part(row) for row in rows))


def store(
    ctx: Context,
    subscription: Subscription,
    planned: Planned,
    *,
    undoes_id: UUID | None = None,
    migration_id: UUID | None = None,
) -> SubscriptionChange:
    """Make a change the subscription as it stands, and write down what it was.

    Raises:
        PreconditionError: if an issued invoice covers a day whose bill would change.
    """
    refuse_billed(ctx.session, subscription.account_id, planned.bills_from)
    last = ctx.session.scalar(
        select(func.max(SubscriptionChange.number)).filter_by(subscription_id=subscription.id)
    )
    rows = {row.id: row for row in segments_of(ctx.session, subscription.id)}
    before = _snapshot(subscription.status, [_part(row) for row in rows.values()])
    kept = {part.id for part in planned.timeline.all_parts}
    for row in rows.values():
        if row.id not in kept:
            ctx.session.delete(row)
    ctx.session.flush()  # what takes the place of a segment may begin on its day
    for part in planned.timeline.all_parts:
        row = rows.get(part.id) or SubscriptionSegment(id=part.id, subscription_id=subscription.id)
        _write(row, part)
        ctx.session.add(row)
    subscription.ends_on = planned.timeline.ends_on
    subscription.status = planned.status
    subscription.updated_at = ctx.clock.now()
    change = SubscriptionChange(
        subscription_id=subscription.id,
        number=(last or 0) + 1,
        kind=planned.kind,
        effective_on=planned.day,
        bills_from=planned.bills_from,
        proration=planned.proration,
        before=before if rows else None,
        after=_snapshot(planned.status, planned.timeline.all_parts),
        undoes_id=undoes_id,
        migration_id=migration_id,
        made_by=ctx.actor.name,
        made_at=ctx.clock.now(),
    )
    ctx.session.add(change)
    if planned.cuts is not None:
        end_with_period(ctx.session, subscription.id, planned.day, planned.cuts.end)
    ctx.session.flush()
    drop_outdated(ctx.session, subscription, billed_until(ctx.session, subscription.account_id))
    return change


def undone(
    session: Session, subscription: Subscription, change_id: UUID
) -> tuple[SubscriptionChange, Planned]:
    """The subscription as it was before its latest change.

    Raises:
        PreconditionError: if that change is not the latest that stands.
    """
    changes = changes_of(session, subscription.id)
    gone = {change.undoes_id for change in changes}
    standing = [
        change for change in changes if change.id not in gone and change.kind is not ChangeKind.UNDO
    ]
    latest = standing[-1] if standing else None
    if latest is None or latest.id != change_id:
        raise PreconditionError(
            "Only the latest change that stands can be undone.",
            code="not_latest",
            details={"change_id": None if latest is None else str(latest.id)},
        )
    if latest.before is None:
        raise PreconditionError(
            "A start is not undone; end the subscription, with nothing to bill if so agreed.",
            code="cannot_undo_start",
        )
    parts = PARTS.validate_python(latest.before["segments"])
    planned = Planned(
        ChangeKind.UNDO,
        latest.bills_from,
        None,
        Timeline.of(subscription.cycle, parts),
        SubscriptionStatus(latest.before["status"]),
    )
    return latest, planned


def changes_of(session: Session, subscription_id: UUID) -> Sequence[SubscriptionChange]:
    """A subscription's changes in the order they were made, whoever asks."""
    return session.scalars(
        select(SubscriptionChange)
        .filter_by(subscription_id=subscription_id)
        .order_by(SubscriptionChange.number)
    ).all()


def list_changes(
    session: Session, actor: Actor, subscription_id: UUID
) -> Sequence[SubscriptionChange]:
    """A subscription's changes in the order they were made."""
    return changes_of(session, get_subscription(session, actor, subscription_id).id)


def billed_until(session: Session, account_id: UUID) -> date | None:
    """The first local day of an account that no issued invoice of its usage covers."""
    issued = (
        Invoice.origin == InvoiceOrigin.RATED,
        Invoice.status.in_([InvoiceStatus.DUE, InvoiceStatus.PAID]),
    )
    own = select(func.max(Invoice.period_end)).where(Invoice.account_id == account_id, *issued)
    shared = (
        select(func.max(InvoiceLine.period_end))
        .join(Invoice, Invoice.id == InvoiceLine.invoice_id)
        .where(InvoiceLine.account_id == account_id, *issued)
    )
    days = [day for day in (session.scalar(own), session.scalar(shared)) if day is not None]
    return max(days, default=None)


def refuse_billed(session: Session, account_id: UUID, day: date) -> None:
    """Refuse a change inside a period that an issued invoice already covers."""
    until = billed_until(session, account_id)
    if until is not None and day < until:
        raise PreconditionError(
            f"The account is invoiced up to {until}; change from that day on.",
            code="already_billed",
        )


def _snapshot(status: SubscriptionStatus, parts: Sequence[Part]) -> dict[str, Any]:
    return {
        "status": status.value,
        "segments": PARTS.dump_python(tuple(parts), mode="json"),
    }


def _part(row: SubscriptionSegment) -> Part:
    return Part(
        id=row.id,
        plan_version_id=row.plan_version_id,
        quantity=row.quantity,
        phase=row.phase,
        starts_on=row.starts_on,
        ends_on=row.ends_on,
        recurring_from=row.recurring_from or row.starts_on,
        recurring_to=row.recurring_to or row.ends_on,
        cycle=row.cycle,
        add_on_id=row.add_on_id,
        added_on=row.added_on,
    )


def _write(row: SubscriptionSegment, part: Part) -> None:
    row.plan_version_id = part.plan_version_id
    row.quantity = part.quantity
    row.phase = part.phase
    row.starts_on, row.ends_on = part.starts_on, part.ends_on
    row.recurring_from = None if part.recurring_from == part.starts_on else part.recurring_from
    row.recurring_to = None if part.recurring_to == part.ends_on else part.recurring_to
    row.add_on_id, row.added_on = part.add_on_id, part.added_on
    row.interval = row.anchor_day = row.anchor_month = None
    if part.cycle is not None:
        row.interval = part.cycle.interval
        row.anchor_day, row.anchor_month = part.cycle.anchor_day, part.cycle.anchor_month
