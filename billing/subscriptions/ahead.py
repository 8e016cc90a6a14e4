"""What lies around billing periods for charges in advance: the next period, and what was billed.

`int_rating__billed_ahead` reads the same from the same invoices.
"""

from collections.abc import Collection, Sequence
from datetime import date, datetime
from itertools import groupby
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Subquery, Text, and_, cast, func, or_, select, true, union
from sqlalchemy.orm import Session, aliased

from billing.errors import PreconditionError
from billing.invoices.tables import (
    Invoice,
    InvoiceLine,
    InvoiceOrigin,
    InvoiceStatus,
    RatingRun,
)
from billing.periods import Period
from billing.rating.ahead import KEPT_END, Ahead, BilledAhead, carried
from billing.subscriptions.history import PARTS, billed_until
from billing.subscriptions.repository import calendars_of
from billing.subscriptions.tables import BillingPeriod, Subscription, SubscriptionChange
from billing.subscriptions.timeline import Timeline

_NOTHING_BILLED: Final[tuple[tuple[BilledAhead, ...], int]] = ((), 0)
_IS_AHEAD: Final = func.split_part(InvoiceLine.line_ref, ":", 3) >= func.to_char(
    InvoiceLine.period_end, "YYYYMMDD"
)
"""Of a line that is for days after the period whose invoice it is on."""


def ahead_of(session: Session, billing_period_ids: Collection[UUID]) -> dict[UUID, Ahead]:
    """Of billing periods by id, as far as their next periods are made."""
    own, before, following = (aliased(BillingPeriod) for _ in range(3))
    rows = session.execute(
        select(own.id, before.id, following)
        .outerjoin(
            before,
            and_(before.subscription_id == own.subscription_id, before.ends_on == own.starts_on),
        )
        .outerjoin(
            following,
            and_(
                following.subscription_id == own.subscription_id,
                following.starts_on == own.ends_on,
            ),
        )
        .where(own.id.in_(billing_period_ids))
    ).all()
    billed = _billed_by(session, {before_id for _, before_id, _ in rows if before_id is not None})
    return {
        period_id: Ahead(
            None if after is None else Period(after.starts_on, after.ends_on),
            None if after is None else Period(after.full_starts_on, after.full_ends_on),
            *billed.get(before_id, _NOTHING_BILLED),
        )
        for period_id, before_id, after in rows
    }


def billed_for(
    session: Session, subscription_id: UUID, starts_on: date
) -> tuple[tuple[BilledAhead, ...], int]:
    """What the invoice of the period before billed for the one that starts on a day.

    Also returns the credit that it kept, in minor units.
    """
    before = session.scalars(
        select(BillingPeriod.id).filter_by(subscription_id=subscription_id, ends_on=starts_on)
    ).all()
    return next(iter(_billed_by(session, before).values()), _NOTHING_BILLED)


def _billed_by(
    session: Session, billing_period_ids: Collection[UUID]
) -> dict[UUID, tuple[tuple[BilledAhead, ...], int]]:
    """What the invoices of periods billed for the ones after them, and the credit they kept."""
    invoices = _invoices(billing_period_ids)
    prefix = (
        cast(BillingPeriod.subscription_id, Text)
        + func.to_char(BillingPeriod.starts_on, ":YYYYMMDD:")
    ).label("prefix")
    lines = session.execute(
        select(
            BillingPeriod.id,
            BillingPeriod.ends_on,
            func.substr(InvoiceLine.line_ref, func.length(prefix) + 1).label("key"),
            InvoiceLine.amount_minor,
            InvoiceLine.tier_breakdown,
            Invoice.currency,
        )
        .join(invoices, invoices.c.billing_period_id == BillingPeriod.id)
        .join(Invoice, Invoice.id == invoices.c.invoice_id)
        .join(InvoiceLine, InvoiceLine.invoice_id == Invoice.id)
        .where(Invoice.status != InvoiceStatus.VOID, func.starts_with(InvoiceLine.line_ref, prefix))
        .order_by(BillingPeriod.id, InvoiceLine.line_ref)
    ).all()
    billed = {}
    for period_id, found in groupby(lines, key=lambda line: line.id):
        first, *others = found
        said = [(one.key, one.amount_minor, one.tier_breakdown) for one in (first, *others)]
        billed[period_id] = carried(said, first.ends_on, first.currency)
    return billed


