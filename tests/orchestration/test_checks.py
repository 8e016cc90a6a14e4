"""The checks before a close, while the intake goes on."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count
from threading import Event

import dagster as dg
import pytest
from sqlalchemy import Engine, text

from billing.db.unit_of_work import unit_of_work
from billing.usage.storage import is_hypertable, partition_statements
from orchestration.defs.checks import CHECKS
from orchestration.lib.database import Database
from tests.support.factories.events import store_event
from tests.support.factories.parties import make_account

FIRST = datetime(2026, 6, 10, 6, 30, tzinfo=UTC)
ANSWERS = 12


def _accept_events_of_new_days(engine: Engine, until: Event) -> None:
    with unit_of_work(engine) as session:
        account = make_account(session).id
    for n in count():
        if until.is_set():
            return
        at = FIRST + timedelta(days=n)
        with engine.begin() as connection:
            if not is_hypertable(connection):
                for statement in partition_statements([at.date()]):
                    connection.execute(text(statement))
        with unit_of_work(engine) as session:
            store_event(session, account, at)


@pytest.mark.parametrize("check", CHECKS[:2], ids=lambda check: check.check_key.name)
def test_a_partition_that_appears_meanwhile_is_no_breach(
    engine: Engine, check: dg.AssetChecksDefinition
) -> None:
    """Events of new days come in, each with its partition, while the check is made again and again.

    A statement that is planned before its snapshot is taken sees the event's number and key, and
    not the event: its plan does not know the partition.
    """
    over = Event()
    with ThreadPoolExecutor(1) as intake:
        accepting = intake.submit(_accept_events_of_new_days, engine, over)
        try:
            for _ in range(ANSWERS):
                answer = check(database=Database())
                assert isinstance(answer, dg.AssetCheckResult)
                assert answer.passed
        finally:
            over.set()
        accepting.result()
