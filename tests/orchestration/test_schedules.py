"""When a month is closed: after the grace of the plan that waits longest, once."""

from datetime import UTC, date, datetime
from decimal import Decimal

import dagster as dg
from sqlalchemy import Engine

from billing.db.unit_of_work import unit_of_work
from orchestration.defs.automation import close_last_month
from orchestration.lib.database import Database
from tests.support.factories.parties import make_account
from tests.support.factories.plans import make_plan, make_subscription


def _closes(day: date) -> str | None:
    at = datetime(day.year, day.month, day.day, 4, tzinfo=UTC)
    with dg.build_schedule_context(scheduled_execution_time=at) as context:
        found = close_last_month(context, database=Database())
    return found.partition_key if isinstance(found, dg.RunRequest) else None


def test_a_month_is_closed_when_the_grace_of_all_its_plans_is_over(engine: Engine) -> None:
    asked = [date(2026, 7, day) for day in (3, 4, 10, 11)]
    assert [_closes(day) for day in asked] == [None, "2026-06-01", "2026-06-01", None]
    with unit_of_work(engine) as session:
        for grace_days, starts_on in ((5, date(2026, 6, 30)), (20, date(2026, 7, 1))):
            version, _ = make_plan(session, [], grace_days=grace_days)
            segment = (version, Decimal(1), starts_on, None)
            make_subscription(session, make_account(session), [segment])

    asked = [date(2026, 7, 5), date(2026, 7, 6), date(2026, 8, 20), date(2026, 8, 21)]
    assert [_closes(day) for day in asked] == [None, "2026-06-01", None, "2026-07-01"]