def following_in(timeline: Timeline, day: date) -> tuple[Period, Period] | None:
    """The period that begins on a day in the life of a subscription, and its whole one."""
    if timeline.ends_on is not None and timeline.ends_on <= day:
        return None
    end = timeline.calendar.period(day).end
    return Period(day, min(end, timeline.ends_on or end)), timeline.calendar.containing(day)


def timelines_when_issued(
    session: Session, periods: Collection[BillingPeriod]
) -> dict[UUID, Timeline]:
    """The segments that the issued invoices of periods knew, where they were changed since.

    What it billed ahead is explained and replayed by these; the next invoice settles the change.
    """
    rated_at = _rated_at(session, [period.id for period in periods])
    issued = [period for period in periods if period.id in rated_at]
    changes = _changes(session, {period.subscription_id for period in issued})
    known = {}
    for period in issued:
        found = changes[period.subscription_id]
        before = [after for made_at, after in found if made_at <= rated_at[period.id]]
        if before and found[-1][0] > rated_at[period.id]:
            known[period] = before[-1]
    cycles = {
        row.id: row.cycle
        for row in session.scalars(
            select(Subscription).where(
                Subscription.id.in_({period.subscription_id for period in known})
            )
        )
    }
    return {
        period.id: Timeline.of(
            cycles[period.subscription_id], PARTS.validate_python(after["segments"])
        )
        for period, after in known.items()
    }


def _rated_at(session: Session, billing_period_ids: Collection[UUID]) -> dict[UUID, datetime]:
    """When the issued invoices of periods were rated, of those that have one."""
    invoices = _invoices(billing_period_ids)
    rows = session.execute(
        select(BillingPeriod.id, func.max(RatingRun.started_at))
        .join(invoices, invoices.c.billing_period_id == BillingPeriod.id)
        .join(Invoice, Invoice.id == invoices.c.invoice_id)
        .join(RatingRun, RatingRun.id == Invoice.rating_run_id)
        .where(
            Invoice.status.in_([InvoiceStatus.DUE, InvoiceStatus.PAID]),
            Invoice.period_start <= BillingPeriod.starts_on,
            Invoice.period_end >= BillingPeriod.ends_on,
        )
        .group_by(BillingPeriod.id)
    )
    return {row[0]: row[1] for row in rows}


def _changes(
    session: Session, subscription_ids: Collection[UUID]
) -> dict[UUID, list[tuple[datetime, dict[str, Any]]]]:
    """When subscriptions were changed, and to what, in the order that it was done."""
    found: dict[UUID, list[tuple[datetime, dict[str, Any]]]] = {one: [] for one in subscription_ids}
    rows = session.execute(
        select(
            SubscriptionChange.subscription_id,
            SubscriptionChange.made_at,
            SubscriptionChange.after,
        )
        .where(SubscriptionChange.subscription_id.in_(subscription_ids))
        .order_by(SubscriptionChange.number)
    ).all()
    for row in rows:
        found[row.subscription_id].append((row.made_at, row.after))
    return found


