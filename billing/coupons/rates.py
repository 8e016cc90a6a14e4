"""Coupons as rating reads them."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import date
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.coupons.tables import Redemption
from billing.rating import coupon


def coupon_of(
    session: Session, subscription_id: UUID, period_start: date, currency: str
) -> coupon.Coupon | None:
    """What makes the period of a subscription that begins on a day smaller, if anything does."""
    redemptions = redemptions_of(session, [subscription_id]).get(subscription_id, ())
    return coupon_on(redemptions, period_start, currency)


def redemptions_of(
    session: Session, subscription_ids: Collection[UUID]
) -> dict[UUID, list[Redemption]]:
    """All coupons that subscriptions ever had, by subscription."""
    found: dict[UUID, list[Redemption]] = defaultdict(list)
    for row in session.scalars(
        select(Redemption).where(Redemption.subscription_id.in_(subscription_ids))
    ):
        found[row.subscription_id].append(row)
    return found


def coupon_on(
    redemptions: Iterable[Redemption], period_start: date, currency: str
) -> coupon.Coupon | None:
    """The one of a subscription's coupons that is for the period that begins on a day."""
    rows = [
        row
        for row in redemptions
        if row.starts_on <= period_start and (row.ends_on is None or row.ends_on > period_start)
    ]
    if not rows:
        return None
    (row,) = rows
    amounts = {one.currency: one.amount_minor for one in row.coupon.amounts}
    return coupon.Coupon(
        row.coupon.code,
        row.coupon.percent,
        amounts.get(currency),
        frozenset(one.plan_id for one in row.coupon.plans),
    )


def end_with_period(session: Session, subscription_id: UUID, day: date, end: date) -> None:
    """Let coupons end on the day on which the last period that has them is cut short.

    Args:
        end: the day on which it would have ended.
    """
    for row in redemptions_of(session, [subscription_id])[subscription_id]:
        if row.starts_on < day and row.ends_on is not None and day < row.ends_on <= end:
            row.ends_on = day


def subscriptions_with_coupons(session: Session) -> Collection[UUID]:
    """Those that have, or ever had, a coupon."""
    return session.scalars(select(Redemption.subscription_id).distinct()).all()
