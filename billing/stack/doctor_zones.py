"""Whether PostgreSQL and Python know the same law of time: each has a database of zones."""

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import psycopg

from billing.periods import DEFAULT_ZONE, add_months
from billing.stack.findings import Finding, note, ok

_MONTHS = 24

_DIFFERING = """
SELECT DISTINCT zone FROM unnest(%s::text[], %s::date[], %s::timestamptz[]) AS seen (zone, day, at)
WHERE zone NOT IN (SELECT name FROM pg_timezone_names)
    OR (at AT TIME ZONE zone) <> day + time '12:00'
ORDER BY 1
"""


def check_zones(connection: psycopg.Connection) -> Iterator[Finding]:
    """Periods begin where Python says, and usage falls on the days that SQL says."""
    used = {str(row[0]) for row in connection.execute("SELECT DISTINCT zone FROM billing.accounts")}
    ((today,),) = connection.execute("SELECT current_date").fetchall()
    differing = zones_that_differ(connection, used | {DEFAULT_ZONE}, today)
    if differing:
        yield note(
            "time zones",
            f"PostgreSQL and Python know other rules of {', '.join(differing)}: usage around "
            "midnight may fall on another day than its period",
            "bring the zone data of both to the same release",
        )
    else:
        yield ok("time zones", f"PostgreSQL and Python agree on the {len(used)} that accounts use")


def zones_that_differ(
    connection: psycopg.Connection, zones: Iterable[str], today: date
) -> list[str]:
    """Zones whose noon is not the same instant in both, in some month of the next two years."""
    seen = [
        (zone, day, datetime.combine(day, time(12), ZoneInfo(zone)).astimezone(UTC))
        for zone in zones
        for day in (add_months(today.replace(day=1), months) for months in range(_MONTHS))
    ]
    columns = [list(column) for column in zip(*seen, strict=True)]
    return [str(row[0]) for row in connection.execute(_DIFFERING, columns)]