def refuse_billed_ahead(session: Session, account_id: UUID, charge_code: str, day: date) -> None:
    """Refuse another price from a day on that an issued invoice has billed the charge for.

    A changed plan is settled by the next invoice; a price that was agreed is not kept as it was, so
    what was billed by it could not be worked out again.

    Raises:
        PreconditionError: if so.
    """
    names = session.scalars(
        select(InvoiceLine.line_ref)
        .join(Invoice, Invoice.id == InvoiceLine.invoice_id)
        .where(
            or_(Invoice.account_id == account_id, InvoiceLine.account_id == account_id),
            Invoice.origin == InvoiceOrigin.RATED,
            Invoice.status.in_([InvoiceStatus.DUE, InvoiceStatus.PAID]),
            func.split_part(InvoiceLine.line_ref, ":", 4) == charge_code,
            _IS_AHEAD,
        )
    )
    for name in names:
        subscription_id, _, first_day, _, _ = name.split(":")
        subscription = session.get_one(Subscription, UUID(subscription_id))
        calendar = calendars_of(session, [subscription])[subscription.id]
        until = calendar.containing(date.fromisoformat(first_day)).end
        if day < until:
            raise PreconditionError(
                f"{charge_code} is billed in advance up to {until}; agree on a price from that "
                "day on.",
                code="already_billed",
            )


def is_built_on(session: Session, invoice: Invoice) -> bool:
    """Whether an issued invoice settled what this one billed in advance, or a credit it kept."""
    for line in invoice.lines:
        parts = line.line_ref.split(":")
        is_ahead = len(parts) == 5 and parts[2] >= f"{line.period_end:%Y%m%d}"
        if is_ahead or line.line_ref.endswith(KEPT_END):
            until = billed_until(session, line.account_id or invoice.account_id)
            if until is not None and until > line.period_end:
                return True
    return False


def too_early(session: Session, drafts: Collection[Invoice]) -> dict[UUID, PreconditionError]:
    """Drafts, by id, whose lines rest on an earlier draft that is not issued with them.

    What that one bills ahead, or keeps as credit, can change as long as it is a draft.
    """
    accounts = func.any(
        list({line.account_id or one.account_id for one in drafts for line in one.lines})
    )
    is_waiting = (
        Invoice.id == InvoiceLine.invoice_id,
        Invoice.origin == InvoiceOrigin.RATED,
        Invoice.status == InvoiceStatus.DRAFT,
        Invoice.id != func.all([one.id for one in drafts]),
    )
    rests_on = or_(_IS_AHEAD, InvoiceLine.line_ref.endswith(KEPT_END))
    # Two queries, because each finds its accounts by an index: the drafts of a month are many.
    of_its_own = select(Invoice.account_id, InvoiceLine.period_end).where(
        *is_waiting, InvoiceLine.account_id.is_(None), Invoice.account_id == accounts, rests_on
    )
    of_a_waiting = select(true()).where(*is_waiting).correlate(InvoiceLine).scalar_subquery()
    shared = select(InvoiceLine.account_id, InvoiceLine.period_end).where(
        InvoiceLine.account_id == accounts, rests_on, of_a_waiting
    )
    waiting: Sequence[Any] = session.execute(union(of_its_own, shared)).all()
    if not waiting:
        return {}
    refused = {}
    for one in drafts:
        mine = {line.account_id or one.account_id for line in one.lines}
        days = [day for account, day in waiting if account in mine and day <= one.period_start]
        if one.origin is InvoiceOrigin.RATED and days:
            refused[one.id] = PreconditionError(
                f"The draft up to {max(days)} bills in advance for this one; issue that first.",
                code="earlier_draft",
            )
    return refused


def _invoices(billing_period_ids: Collection[UUID]) -> Subquery:
    """The rated invoices of their months that may have periods' lines: their own, or shared ones.

    Both columns are ids: `billing_period_id`, `invoice_id`.
    """
    pairs = select(BillingPeriod.id.label("billing_period_id"), Invoice.id.label("invoice_id"))
    wanted = (
        BillingPeriod.id.in_(billing_period_ids),
        Invoice.invoice_month == BillingPeriod.invoice_month,
        Invoice.origin == InvoiceOrigin.RATED,
    )
    own = pairs.join(Invoice, Invoice.account_id == BillingPeriod.account_id)
    shared = pairs.join(InvoiceLine, InvoiceLine.account_id == BillingPeriod.account_id).join(
        Invoice, Invoice.id == InvoiceLine.invoice_id
    )
    return union(own.where(*wanted), shared.where(*wanted)).subquery()
