"""Single checks of `billing doctor` on things that are missing."""

import ctypes
import errno
from collections.abc import Iterable
from datetime import date
from pathlib import Path

import psycopg
import pytest
import redis

from billing.settings import Settings
from billing.stack import doctor_machine, doctor_servers, doctor_zones, ports
from billing.stack.findings import Finding, Verdict
from billing.stack.state import without_password


def test_a_package_that_does_not_load_is_named() -> None:
    (finding,) = doctor_machine.check_modules(Settings(), ["json", "no_such_module"])
    assert finding.verdict is Verdict.WRONG
    assert "no_such_module does not load (ModuleNotFoundError" in finding.seen
    assert finding.mend == "scripts/setup.sh"


def test_missing_libraries_come_with_the_exact_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise OSError(errno.ENOENT, name)

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    (finding,) = doctor_machine.check_libraries(Settings())
    assert finding.verdict is Verdict.WRONG
    assert finding.mend == (
        "apt-get install -y libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0"
    )


def test_a_folder_that_cannot_be_made_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (finding,) = doctor_machine.check_folder(Settings(local_dir=tmp_path / "file" / ".local"))
    assert finding.verdict is Verdict.WRONG


def test_a_taken_default_port_is_a_note_and_a_taken_chosen_one_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "is_free", lambda _: False)
    verdicts = {
        finding.seen.split()[2]: finding.verdict
        for finding in doctor_machine.check_ports(Settings(local_dir=tmp_path, redis_port=1))
    }
    assert verdicts["Redis"] is Verdict.WRONG
    assert verdicts["PostgreSQL"] is Verdict.NOTE


def test_the_machine_the_tests_run_on_has_what_documents_need() -> None:
    findings = [
        *doctor_machine.check_libraries(Settings()),
        *doctor_machine.check_fonts(Settings()),
    ]
    assert [finding.verdict for finding in findings] == [Verdict.OK, Verdict.OK]


def wrong(findings: Iterable[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.verdict is Verdict.WRONG]


def test_a_redis_that_may_lose_money_is_named(redis_url: str) -> None:
    settings = Settings(REDIS_URL=redis_url)
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            (finding,) = wrong(doctor_servers.check_redis(settings))
        finally:
            client.config_set("maxmemory-policy", "noeviction")
    assert finding.mend.startswith("CONFIG SET maxmemory-policy noeviction")
    assert wrong(doctor_servers.check_redis(settings)) == []


def test_an_old_schema_comes_with_the_command(empty_database_url: str) -> None:
    (finding,) = wrong(doctor_servers.check_database(Settings(DATABASE_URL=empty_database_url)))
    assert finding.seen.startswith("at nothing, newest is")
    assert finding.mend == "billing migrate"


@pytest.mark.parametrize("scheme", ["postgresql", "redis"])
def test_a_server_that_is_away_is_wrong(scheme: str) -> None:
    url = f"{scheme}://127.0.0.1:{ports.any_free()}/0"
    settings = Settings(DATABASE_URL=url, REDIS_URL=url)
    check = {
        "postgresql": doctor_servers.check_database,
        "redis": doctor_servers.check_redis,
    }[scheme]
    (finding,) = wrong(check(settings))
    assert finding.seen.startswith("it does not answer")


def test_a_password_is_never_shown() -> None:
    shown = without_password("postgresql://me:secret@db.example:5432/billing?sslmode=require")
    assert shown == "postgresql://me:***@db.example:5432/billing?sslmode=require"


def test_the_zones_of_accounts_are_compared_with_those_of_postgresql(database_url: str) -> None:
    *_, zones = doctor_servers.check_database(
        Settings.model_validate({"DATABASE_URL": database_url})
    )
    assert (zones.subject, zones.verdict) == ("time zones", Verdict.OK)


def test_a_zone_with_another_law_in_postgresql_is_named(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url) as connection:
        connection.execute(
            "CREATE TEMP VIEW pg_timezone_names AS SELECT 'Asia/Kolkata'::text AS name"
        )
        connection.execute("SET search_path = pg_temp, pg_catalog")
        wanted = ["Asia/Kolkata", "Asia/Jakarta"]
        assert doctor_zones.zones_that_differ(connection, wanted, date(2026, 7, 1)) == [
            "Asia/Jakarta"
        ]
