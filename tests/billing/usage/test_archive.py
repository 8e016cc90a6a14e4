"""A month of events in files: the same events, wherever they are and whatever is killed when."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl
import psycopg
import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from billing.access.actor import SYSTEM, Actor
from billing.access.roles import Role
from billing.access.tables import AuditEntry
from billing.cli.main import app
from billing.clock import ManualClock
from billing.db.engine import open_engine
from billing.db.unit_of_work import read_only, unit_of_work
from billing.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    PreconditionError,
    UnavailableError,
)
from billing.invoices.tables import Invoice, InvoiceStatus, RatingRun, RatingRunCutoff, ReviewState
from billing.stack.process import wait_until
from billing.usage.apply import apply_batch, prepare_connection
from billing.usage.archive.service import Archivist
from billing.usage.archive.tables import ArchiveState, EventArchive
from billing.usage.batch import START, Batch
from billing.usage.days import KnownDays
from billing.usage.repository import get_event
from billing.usage.row import encode_row, row_head, uuid_field
from billing.usage.tables import ShardState
from tests.support.factories.events import StoredEvent, revise_event, store_event
from tests.support.factories.parties import make_account
from tests.support.factories.usage import make_entry, make_event
from tests.support.s3 import running_s3

JUNE = date(2026, 6, 1)
FIRST = datetime(2026, 5, 31, 18, 30, tzinfo=UTC)  # the first of June begins in India
LAST = datetime(2026, 6, 30, 18, 29, 59, 999999, tzinfo=UTC)
NOON = datetime(2026, 6, 10, 6, 30, 0, 123456, tzinfo=UTC)
_ALL = "SELECT e::text FROM usage.raw_events e ORDER BY shard, accept_seq"


class Killed(BaseException):
    """What a process that is killed does: nothing more."""


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url, application="test", pool_size=3)
    yield engine
    engine.dispose()


@pytest.fixture
def account(engine: Engine) -> UUID:
    with unit_of_work(engine) as session:
        return make_account(session).id


@pytest.fixture
def june(engine: Engine, account: UUID) -> list[StoredEvent]:
    """Events at the edges of June and within, one amended, and one of July."""
    with unit_of_work(engine) as session:
        stored = [
            store_event(session, account, FIRST, dimensions={"note": 'a "quote", and \n more'}),
            store_event(session, account, NOON, quantity=Decimal("0.000001")),
            store_event(session, account, NOON, vendor_cost=Decimal("99999999999.999999")),
            store_event(session, account, NOON + timedelta(days=3)),
            store_event(session, account, LAST - timedelta(days=1), dimensions={"naïve": "ü 🙂"}),
            store_event(session, account, LAST + timedelta(days=3)),
        ]
        revise_event(session, stored[1], voided=True)
    rate(engine)
    return stored


def rate(engine: Engine, month: date = JUNE) -> None:
    """A finished rating run over what is there."""
    with unit_of_work(engine) as session:
        now = datetime(2026, 7, 4, tzinfo=UTC)
        run = RatingRun(
            invoice_month=month,
            event_time_to=now,
            started_at=now,
            finished_at=now,
            triggered_by="test",
        )
        session.add(run)
        session.flush()
        session.add_all(
            RatingRunCutoff(rating_run_id=run.id, shard=one.shard, accept_seq=one.accept_seq)
            for one in session.scalars(select(ShardState))
        )


def nothing(_: str, __: date) -> None:
    """No progress is shown."""


def archivist(engine: Engine, progress: Any = nothing, **options: Any) -> Archivist:
    clock = ManualClock(datetime(2026, 7, 15, 4, 30, tzinfo=UTC))
    return Archivist(engine, options.pop("actor", SYSTEM), clock, progress, **options)


def rows(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return [str(row) for row in connection.scalars(text(_ALL))]


def one(engine: Engine, query: str) -> Any:
    with engine.connect() as connection:
        return connection.scalar(text(query))


def test_a_month_leaves_the_table_and_comes_back_as_it_was(
    engine: Engine, june: list[StoredEvent], tmp_path: Path
) -> None:
    before = rows(engine)

    archived = archivist(engine, file_rows=2).archive(JUNE, str(tmp_path))

    assert archived.state is ArchiveState.ARCHIVED
    assert len(rows(engine)) == 1  # July's
    assert one(engine, "SELECT count(*) FROM usage.event_key") == 6
    manifest = json.loads((tmp_path / "month=2026-06/manifest.json").read_text())
    assert list(manifest["days"]) == ["2026-05-31", "2026-06-10", "2026-06-13", "2026-06-29"]
    noon = manifest["days"]["2026-06-10"]
    assert noon["shards"]["0"] == {
        "rows": 3,
        "first_revisions": 2,
        "quantity": "1.000002",
        "vendor_cost": "99999999999.999999",
    }
    assert [file["rows"] for file in noon["files"]] == [2, 1]
    frame = pl.read_parquet(tmp_path / noon["files"][0]["path"])
    assert frame.schema["quantity"] == pl.Decimal(20, 6)
    assert frame["occurred_at"].to_list() == [NOON, NOON]

    restored = archivist(engine).restore(JUNE)

    assert restored.state is ArchiveState.RESTORED
    assert rows(engine) == before
    with read_only(engine) as session:
        commands = session.scalars(select(AuditEntry.command).order_by(AuditEntry.seq)).all()
    assert commands == ["events.archive"] + ["events.archive_moved"] * 3


def test_again_there_is_nothing_to_do_and_a_restored_month_is_archived_without_writing_it_again(
    engine: Engine, june: list[StoredEvent], tmp_path: Path
) -> None:
    steps: list[str] = []

    def note(step: str, _: date) -> None:
        steps.append(step)

    archivist(engine).archive(JUNE, str(tmp_path))
    archivist(engine, note).archive(JUNE, str(tmp_path))
    assert steps == []

    archivist(engine).restore(JUNE)
    archivist(engine).restore(JUNE)
    archivist(engine, note).archive(JUNE, str(tmp_path))

    assert set(steps) == {"manifest", "verify", "drop"}
    assert len(rows(engine)) == 1


def test_killed_before_any_step_the_next_attempt_ends_with_every_event_in_one_place(
    engine: Engine, june: list[StoredEvent], tmp_path: Path
) -> None:
    before = rows(engine)
    steps = 0

    def count(_: str, __: date) -> None:
        nonlocal steps
        steps += 1

    archivist(engine, count).archive(JUNE, str(tmp_path / "counted"))
    archivist(engine, count).restore(JUNE)
    assert steps == 17  # 4 days are written, verified, dropped and restored; and the manifest

    for fatal in range(1, 14):
        place = str(tmp_path / f"{fatal}")
        with pytest.raises(Killed):
            archivist(engine, _kill_at(fatal)).archive(JUNE, place)
        assert _everywhere(engine) == before
        archivist(engine).archive(JUNE, place)
        assert len(rows(engine)) == 1
        assert _everywhere(engine) == before
        if fatal <= 4:
            with pytest.raises(Killed):
                archivist(engine, _kill_at(fatal)).restore(JUNE)
            assert _everywhere(engine) == before
        archivist(engine).restore(JUNE)
        assert rows(engine) == before


def _kill_at(fatal: int) -> Any:
    reached = 0

    def progress(_: str, __: date) -> None:
        nonlocal reached
        reached += 1
        if reached == fatal:
            raise Killed

    return progress


_KILLS_ITSELF = """
import os, signal, sys
from datetime import date
from billing.access.actor import SYSTEM
from billing.clock import SystemClock
from billing.db.engine import open_engine
from billing.usage.archive.service import Archivist

