"""A month that is archived is closed as if it were not."""

from decimal import Decimal
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from billing.access.actor import SYSTEM
from billing.clock import SystemClock
from billing.db.unit_of_work import unit_of_work
from billing.usage.archive.service import Archivist
from billing.usage.archive.tables import ArchiveState, EventArchive
from orchestration.defs.checks import _QUERIES
from orchestration.run import close_month
from tests.orchestration.test_close_month import JUNE, lines, seeded
from tests.support.dbt import DbtProjectRunner
from tests.support.factories.parties import LONG_AGO
from tests.support.marts import make_rating_run

pytestmark = pytest.mark.timeout(1200)  # every dbt takes seconds to start


def _breaches(engine: Engine) -> dict[str, int]:
    with engine.connect() as connection:
        return {
            name: int(connection.scalar(text(query)) or 0) for name, (_, query) in _QUERIES.items()
        }


def _archive(engine: Engine, folder: Path) -> None:
    """Archive June, as if it had been closed long ago."""
    with unit_of_work(engine) as session:
        make_rating_run(session, JUNE, accept_seq=8).finished_at = LONG_AGO
    Archivist(engine, SYSTEM, SystemClock(), lambda _, __: None).archive(JUNE, str(folder))


def test_an_archived_month_is_brought_back_by_the_pipeline_and_rated_whole(
    engine: Engine,
    instance: dg.DagsterInstance,
    dbt: DbtProjectRunner,
    database_url: str,
    tmp_path: Path,
) -> None:
    seeded(engine)
    _archive(engine, tmp_path / "archive")
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM usage.raw_events")) == 0
    with pytest.raises(AssertionError, match="are archived"):
        dbt.build(database_url, ["path:models/staging", "int_usage__daily"])

    close_month(instance, JUNE)

    with Session(engine) as session:
        assert session.scalars(select(EventArchive.state)).one() is ArchiveState.RESTORED
        counted = text("SELECT sum(event_count) FROM marts.fct_usage_daily")
        assert session.scalar(counted) == 8
    assert lines(engine) == {
        "fee": (Decimal(1), 500_000),
        "sms": (Decimal(5), 70),
        "email": (Decimal(3), 6),
    }
    assert set(_breaches(engine).values()) == {0}


def test_the_books_are_compared_with_what_the_archive_holds(engine: Engine, tmp_path: Path) -> None:
    seeded(engine)
    _archive(engine, tmp_path / "archive")
    assert set(_breaches(engine).values()) == {0}

    with unit_of_work(engine) as session:
        session.execute(text("UPDATE usage.archived_days SET rows = 7, first_revisions = 7"))

    assert _breaches(engine)["every_key_has_its_event"] == 1
    assert _breaches(engine)["accept_seq_has_no_gap"] == 1
