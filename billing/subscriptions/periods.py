"""Making the billing periods of subscriptions ahead of time; they tile each subscription's life."""

from datetime import date
from itertools import takewhile

from sqlalchemy import or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.customers.tables import Account
from billing.ids import new_id
from billing.periods import Calendar, Period, month_of
from billing.subscriptions.repository import calendars_of
from billing.subscriptions.tables import BillingPeriod, Subscription


def make_periods(session: Session, until: date) -> int:
    """Make every period that begins before `until` and is not there yet.

    Running it again makes nothing. A subscription that ends mid-period gets a short last period.

    Returns:
        how many were made.
    """
    made = 0
    rows = session.execute(
        select(Subscription, Account.zone)
        .join(Account, Account.id == Subscription.account_id)
        .where(
            Subscription.starts_on < until,
            or_(Subscription.ends_on.is_(None), Subscription.ends_on > Subscription.starts_on),
        )
        .order_by(Subscription.id)
    )
    found = [(row.Subscription, row.zone) for row in rows]
    calendars = calendars_of(session, [subscription for subscription, _ in found])
    for subscription, zone in found:
        made += _make(session, subscription, calendars[subscription.id], zone, until)
    return made


def periods_of(subscription: Subscription, calendar: Calendar, until: date) -> list[Period]:
    """The periods of a subscription that begin before `until`, in order."""
    end = min(until, subscription.ends_on) if subscription.ends_on else until
    if end <= subscription.starts_on:
        return []
    tiles = calendar.tiles(subscription.starts_on)
    whole = list(takewhile(lambda period: period.start < end, tiles))
    if subscription.ends_on and whole[-1].end > subscription.ends_on:
        whole[-1] = Period(whole[-1].start, subscription.ends_on)
    return whole


def drop_outdated(session: Session, subscription: Subscription, billed_until: date | None) -> None:
    """Remove the periods that another end or interval made wrong; they are made anew.

    Args:
        billed_until: what was invoiced before that day stays.
    """
    rows = session.scalars(select(BillingPeriod).filter_by(subscription_id=subscription.id)).all()
    if not rows:
        return
    calendar = calendars_of(session, [subscription])[subscription.id]
    right = {
        (period, calendar.containing(period.start))
        for period in periods_of(subscription, calendar, max(row.ends_on for row in rows))
    }
    for row in rows:
        is_billed = billed_until is not None and row.ends_on <= billed_until
        whole = Period(row.full_starts_on, row.full_ends_on)
        if (Period(row.starts_on, row.ends_on), whole) not in right and not is_billed:
            session.delete(row)
    session.flush()


def _make(
    session: Session, subscription: Subscription, calendar: Calendar, zone: str, until: date
) -> int:
    existing = set(
        session.scalars(select(BillingPeriod.starts_on).filter_by(subscription_id=subscription.id))
    )
    wanted = periods_of(subscription, calendar, until)
    missing = [period for period in wanted if period.start not in existing]
    for period in missing:
        starts_at, ends_at = period.instants(zone)
        whole = calendar.containing(period.start)
        session.execute(
            insert(BillingPeriod)
            .values(
                id=new_id(),
                subscription_id=subscription.id,
                account_id=subscription.account_id,
                starts_on=period.start,
                ends_on=period.end,
                full_starts_on=whole.start,
                full_ends_on=whole.end,
                starts_at=starts_at,
                ends_at=ends_at,
                invoice_month=month_of(period.last_day).start,
            )
            .on_conflict_do_nothing()
        )
    return len(missing)
