"""What a change would bill, before it is made. Nothing is stored."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
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
from billing.rating.ahead import Ahead, carried, key_of
from billing.rating.coupon import Coupon
from billing.rating.measures import read_singly
from billing.rating.rater import Rating, rate_period
from billing.subscriptions.ahead import billed_for, following_in
from billing.subscriptions.history import Planned, refuse_billed, timeline_of
from billing.subscriptions.part import Part
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
    then: NextInvoice | None = None
    """That of the new interval's first period, if the change cuts the running one short."""

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
    world = _World(session, account, subscription.id, now.calendar.period(day), [now])
    return world.invoice(now, day)


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
    timelines = [one for one in (now, planned.timeline) if one]
    first = planned.day if planned.cuts is None else planned.day - timedelta(days=1)
    periods = [one.calendar.period(day) for one in timelines for day in (first, planned.day)]
    days = Period(min(one.start for one in periods), max(one.end for one in periods))
    world = _World(session, account, subscription_id, days, timelines)
    before = None if now is None else world.invoice(now, first)
    world.agreed = tuple(
        _until(one, planned.day) if one.rate.ordinal in dropped else one for one in world.agreed
    )
    after = world.invoice(planned.timeline, first)
    then = None
    if planned.cuts is not None and after is not None:
        then = world.invoice(planned.timeline, planned.day, after)
    return ChangePreview(
        planned.kind, planned.day, account.currency, planned.timeline, before, after, then
    )


class _World:
    """What invoices of a subscription are worked out from: usage, versions and agreed prices."""

    def __init__(
        self,
        session: Session,
        account: Account,
        subscription_id: UUID,
        days: Period,
        timelines: Sequence[Timeline],
    ) -> None:
        self.session, self.account, self.subscription_id = session, account, subscription_id
        ids = {part.plan_version_id for one in timelines for part in one.all_parts}
        self.versions = load_rated(session, ids)
        singly = read_singly(one for version in self.versions.values() for one in version.charges)
        self.usage = usage_so_far(session, account.id, account.zone, days, singly)
        self.agreed: Sequence[Agreement] = agreements_of(session, [account.id]).get(account.id, ())

    def invoice(
        self, timeline: Timeline, day: date, earlier: NextInvoice | None = None
    ) -> NextInvoice | None:
        """That of the period of a day, or None where nothing is billed.

        Args:
            earlier: the one before, if it is not made yet.
        """
        life = Period(timeline.starts_on, timeline.ends_on or date.max)
        period = timeline.calendar.period(day).intersection(life)
        if period is None:
            return None
        rating = rate_period(
            self.subscription_id,
            period,
            [self._segment(part) for part in timeline.all_parts],
            self.usage,
            currency=self.account.currency,
            whole=timeline.calendar.containing(period.start),
            subscribed_on=timeline.starts_on,
            coupon=self._coupon(timeline, period.start, earlier),
            ahead=self._around(timeline, period, earlier),
        )
        return NextInvoice(period, rating)

    def _segment(self, part: Part) -> plan.Segment:
        version = self.versions[part.plan_version_id]
        return plan.Segment(
            part.starts_on,
            part.ends_on,
            version.agreed(self.agreed),
            part.quantity,
            part.recurring_from,
            part.recurring_to,
            version.plan_id,
            part.added_on,
        )

    def _coupon(self, timeline: Timeline, day: date, earlier: NextInvoice | None) -> Coupon | None:
        """That of the period of a day, unless it ends with the one before, which was longer."""
        code = self.account.currency
        if earlier is not None:
            end = timeline.calendar.containing(earlier.period.start).end
            if coupon_of(self.session, self.subscription_id, end, code) is None:
                return None
        return coupon_of(self.session, self.subscription_id, day, code)

    def _around(self, timeline: Timeline, period: Period, earlier: NextInvoice | None) -> Ahead:
        """The period after it as the timeline says, and what was billed in advance for it."""
        following, whole = following_in(timeline, period.end) or (None, None)
        if earlier is None:
            billed, kept = billed_for(self.session, self.subscription_id, period.start)
        else:
            lines = earlier.rating.lines
            said = [(key_of(one), one.amount_minor, one.tier_breakdown) for one in lines]
            billed, kept = carried(said, earlier.period.end, self.account.currency)
        return Ahead(following, whole, billed, kept)


def _until(agreement: Agreement, day: date) -> Agreement:
    return replace(agreement, rate=replace(agreement.rate, ends_on=day))
