"""Everything that rating a billing period needs to know of its subscription."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.catalog.rated import RatedVersion, load_rated
from billing.coupons.rates import coupon_on, redemptions_of
from billing.customers.tables import Account
from billing.overrides.rates import Agreement, agreements_of
from billing.periods import Period
from billing.rating import plan
from billing.rating.ahead import NOTHING_AHEAD, Ahead
from billing.rating.coupon import Coupon
from billing.rating.measures import read_singly
from billing.rating.rater import Rating, rate_period
from billing.subscriptions.ahead import ahead_of, following_in, timelines_when_issued
from billing.subscriptions.part import Part
from billing.subscriptions.tables import BillingPeriod, Subscription, SubscriptionSegment
from billing.subscriptions.timeline import Timeline


@dataclass(frozen=True, slots=True)
class SegmentInForce:
    """A segment with the version that it is on, and how rating sees it."""

    plan_version_id: UUID
    segment: plan.Segment


@dataclass(frozen=True, slots=True)
class RateablePeriod:
    """A billing period with whose it is, and the prices that were in force on each of its days."""

    row: BillingPeriod
    account: Account
    subscribed_on: date
    segments: Sequence[SegmentInForce]
    ahead: Ahead = NOTHING_AHEAD
    coupon: Coupon | None = None
    known_then: Sequence[SegmentInForce] = ()
    """By which its issued invoice billed ahead, if the segments were changed since."""

    @property
    def period(self) -> Period:
        """Its local days."""
        return Period(self.row.starts_on, self.row.ends_on)

    @property
    def whole(self) -> Period:
        """The whole period that it is, or is a part of."""
        return Period(self.row.full_starts_on, self.row.full_ends_on)

    @property
    def priced_singly(self) -> frozenset[str]:
        """Event types of which rating has to know every event, not only sums."""
        return read_singly(charge for one in self.segments for charge in one.segment.charges)

    def priced_on(self, day: date) -> tuple[Period, Sequence[SegmentInForce]]:
        """What a line of its invoice is for whose days begin on a day: itself, or the next one."""
        following = self.ahead.following
        if following is None or day not in following:
            return self.period, self.segments
        return following, self.known_then or self.segments

    def rate(self, usage: Sequence[plan.UsageRow]) -> Rating:
        """What it bills for a usage."""
        return rate_period(
            self.row.subscription_id,
            self.period,
            [one.segment for one in self.segments],
            usage,
            currency=self.account.currency,
            subscribed_on=self.subscribed_on,
            whole=self.whole,
            ahead=self.ahead,
            coupon=self.coupon,
        )


def rateable_periods(
    session: Session,
    billing_period_ids: Collection[UUID],
    prices: Mapping[UUID, RatedVersion] | None = None,
) -> dict[UUID, RateablePeriod]:
    """Billing periods by id, each ready to be rated.

    Args:
        prices: of plan versions, where they are to be others than those on record.
    """
    rows = session.execute(
        select(BillingPeriod, Account, Subscription.starts_on)
        .join(Account, Account.id == BillingPeriod.account_id)
        .join(Subscription, Subscription.id == BillingPeriod.subscription_id)
        .where(BillingPeriod.id.in_(billing_period_ids))
    ).all()
    segments: dict[UUID, list[SubscriptionSegment]] = defaultdict(list)
    wanted = {period.subscription_id for period, _, _ in rows}
    for segment in session.scalars(
        select(SubscriptionSegment)
        .where(SubscriptionSegment.subscription_id.in_(wanted))
        .order_by(SubscriptionSegment.starts_on)
    ):
        segments[segment.subscription_id].append(segment)
    known_then = timelines_when_issued(session, [period for period, _, _ in rows])
    versions = {one.plan_version_id for found in segments.values() for one in found}
    versions |= {part.plan_version_id for then in known_then.values() for part in then.all_parts}
    known = {**load_rated(session, versions - set(prices or ())), **(prices or {})}
    agreements = agreements_of(session, {account.id for _, account, _ in rows})
    around = ahead_of(session, [period.id for period, _, _ in rows])
    coupons = redemptions_of(session, wanted)
    found = {}
    for period, account, subscribed_on in rows:
        agreed = agreements.get(account.id, ())
        timeline = known_then.get(period.id)
        then = [
            _in_force(one, known[one.plan_version_id], agreed)
            for one in (timeline.all_parts if timeline else ())
        ]
        found[period.id] = RateablePeriod(
            period,
            account,
            subscribed_on,
            [
                _in_force(one, known[one.plan_version_id], agreed)
                for one in segments[period.subscription_id]
            ],
            _as_then(around[period.id], timeline, period.ends_on, then),
            coupon_on(coupons.get(period.subscription_id, ()), period.starts_on, account.currency),
            then,
        )
    return found


def _as_then(
    ahead: Ahead, timeline: Timeline | None, day: date, segments: Sequence[SegmentInForce]
) -> Ahead:
    """With the next period, which begins on a day, as the issued invoice knew it."""
    if timeline is None:
        return ahead
    following, whole = following_in(timeline, day) or (None, None)
    then = [one.segment for one in segments]
    return replace(ahead, following=following, whole=whole, segments=then)


def _in_force(
    row: SubscriptionSegment | Part, version: RatedVersion, agreements: Collection[Agreement]
) -> SegmentInForce:
    return SegmentInForce(
        row.plan_version_id,
        plan.Segment(
            row.starts_on,
            row.ends_on,
            version.agreed(agreements),
            row.quantity,
            row.recurring_from,
            row.recurring_to,
            version.plan_id,
            row.added_on,
        ),
    )
