"""How `usage.raw_events` is stored: the one module that knows whether TimescaleDB is there.

With TimescaleDB it is a hypertable with one-day chunks; without, a table with native daily
partitions, made when an event needs them (`KnownDays`). Everything above sees one table.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from sqlalchemy import Connection, text

_COLUMNS = """
    occurred_at  timestamptz    NOT NULL,
    shard        integer        NOT NULL,
    accept_seq   bigint         NOT NULL,
    source       text           NOT NULL,
    event_id     text           NOT NULL,
    revision     integer        NOT NULL CHECK (revision >= 1),
    account_id   uuid           NOT NULL,
    event_type   text           NOT NULL,
    quantity     numeric(20, 6) NOT NULL CHECK (quantity >= 0 AND quantity <> 'NaN'),
    dimensions   jsonb          NOT NULL,
    vendor_cost  numeric(20, 6) CHECK (vendor_cost <> 'NaN'),
    voided       boolean        NOT NULL DEFAULT false,
    received_at  timestamptz    NOT NULL,
    recorded_at  timestamptz    NOT NULL,
    PRIMARY KEY (occurred_at, shard, accept_seq)
"""


def timescaledb_can_be_created(connection: Connection) -> bool:
    """Whether this server offers the extension."""
    found = connection.scalar(
        text("SELECT count(*) FROM pg_available_extensions WHERE name = 'timescaledb'")
    )
    return bool(found)


def create_event_table(connection: Connection) -> None:
    """Make `usage.raw_events` the best way this server can. Called by its migration."""
    if timescaledb_can_be_created(connection):
        connection.execute(text("CREATE EXTENSION IF NOT EXISTS timescaledb"))
        connection.execute(text(f"CREATE TABLE usage.raw_events ({_COLUMNS})"))
        connection.execute(
            text(
                "SELECT create_hypertable('usage.raw_events', "
                "by_range('occurred_at', INTERVAL '1 day'), create_default_indexes => false)"
            )
        )
    else:
        connection.execute(
            text(f"CREATE TABLE usage.raw_events ({_COLUMNS}) PARTITION BY RANGE (occurred_at)")
        )
    connection.execute(
        text("CREATE INDEX ix_raw_events_shard_accept_seq ON usage.raw_events (shard, accept_seq)")
    )
    connection.execute(
        text("CREATE INDEX ix_raw_events_account_id ON usage.raw_events (account_id, occurred_at)")
    )


def is_hypertable(connection: Connection) -> bool:
    """Whether `usage.raw_events` is a TimescaleDB hypertable (chunks then make themselves)."""
    return not connection.scalar(
        text(
            "SELECT EXISTS (SELECT 1 FROM pg_partitioned_table "
            "WHERE partrelid = 'usage.raw_events'::regclass)"
        )
    )


def partition_statements(days: Iterable[date]) -> list[str]:
    """The statements that give native storage a partition for each of these UTC days.

    A partition is made beside the table and then attached: attaching blocks neither readers nor
    writers, creating it in place would. Running them again changes nothing.
    """
    statements = []
    for day in sorted(set(days)):
        name = f"raw_events_{day:%Y%m%d}"
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        end = start + timedelta(days=1)
        statements.append(
            f"""
            DO $$ BEGIN
                PERFORM pg_advisory_xact_lock(hashtext('usage.{name}'));
                IF to_regclass('usage.{name}') IS NULL THEN
                    CREATE TABLE usage.{name}
                        (LIKE usage.raw_events INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
                    ALTER TABLE usage.raw_events ATTACH PARTITION usage.{name}
                        FOR VALUES FROM ('{start.isoformat()}') TO ('{end.isoformat()}');
                END IF;
            END $$
            """
        )
    return statements


@dataclass(frozen=True, slots=True)
class StoredDay:
    """What the event table holds of one UTC day and shard."""

    day: date
    shard: int
    rows: int
    first_revisions: int
    quantity: Decimal
    vendor_cost: Decimal


def bounds_of_day(day: date) -> tuple[datetime, datetime]:
    """The first instant of a UTC day, and that of the next."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return start, start + timedelta(days=1)


def stored_days(connection: Connection, first: date, end: date) -> list[StoredDay]:
    """What is stored of the UTC days from `first` (in) to `end` (out)."""
    rows = connection.execute(
        text(
            """
            SELECT (occurred_at AT TIME ZONE 'UTC')::date AS day, shard, count(*) AS rows,
                count(*) FILTER (WHERE revision = 1) AS first_revisions,
                sum(quantity)::numeric(38, 6) AS quantity,
                coalesce(sum(vendor_cost), 0)::numeric(38, 6) AS vendor_cost
            FROM usage.raw_events WHERE occurred_at >= :start AND occurred_at < :end
            GROUP BY 1, 2 ORDER BY 1, 2
            """
        ),
        {"start": bounds_of_day(first)[0], "end": bounds_of_day(end)[0]},
    ).mappings()
    return [StoredDay(**row) for row in rows]


def _tables_of_day(connection: Connection, day: date) -> list[str]:
    """The partition or the chunks that hold a UTC day."""
    if not is_hypertable(connection):
        name = f"usage.raw_events_{day:%Y%m%d}"
        exists = connection.scalar(text("SELECT to_regclass(:name)"), {"name": name})
        return [name] if exists else []
    start, end = bounds_of_day(day)
    chunks = connection.scalars(
        text(
            "SELECT show_chunks('usage.raw_events', older_than => CAST(:end AS timestamptz), "
            "newer_than => CAST(:start AS timestamptz))::text"
        ),
        {"start": start, "end": end},
    )
    return [str(chunk) for chunk in chunks]


def close_day(connection: Connection, day: date) -> None:
    """Keep writers out of a UTC day until the transaction ends; readers go on."""
    for table in _tables_of_day(connection, day):
        connection.execute(text(f"LOCK TABLE {table} IN SHARE MODE"))


def drop_day(connection: Connection, day: date) -> None:
    """Remove the events of a UTC day with the table they are in; takes no time however many.

    The day comes back, empty, when an event of it arrives.
    """
    if is_hypertable(connection):
        start, end = bounds_of_day(day)
        connection.execute(
            text(
                "SELECT drop_chunks('usage.raw_events', older_than => CAST(:end AS timestamptz), "
                "newer_than => CAST(:start AS timestamptz))"
            ),
            {"start": start, "end": end},
        ).all()
        return
    for table in _tables_of_day(connection, day):
        connection.execute(text(f"DROP TABLE {table}"))


def make_day(connection: Connection, day: date) -> None:
    """Let events of a UTC day in."""
    if not is_hypertable(connection):
        for statement in partition_statements([day]):
            connection.execute(text(statement))
