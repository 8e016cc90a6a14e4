"""What a change would bill, before it is made. Nothing is stored."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from uuid import UUID

from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.catalog.rated import load_rated
from billing.clock import Clock
from billing.coupons.rates import coupon_of
from billing.customers.repository import get_account
from billing.customers.tables import Account
from billing.overrides.rates import Agreement, agreements_of
from billing.periods import Period
from billing.rating import plan
from billing.rating.ahead import Ahead
from billing.rating.measures import read_singly
from billing.rating.rater import Rating, rate_period
from billing.subscriptions.ahead import billed_for, following_in
from billing.subscriptions.history import Planned, refuse_billed, timeline_of
from billing.subscriptions.planning import plan_change, plan_start
from billing.subscriptions.repository import get_subscription
from billing.subscriptions.requests import AnyChoice, Subscribe
from billing.subscriptions.tables import ChangeKind
from billing.subscriptions.timeline import Timeline
from billing.usage.so_far import usage_so_far

_NOT_YET = UUID(int=0)


@dataclass(frozen=True, slots=True)
class NextInvoice:
    """The lines of one billing period before tax, with the usage known so far."""

    period: Period
    rating: Rating

    @property
    def amount_minor(self) -> int:
        """What they come to, each rounded once."""
        return sum(line.amount_minor for line in self.rating.lines)


@dataclass(frozen=True, slots=True)
class ChangePreview:
    """The invoice of the period in which a change begins, without it and with it."""

    kind: ChangeKind
    effective_on: date
    currency: str
    timeline: Timeline
    before: NextInvoice | None
    """None where nothing would be billed at all."""
    after: NextInvoice | None

    @property
    def difference_minor(self) -> int:
        """How much more the invoice is with the change."""
        before = 0 if self.before is None else self.before.amount_minor
        return (0 if self.after is None else self.after.amount_minor) - before


def preview_start(session: Session, actor: Actor, wish: Subscribe) -> ChangePreview:
    """The first invoice of a subscription that does not exist yet."""
    actor.require(Permission.SUBSCRIPTIONS_READ)
    account = get_account(session, actor, wish.account_id)
    planned = plan_start(session, account, wish)
    return compare(session, account, _NOT_YET, None, planned)


def preview_change(
    session: Session, actor: Actor, clock: Clock, subscription_id: UUID, wish: AnyChoice
) -> ChangePreview:
    """The next invoice of a subscription without a change and with it.

    Raises:
        PreconditionError: if the change could not be made.
    """
    subscription = get_subscription(session, actor, subscription_id)
    account = get_account(session, actor, subscription.account_id)
    planned = plan_change(session, clock, subscription, account, wish)
    now = timeline_of(session, subscription)
    return compare(session, account, subscription.id, now, planned)


def next_invoice(
    session: Session, actor: Actor, subscription_id: UUID, day: date
) -> NextInvoice | None:
    """The invoice of the period of a day as things stand, or None where nothing is billed."""
    subscription = get_subscription(session, actor, subscription_id)
    account = get_account(session, actor, subscription.account_id)
    now = timeline_of(session, subscription)
    whole = now.calendar.containing(day)
    usage = usage_so_far(session, account.id, account.zone, whole, _read_singly(session, now))
    agreed = agreements_of(session, [account.id]).get(account.id, ())
    return _invoice(session, account, subscription.id, now, whole, usage, agreed)


def compare(
    session: Session,
    account: Account,
    subscription_id: UUID,
    now: Timeline | None,
    planned: Planned,
    *,
    dropped: frozenset[int] = frozenset(),
) -> ChangePreview:
    """The invoice of the period in which a change begins, without it and with it.

    Args:
        dropped: the numbers of the account's overrides that end with the change.
    """
    refuse_billed(session, account.id, planned.bills_from)
    wholes = [one.calendar.containing(planned.day) for one in (now, planned.timeline) if one]
    days = Period(min(one.start for one in wholes), max(one.end for one in wholes))
    singly = _read_singly(session, now, planned.timeline)
    usage = usage_so_far(session, account.id, account.zone, days, singly)
    agreed = agreements_of(session, [account.id]).get(account.id, ())
    before = None
    if now is not None:
        before = _invoice(session, account, subscription_id, now, wholes[0], usage, agreed)
    agreed = tuple(
        _until(one, planned.day) if one.rate.ordinal in dropped else one for one in agreed
    )
    return ChangePreview(
        kind=planned.kind,
        effective_on=planned.day,
        currency=account.currency,
        timeline=planned.timeline,
        before=before,
        after=_invoice(
            session, account, subscription_id, planned.timeline, wholes[-1], usage, agreed
        ),
    )


def _read_singly(session: Session, *timelines: Timeline | None) -> frozenset[str]:
    versions = {part.plan_version_id for one in timelines if one for part in one.all_parts}
    rated = load_rated(session, versions).values()
    return read_singly(charge for version in rated for charge in version.charges)


def _invoice(
    session: Session,
    account: Account,
    subscription_id: UUID,
    timeline: Timeline,
    whole: Period,
    usage: Sequence[plan.UsageRow],
    agreed: Sequence[Agreement],
) -> NextInvoice | None:
    life = Period(timeline.starts_on, timeline.ends_on or date.max)
    period = whole.intersection(life)
    if period is None:
        return None
    versions = load_rated(session, {part.plan_version_id for part in timeline.all_parts})
    segments = [
        plan.Segment(
            part.starts_on,
            part.ends_on,
            versions[part.plan_version_id].agreed(agreed),
            part.quantity,
            part.recurring_from,
            part.recurring_to,
            versions[part.plan_version_id].plan_id,
            part.added_on,
        )
        for part in timeline.all_parts
    ]
    rating = rate_period(
        subscription_id,
        period,
        segments,
        usage,
        currency=account.currency,
        whole=whole,
        subscribed_on=timeline.starts_on,
        coupon=coupon_of(session, subscription_id, period.start, account.currency),
        ahead=_around(session, subscription_id, timeline, period),
    )
    return NextInvoice(period, rating)


def _around(session: Session, subscription_id: UUID, timeline: Timeline, period: Period) -> Ahead:
    """The period after it as the timeline says, and what was billed in advance for it."""
    billed, kept = billed_for(session, subscription_id, period.start)
    following, whole = following_in(timeline, period.end) or (None, None)
    return Ahead(following, whole, billed, kept)


def _until(agreement: Agreement, day: date) -> Agreement:
    return replace(agreement, rate=replace(agreement.rate, ends_on=day))
