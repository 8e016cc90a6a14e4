"""What lies around billing periods for charges in advance: the next period, and what was billed.

`int_rating__billed_ahead` reads the same from the same invoices.
"""

from collections.abc import Collection, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import CompoundSelect, and_, func, or_, select, union
from sqlalchemy.orm import Session, aliased

from billing.errors import PreconditionError
from billing.invoices.tables import (
    Invoice,
    InvoiceLine,
    InvoiceOrigin,
    InvoiceStatus,
    RatingRun,
)
from billing.money import to_minor
from billing.periods import Period
from billing.rating.ahead import Ahead, BilledAhead
from billing.rating.line import COUPON, CREDIT, KEPT
from billing.subscriptions.history import PARTS, billed_until
from billing.subscriptions.repository import calendars_of
from billing.subscriptions.tables import BillingPeriod, Subscription, SubscriptionChange
from billing.subscriptions.timeline import Timeline

_TAKEN_OFF: Final = frozenset({COUPON, CREDIT})
"""Entries of a line that make it smaller after it was rated."""
_KEPT_END: Final = f":{CREDIT}:{KEPT}"
"""How the name of a line ends that keeps credit for the next invoice."""
_IS_AHEAD: Final = func.split_part(InvoiceLine.line_ref, ":", 3) >= func.to_char(
    InvoiceLine.period_end, "YYYYMMDD"
)
"""Of a line that is for days after the period whose invoice it is on."""


def ahead_of(session: Session, billing_period_ids: Collection[UUID]) -> dict[UUID, Ahead]:
    """Of billing periods by id, as far as their next periods are made."""
    own, following = aliased(BillingPeriod), aliased(BillingPeriod)
    rows = session.execute(
        select(own.id, own.subscription_id, own.starts_on, following)
        .outerjoin(
            following,
            and_(
                following.subscription_id == own.subscription_id,
                following.starts_on == own.ends_on,
            ),
        )
        .where(own.id.in_(billing_period_ids))
    ).all()
    found = {}
    for period_id, subscription_id, starts_on, after in rows:
        billed, kept = billed_for(session, subscription_id, starts_on)
        found[period_id] = Ahead(
            None if after is None else Period(after.starts_on, after.ends_on),
            None if after is None else Period(after.full_starts_on, after.full_ends_on),
            billed,
            kept,
        )
    return found


def billed_for(
    session: Session, subscription_id: UUID, starts_on: date
) -> tuple[tuple[BilledAhead, ...], int]:
    """What the invoice of the period before billed for the one that starts on a day.

    Also returns the credit that it kept, in minor units.
    """
    before = session.scalars(
        select(BillingPeriod).filter_by(subscription_id=subscription_id, ends_on=starts_on)
    ).first()
    if before is None:
        return (), 0
    prefix = f"{subscription_id}:{before.starts_on:%Y%m%d}:"
    lines = session.execute(
        select(InvoiceLine, Invoice.currency)
        .join(Invoice, Invoice.id == InvoiceLine.invoice_id)
        .where(
            Invoice.id.in_(_invoices(before)),
            Invoice.status != InvoiceStatus.VOID,
            InvoiceLine.line_ref.startswith(prefix, autoescape=True),
        )
        .order_by(InvoiceLine.line_ref)
    ).all()
    billed = []
    kept = 0
    for line, currency in lines:
        key = line.line_ref.removeprefix(prefix)
        if key.endswith(_KEPT_END):
            kept += sum(to_minor(Decimal(one["left"]), currency) for one in line.tier_breakdown)
        elif key.split(":")[0] >= f"{starts_on:%Y%m%d}":
            gross = line.amount_minor + _taken_off(line.tier_breakdown, _TAKEN_OFF, currency)
            paid = gross - _taken_off(line.tier_breakdown, {COUPON}, currency)
            billed.append(BilledAhead(key, gross, paid))
    return tuple(billed), kept


def following_in(timeline: Timeline, day: date) -> tuple[Period, Period] | None:
    """The period that begins on a day in the life of a subscription, and its whole one."""
    if timeline.ends_on is not None and timeline.ends_on <= day:
        return None
    whole = timeline.calendar.containing(day)
    return Period(day, min(whole.end, timeline.ends_on or whole.end)), whole


def timeline_when_issued(session: Session, period: BillingPeriod) -> Timeline | None:
    """The segments that the issued invoice of a period knew, if they were changed since.

    What it billed ahead is explained and replayed by these; the next invoice settles the change.
    """
    last = session.scalars(
        select(SubscriptionChange)
        .filter_by(subscription_id=period.subscription_id)
        .order_by(SubscriptionChange.number.desc())
        .limit(1)
    ).first()
    if last is None:
        return None
    rated_at = session.scalar(
        select(func.max(RatingRun.started_at))
        .join(Invoice, Invoice.rating_run_id == RatingRun.id)
        .where(
            Invoice.id.in_(_invoices(period)),
            Invoice.status.in_([InvoiceStatus.DUE, InvoiceStatus.PAID]),
            Invoice.period_start <= period.starts_on,
            Invoice.period_end >= period.ends_on,
        )
    )
    if rated_at is None or last.made_at <= rated_at:
        return None
    known = session.scalar(
        select(SubscriptionChange.after)
        .where(
            SubscriptionChange.subscription_id == period.subscription_id,
            SubscriptionChange.made_at <= rated_at,
        )
        .order_by(SubscriptionChange.number.desc())
        .limit(1)
    )
    if known is None:
        return None
    cycle = session.get_one(Subscription, period.subscription_id).cycle
    return Timeline.of(cycle, PARTS.validate_python(known["segments"]))


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
        if is_ahead or line.line_ref.endswith(_KEPT_END):
            until = billed_until(session, line.account_id or invoice.account_id)
            if until is not None and until > line.period_end:
                return True
    return False


def too_early(session: Session, drafts: Collection[Invoice]) -> dict[UUID, PreconditionError]:
    """Drafts, by id, whose lines rest on an earlier draft that is not issued with them.

    What that one bills ahead, or keeps as credit, can change as long as it is a draft.
    """
    accounts = {line.account_id or one.account_id for one in drafts for line in one.lines}
    account_id = func.coalesce(InvoiceLine.account_id, Invoice.account_id)
    waiting = session.execute(
        select(account_id, InvoiceLine.period_end)
        .join(Invoice, Invoice.id == InvoiceLine.invoice_id)
        .where(
            account_id.in_(accounts),
            Invoice.origin == InvoiceOrigin.RATED,
            Invoice.status == InvoiceStatus.DRAFT,
            Invoice.id.not_in([one.id for one in drafts]),
            or_(_IS_AHEAD, InvoiceLine.line_ref.endswith(_KEPT_END)),
        )
        .distinct()
    ).all()
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


def _invoices(period: BillingPeriod) -> CompoundSelect[tuple[UUID]]:
    """The rated invoices of its month that may have a period's lines: its own, or shared ones."""
    shared = (
        select(InvoiceLine.invoice_id)
        .join(Invoice, Invoice.id == InvoiceLine.invoice_id)
        .where(InvoiceLine.account_id == period.account_id)
    )
    own = select(Invoice.id).where(Invoice.account_id == period.account_id)
    wanted = (
        Invoice.invoice_month == period.invoice_month,
        Invoice.origin == InvoiceOrigin.RATED,
    )
    return union(own.where(*wanted), shared.where(*wanted))


def _taken_off(
    entries: Collection[Mapping[str, Any]], kinds: Collection[str], currency: str
) -> int:
    return -sum(
        to_minor(Decimal(one["amount"]), currency) for one in entries if one.get("kind") in kinds
    )