url, folder, fatal, left = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])

def progress(step, _):
    global left
    left -= step == fatal
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)

Archivist(open_engine(url, application="killed"), SYSTEM, SystemClock(), progress).archive(
    date(2026, 6, 1), folder
)
"""


@pytest.mark.parametrize(("step", "times"), [("write", 2), ("drop", 3)])
def test_a_killed_process_leaves_no_lock_behind(
    engine: Engine,
    database_url: str,
    june: list[StoredEvent],
    tmp_path: Path,
    step: str,
    times: int,
) -> None:
    before = rows(engine)
    argv = [sys.executable, "-c", _KILLS_ITSELF, database_url, str(tmp_path), step, str(times)]

    assert subprocess.run(argv, check=False).returncode == -signal.SIGKILL
    assert _everywhere(engine) == before
    gone = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'killed'"
    assert wait_until(lambda: one(engine, gone) == 0, 20)

    archivist(engine).archive(JUNE, str(tmp_path))
    assert len(rows(engine)) == 1
    archivist(engine).restore(JUNE)
    assert rows(engine) == before


def _everywhere(engine: Engine) -> list[str]:
    """The table's rows together with those of the days that are in files alone."""
    from billing.usage.archive.frames import from_parquet, store_frame

    with engine.connect() as connection, Session(connection) as session:
        found = session.scalars(select(EventArchive)).one()
        gone = session.scalars(text("SELECT day::text FROM usage.archived_days WHERE dropped"))
        session.execute(text("CREATE TEMP TABLE seen (LIKE usage.raw_events) ON COMMIT DROP"))
        session.execute(text("INSERT INTO seen SELECT * FROM usage.raw_events"))
        for day in list(gone):
            for file in found.manifest["days"][day]["files"]:
                content = (Path(found.location) / file["path"]).read_bytes()
                driver: Any = connection.connection.driver_connection
                store_frame(driver, from_parquet(content), "pg_temp.seen")
        dumped = "SELECT e::text FROM pg_temp.seen e ORDER BY shard, accept_seq"
        return [str(row) for row in session.scalars(text(dumped))]


