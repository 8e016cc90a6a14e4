"""Coupons as rating reads them."""

from collections.abc import Collection
from datetime import date
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from billing.coupons.tables import Redemption
from billing.rating import coupon


def coupon_of(
    session: Session, subscription_id: UUID, period_start: date, currency: str
) -> coupon.Coupon | None:
    """What makes the period of a subscription that begins on a day smaller, if anything does."""
    row = session.scalars(
        select(Redemption).where(
            Redemption.subscription_id == subscription_id,
            Redemption.starts_on <= period_start,
            or_(Redemption.ends_on.is_(None), Redemption.ends_on > period_start),
        )
    ).one_or_none()
    if row is None:
        return None
    amounts = {one.currency: one.amount_minor for one in row.coupon.amounts}
    return coupon.Coupon(
        row.coupon.code,
        row.coupon.percent,
        amounts.get(currency),
        frozenset(one.plan_id for one in row.coupon.plans),
    )


def subscriptions_with_coupons(session: Session) -> Collection[UUID]:
    """Those that have, or ever had, a coupon."""
    return session.scalars(select(Redemption.subscription_id).distinct()).all()
