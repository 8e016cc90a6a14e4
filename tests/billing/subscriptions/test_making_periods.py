"""Billing periods in the database: they tile each subscription's life, and are made once."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from itertools import pairwise

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from billing.db.engine import open_engine
from billing.db.unit_of_work import unit_of_work
from billing.subscriptions.periods import make_periods
from billing.subscriptions.tables import BillingPeriod, Subscription, SubscriptionStatus
from tests.support.factories.parties import LONG_AGO, make_account


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """A fresh database."""
    engine = open_engine(database_url, application="test-periods", pool_size=2)
    yield engine
    engine.dispose()


def _subscribe(
    session: Session,
    starts_on: date,
    *,
    anchor: int = 1,
    ends_on: date | None = None,
    zone: str = "Asia/Kolkata",
) -> Subscription:
    subscription = Subscription(
        account_id=make_account(session, zone=zone).id,
        status=SubscriptionStatus.ACTIVE,
        anchor_day=anchor,
        starts_on=starts_on,
        ends_on=ends_on,
        created_at=LONG_AGO,
        updated_at=LONG_AGO,
    )
    session.add(subscription)
    session.flush()
    return subscription


def _periods(session: Session, subscription: Subscription) -> list[BillingPeriod]:
    rows = select(BillingPeriod).filter_by(subscription_id=subscription.id)
    return list(session.scalars(rows.order_by(BillingPeriod.starts_on)))


def test_periods_are_made_once_and_further_ones_join_on(engine: Engine) -> None:
    with unit_of_work(engine) as session:
        subscription = _subscribe(session, date(2026, 4, 10))
        assert make_periods(session, date(2026, 7, 1)) == 3
        assert make_periods(session, date(2026, 7, 1)) == 0
        assert make_periods(session, date(2026, 7, 2)) == 1
        periods = _periods(session, subscription)
    assert [period.starts_on for period in periods] == [
        date(2026, 4, 10),
        date(2026, 5, 1),
        date(2026, 6, 1),
        date(2026, 7, 1),
    ]
    for before, after in pairwise(periods):
        assert (before.ends_on, before.ends_at) == (after.starts_on, after.starts_at)


def test_ten_years_of_every_anchor_tile_in_the_database_too(engine: Engine) -> None:
    until = date(2036, 1, 31)
    with unit_of_work(engine) as session:
        subscriptions = [_subscribe(session, date(2026, 1, 31), anchor=day) for day in range(1, 32)]
        make_periods(session, until)
        tiles = [_periods(session, subscription) for subscription in subscriptions]
    for periods in tiles:
        assert periods[0].starts_on == date(2026, 1, 31)
        assert periods[-1].ends_on >= until
        assert all(before.ends_at == after.starts_at for before, after in pairwise(periods))
        months = [period.invoice_month for period in periods]
        assert months == sorted(set(months)), "two periods of one subscription share a month"


def test_a_period_belongs_to_the_month_of_its_last_day(engine: Engine) -> None:
    with unit_of_work(engine) as session:
        subscription = _subscribe(session, date(2026, 4, 15), anchor=15)
        make_periods(session, date(2026, 5, 16))
        first, second = _periods(session, subscription)
    assert (first.ends_on, first.invoice_month) == (date(2026, 5, 15), date(2026, 5, 1))
    assert second.invoice_month == date(2026, 6, 1)


def test_the_bounds_are_midnights_of_the_accounts_zone(engine: Engine) -> None:
    with unit_of_work(engine) as session:
        subscription = _subscribe(session, date(2026, 3, 1), zone="America/New_York")
        make_periods(session, date(2026, 3, 2))
        (period,) = _periods(session, subscription)
    # The clocks change on the 8th of March.
    assert period.starts_at == datetime(2026, 3, 1, 5, tzinfo=UTC)
    assert period.ends_at == datetime(2026, 4, 1, 4, tzinfo=UTC)


def test_nothing_is_made_after_an_end(engine: Engine) -> None:
    with unit_of_work(engine) as session:
        subscription = _subscribe(session, date(2026, 4, 1), ends_on=date(2026, 5, 21))
        make_periods(session, date(2026, 9, 1))
        periods = _periods(session, subscription)
    assert [(period.starts_on, period.ends_on) for period in periods] == [
        (date(2026, 4, 1), date(2026, 5, 1)),
        (date(2026, 5, 1), date(2026, 5, 21)),
    ]


def test_the_database_refuses_a_period_over_another(engine: Engine) -> None:
    with unit_of_work(engine) as session:
        subscription = _subscribe(session, date(2026, 4, 1))
        make_periods(session, date(2026, 4, 2))
        account_id, subscription_id = subscription.account_id, subscription.id
    with pytest.raises(DBAPIError, match="overlaps another"), unit_of_work(engine) as session:
        session.add(
            BillingPeriod(
                subscription_id=subscription_id,
                account_id=account_id,
                starts_on=date(2026, 4, 30),
                ends_on=date(2026, 5, 2),
                starts_at=LONG_AGO,
                ends_at=LONG_AGO,
                invoice_month=date(2026, 5, 1),
            )
        )