def test_a_month_somebody_still_works_on_stays(
    engine: Engine, account: UUID, tmp_path: Path
) -> None:
    def refused() -> str:
        with pytest.raises(PreconditionError) as caught:
            archivist(engine).archive(JUNE, str(tmp_path))
        return caught.value.code

    with unit_of_work(engine) as session:
        store_event(session, account, NOON)
    assert refused() == "not_closed"
    rate(engine)
    with unit_of_work(engine) as session:
        store_event(session, account, NOON)
    assert refused() == "late_events"
    rate(engine)
    with unit_of_work(engine) as session:
        draft = _draft(session, account)
    assert refused() == "drafts_left"
    with unit_of_work(engine) as session:
        session.delete(session.get_one(Invoice, draft))
    archivist(engine).archive(JUNE, str(tmp_path))
    assert rows(engine) == []


def _draft(session: Session, account_id: UUID) -> UUID:
    from billing.customers.tables import Account

    account = session.get_one(Account, account_id)
    invoice = Invoice(
        account_id=account.id,
        customer_id=account.customer_id,
        supplier_gstin="29AAACO1234F1Z5",
        period_start=JUNE,
        period_end=date(2026, 7, 1),
        invoice_month=JUNE,
        lines_hash="",
        status=InvoiceStatus.DRAFT,
        review_state=ReviewState.PENDING,
        currency="INR",
        taxable_minor=0,
        tax_minor=0,
        total_minor=0,
        tax_decision={},
        created_at=NOON,
        updated_at=NOON,
    )
    session.add(invoice)
    session.flush()
    return invoice.id


def test_an_event_that_comes_before_its_day_is_dropped_keeps_the_day(
    engine: Engine, account: UUID, june: list[StoredEvent], tmp_path: Path
) -> None:
    def late(step: str, day: date) -> None:
        if step == "drop" and day == NOON.date():
            with unit_of_work(engine) as session:
                store_event(session, account, NOON)

    with pytest.raises(PreconditionError, match="changed while it was archived"):
        archivist(engine, late).archive(JUNE, str(tmp_path))
    with pytest.raises(PreconditionError, match="close it again"):
        archivist(engine).archive(JUNE, str(tmp_path))
    rate(engine)
    archivist(engine).archive(JUNE, str(tmp_path))
    archivist(engine).restore(JUNE)

    assert len(rows(engine)) == 8


def test_a_late_event_finds_a_day_again_that_its_writer_saw_before_it_was_archived(
    engine: Engine, account: UUID, june: list[StoredEvent], tmp_path: Path, database_url: str
) -> None:
    days = KnownDays()
    with psycopg.connect(database_url, autocommit=True) as connection:
        prepare_connection(connection)
        with connection.transaction():
            days.ensure(connection, [NOON.date()])
        days.keep_new()
        archivist(engine).archive(JUNE, str(tmp_path))
        row = encode_row(
            row_head(None, account),
            uuid_field(None),
            0,
            make_event("late", account, occurred_at=NOON),
        )
        applied = apply_batch(
            connection, Batch(0, 1, START, (make_entry(1, row),)), now=LAST, days=days
        )

    assert applied.new == 1
    assert one(engine, "SELECT count(*) FROM usage.quarantine") == 0
    with pytest.raises(PreconditionError, match="billing events restore 2026-06"):
        archivist(engine).archive(JUNE, str(tmp_path))
    archivist(engine).restore(JUNE)
    assert len(rows(engine)) == 8
    rate(engine)
    archivist(engine).archive(JUNE, str(tmp_path))
    archivist(engine).restore(JUNE)
    assert len(rows(engine)) == 8


def _files(tmp_path: Path) -> list[Path]:
    return sorted(tmp_path.rglob("*.parquet"))


