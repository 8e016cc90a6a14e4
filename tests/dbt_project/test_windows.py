"""Windows of local days, as PostgreSQL finds them."""

from datetime import UTC, datetime
from pathlib import Path

import psycopg
from jinja2 import Environment, FileSystemLoader

MACROS = Path(__file__).parents[2] / "dbt_project" / "macros"
# where clocks go back to midnight, leave midnight out, move by half an hour, or not at all
ZONES = [
    "America/Havana",
    "Atlantic/Azores",
    "America/Santiago",
    "Africa/Cairo",
    "Asia/Beirut",
    "Australia/Lord_Howe",
    "America/St_Johns",
    "Asia/Kolkata",
    "Pacific/Kiritimati",
    "Etc/GMT+12",
]
DURING = datetime(2025, 12, 31, tzinfo=UTC), datetime(2028, 1, 2, tzinfo=UTC)


def test_an_instant_lies_between_the_ends_of_its_local_day_and_no_other(database_url: str) -> None:
    windows = Environment(loader=FileSystemLoader(MACROS)).get_template("windows.sql").module
    begins, ends = (windows.day_begins_at(day, "zone") for day in ("day", "day + 1"))  # type: ignore[attr-defined]
    astray = f"""
        SELECT zone, min(at), count(*)
        FROM unnest(%s::text[]) AS zone,
            generate_series(%s::timestamptz, %s, interval '15 minutes') AS at,
            LATERAL (SELECT (at AT TIME ZONE zone)::date AS day) AS found
        WHERE NOT (at >= {begins} AND at < {ends})
        GROUP BY zone
    """
    with psycopg.connect(database_url) as connection:
        assert connection.execute(astray, [ZONES, *DURING]).fetchall() == []
