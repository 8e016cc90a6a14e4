"""`billing events import` on a running API: nothing lost, nothing doubled."""

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from typer.testing import CliRunner, Result

from billing.access.roles import Role
from billing.cli.main import app
from billing.usage.imports.service import alone, digest_of_file
from tests.ingest_api.intake.conftest import Api
from tests.support.factories.usage import Sender

PRICE_UNITS = 120_000
HEADER = "source,event_id,event_type,occurred_at,account_id,country,status\n"


@pytest.fixture
def environment(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the command finds the database that the API writes to."""
    url = api.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.delenv("BILLING_API_KEY", raising=False)


@pytest.fixture
def run(api: Api, environment: None) -> Callable[..., Result]:
    def invoke(*arguments: object, url: str = str(api.client.base_url)) -> Result:
        given = [str(argument) for argument in arguments]
        return CliRunner().invoke(app, ["events", "import", *given, "--url", url])

    return invoke


def rows(sender: Sender, prefix: str, count: int, when: datetime | None = None) -> list[str]:
    at = (when or datetime.now(UTC)).isoformat()
    account = sender.account.id
    return [f"core,{prefix}-{n},otp.sms,{at},{account},IN,delivered\n" for n in range(count)]


def write(path: Path, lines: list[str]) -> Path:
    path.write_text(HEADER + "".join(lines))
    return path


def stored(api: Api, prefix: str) -> Any:
    return api.one("SELECT count(*) FROM usage.raw_events WHERE event_id LIKE %s", f"{prefix}-%")


def test_a_file_is_taken_once_and_its_refusals_are_told_by_line(
    api: Api, run: Callable[..., Result], tmp_path: Path
) -> None:
    sender = api.sender()
    lines = rows(sender, "once", 700)
    lines[10] = lines[10].replace("otp.sms", "OTP SMS")
    lines[20] = lines[20].replace(str(sender.account.id), "0197f3a0-0000-7000-8000-000000000009")
    lines[30] = lines[29].replace(",IN,", ",US,")
    file = write(tmp_path / "once.csv", lines)

    first = run(file, "--batch", 100)

    assert first.exit_code == 1, first.output
    assert "697 accepted, 1 conflict, 2 rejected" in first.output
    with (tmp_path / "once.csv.errors.csv").open(encoding="utf-8-sig", newline="") as errors:
        told = list(csv.DictReader(errors))
    assert [(one["line"], one["field"]) for one in told] == [
        ("12", "event_type"),
        ("22", "account_id"),
        ("32", "event_id"),
    ]
    assert told[0]["row"] == lines[10].strip()
    assert stored(api, "once") == 697
    assert api.balance(sender) == -697 * PRICE_UNITS

    again = run(file, "--again")

    assert "697 duplicate" in again.output
    assert stored(api, "once") == 697
    assert api.balance(sender) == -697 * PRICE_UNITS
    assert len((tmp_path / "once.csv.errors.csv").read_text().splitlines()) == 4


def test_a_finished_file_is_not_sent_again_unless_asked(
    api: Api, run: Callable[..., Result], tmp_path: Path
) -> None:
    file = write(tmp_path / "finished.csv", rows(api.sender(), "finished", 3))
    assert run(file).exit_code == 0

    again = run(file.rename(tmp_path / "renamed.csv"))

    assert again.exit_code == 0
    assert "was imported on" in again.output
    assert api.one(
        "SELECT rows_done, attempts, counts ->> 'accepted' FROM usage.imports WHERE file_name = %s",
        "finished.csv",
    ) == (3, 1, "3")
    assert api.one(
        "SELECT count(*) FROM billing.audit_log WHERE command LIKE 'events.import%%' "
        "AND changes::text LIKE '%%finished.csv%%'"
    )


def test_a_dry_run_tells_verdicts_and_prices_and_stores_nothing(
    api: Api, run: Callable[..., Result], tmp_path: Path
) -> None:
    sender = api.sender()
    lines = rows(sender, "dry", 5)
    assert run(write(tmp_path / "sent.csv", lines[:2])).exit_code == 0
    lines[1] = lines[1].replace(",IN,", ",US,")
    bad = lines[4].replace("otp.sms", "?")
    before = api.one("SELECT count(*) FROM usage.imports"), api.balance(sender)

    result = run(write(tmp_path / "dry.csv", [*lines, lines[3], bad]), "--dry-run")

    assert result.exit_code == 1
    assert "1 conflict, 2 duplicate, 3 new, 1 rejected; nothing was sent" in result.output
    assert sender.account.code in result.output
    assert "INR 0.360000" in result.output
    assert stored(api, "dry") == 2
    assert before == (api.one("SELECT count(*) FROM usage.imports"), api.balance(sender))
    assert len((tmp_path / "dry.csv.dry-run.errors.csv").read_text().splitlines()) == 3


def test_older_events_come_in_with_the_permission_to_backfill_only(
    api: Api, run: Callable[..., Result], tmp_path: Path
) -> None:
    old = rows(api.sender(), "old", 2, datetime.now(UTC) - timedelta(days=100))
    file = write(tmp_path / "old.csv", old)
    core, engineer = (
        api.key(role)["Authorization"].removeprefix("Bearer ")
        for role in (Role.SENDER, Role.DATA_ENGINEER)
    )

    refused = run(file, "--key", core)
    assert refused.exit_code == 1
    assert "2 rejected" in refused.output
    assert stored(api, "old") == 0

    assert run(file, "--key", engineer, "--again").exit_code == 0
    assert stored(api, "old") == 2


def test_a_key_that_may_not_send_is_refused_before_the_file_is_read(
    api: Api, run: Callable[..., Result], tmp_path: Path
) -> None:
    key = api.key(Role.SUPPORT)["Authorization"].removeprefix("Bearer ")

    result = run(write(tmp_path / "a.csv", []), "--key", key)

    assert result.exit_code == 1
    assert "usage.send" in result.output


def test_a_file_is_imported_by_one_process_at_a_time(
    api: Api, run: Callable[..., Result], tmp_path: Path
) -> None:
    file = write(tmp_path / "a.csv", rows(api.sender(), "alone", 1))

    with alone(api.engine, digest_of_file(file)):
        result = run(file)

    assert result.exit_code == 1
    assert "another process" in result.output
    assert run(file).exit_code == 0


def test_a_killed_import_goes_on_and_neither_loses_nor_doubles_a_row(
    api: Api, run: Callable[..., Result], tmp_path: Path
) -> None:
    sender = api.sender()
    lines = rows(sender, "killed", 6000)
    for number in range(0, 6000, 100):
        lines[number] = lines[number].replace("otp.sms", "?")
    file = write(tmp_path / "killed.csv", lines)
    command = [
        sys.executable,
        "-c",
        "from billing.cli.main import app; app()",
        "events",
        "import",
        str(file),
    ]
    command += ["--url", str(api.client.base_url), "--batch", "20"]
    process = subprocess.Popen(command, env=os.environ)
    try:
        _until(api, "SELECT count(*) > 900 FROM usage.event_key WHERE event_id LIKE 'killed-%'")
    finally:
        process.kill()
        process.wait()
    _until(
        api,
        "SELECT NOT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
        "AND pid IN (SELECT pid FROM pg_stat_activity WHERE application_name = 'billing-import'))",
    )
    done = api.one("SELECT rows_done FROM usage.imports WHERE file_name = 'killed.csv'")
    assert done < 6000

    result = run(file)

    assert result.exit_code == 1, result.output
    assert stored(api, "killed") == 5940
    assert api.balance(sender) == -5940 * PRICE_UNITS
    with (tmp_path / "killed.csv.errors.csv").open(encoding="utf-8-sig", newline="") as errors:
        told = [int(one["line"]) for one in csv.DictReader(errors)]
    assert told == [number + 2 for number in range(0, 6000, 100)]


def _until(api: Api, query: str) -> None:
    from billing.stack.process import wait_until

    with psycopg.connect(
        api.engine.url.set(drivername="postgresql").render_as_string(hide_password=False),
        autocommit=True,
    ) as connection:
        assert wait_until(lambda: bool((connection.execute(query).fetchone() or [0])[0]), 60)


def test_an_api_that_is_away_stops_the_import_where_it_is(
    api: Api, run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.usage.imports.sender._ATTEMPTS", 1)
    monkeypatch.setattr("billing.usage.imports.sender._FIRST_PAUSE_MS", 0)
    file = write(tmp_path / "away.csv", rows(api.sender(), "away", 3))

    result = run(file, url="http://127.0.0.1:9")

    assert result.exit_code == 1
    assert "Give the same command again" in result.output
    assert urlsplit(str(api.client.base_url)).port != 9
    assert run(file).exit_code == 0
    assert stored(api, "away") == 3