def test_a_file_that_cannot_be_read_back_keeps_its_month_and_is_written_again(
    engine: Engine, june: list[StoredEvent], tmp_path: Path
) -> None:
    before = rows(engine)

    def tear(step: str, _: date) -> None:
        if step == "manifest":
            torn = _files(tmp_path)[1]
            torn.write_bytes(torn.read_bytes()[:-7])

    with pytest.raises(UnavailableError, match="hash differs"):
        archivist(engine, tear).archive(JUNE, str(tmp_path))

    assert rows(engine) == before
    archivist(engine).archive(JUNE, str(tmp_path))
    archivist(engine).restore(JUNE)
    assert rows(engine) == before


def test_a_file_that_changed_since_is_not_restored(
    engine: Engine, june: list[StoredEvent], tmp_path: Path
) -> None:
    archivist(engine).archive(JUNE, str(tmp_path))
    first, second, *_ = _files(tmp_path)
    second.write_bytes(first.read_bytes())

    with pytest.raises(UnavailableError, match="hash differs"):
        archivist(engine).restore(JUNE)
    second.unlink()
    with pytest.raises(UnavailableError, match="cannot be read"):
        archivist(engine).restore(JUNE)

    assert len(rows(engine)) == 2  # July's, and the day before the damaged one


def test_an_archived_event_says_so_instead_of_showing_half_of_its_history(
    engine: Engine, june: list[StoredEvent], tmp_path: Path
) -> None:
    archivist(engine).archive(JUNE, str(tmp_path))

    with read_only(engine) as session, pytest.raises(PreconditionError, match="is archived"):
        get_event(session, SYSTEM, "test", june[1].event_id)

    archivist(engine).restore(JUNE)
    with read_only(engine) as session:
        assert len(get_event(session, SYSTEM, "test", june[1].event_id).revisions) == 2


def test_days_that_are_in_files_alone_are_refused_to_whoever_would_aggregate_them(
    engine: Engine, june: list[StoredEvent], tmp_path: Path
) -> None:
    archivist(engine).archive(JUNE, str(tmp_path))
    ask = "SELECT usage.require_restored(DATE '2026-06-10', DATE '2026-06-11')"

    with pytest.raises(Exception, match="are archived"):
        one(engine, ask)
    one(engine, "SELECT usage.require_restored(DATE '2026-06-11', DATE '2026-06-13')")

    archivist(engine).restore(JUNE)
    one(engine, ask)


def test_archives_lie_in_an_s3_bucket_as_well(
    engine: Engine,
    june: list[StoredEvent],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = rows(engine)
    with running_s3() as (endpoint, objects):
        for name, value in {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "ap-south-1",
        }.items():
            monkeypatch.setenv(name, value)
        archivist(engine).archive(JUNE, "s3://bucket/events/")

        assert len(rows(engine)) == 1
        assert "/bucket/events/month=2026-06/manifest.json" in objects
        archivist(engine).restore(JUNE)
        assert rows(engine) == before

        archivist(engine).archive(JUNE, "s3://bucket/events")
        objects.clear()
        with pytest.raises(UnavailableError, match="cannot be read"):
            archivist(engine).restore(JUNE)


def test_what_cannot_be_is_refused_in_a_sentence(
    engine: Engine, june: list[StoredEvent], tmp_path: Path
) -> None:
    with pytest.raises(ForbiddenError, match=r"usage\.archive"):
        archivist(engine, actor=Actor("key:support", Role.SUPPORT))
    with pytest.raises(InvalidError, match="neither a folder"):
        archivist(engine).archive(JUNE, "ftp://somewhere")
    with pytest.raises(NotFoundError, match="never archived"):
        archivist(engine).restore(JUNE)
    (tmp_path / "a-file").touch()
    with pytest.raises(UnavailableError, match=r"a-file.*cannot be written"):
        archivist(engine).archive(JUNE, str(tmp_path / "a-file"))

    def second(step: str, _: date) -> None:
        with pytest.raises(ConflictError, match="Another process"):
            archivist(engine).restore(JUNE)

    archivist(engine, second).archive(JUNE, str(tmp_path))


def test_the_command_archives_and_restores(
    database_url: str, june: list[StoredEvent], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    run = CliRunner().invoke

    archived = run(app, ["events", "archive", "2026-06", "--to", str(tmp_path)])
    assert archived.exit_code == 0, archived.output
    assert "2026-06: archived, 6 events of 4 days" in archived.output

    assert "restored" in run(app, ["events", "restore", "2026-06"]).output
    assert run(app, ["events", "archive", "June", "--to", str(tmp_path)]).exit_code == 1
    assert run(app, ["events", "archive", "2026-05", "--to", str(tmp_path)]).exit_code == 1
