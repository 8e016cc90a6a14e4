"""Rows of the event table as Polars frames and Parquet, and back, without losing a digit.

Decimals stay decimals of 20 digits and 6 places, instants stay microseconds of UTC. Rows travel as
the CSV of COPY; an absent `vendor_cost` is the only thing that can be empty.
"""

from collections.abc import Iterator
from datetime import date
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from psycopg import Connection

from billing.errors import UnavailableError
from billing.usage.storage import bounds_of_day

if TYPE_CHECKING:
    import polars as pl

MOST_ROWS: Final = 250_000
"""Rows of one file: some hundred megabytes while it is made, some ten on disk."""

_MICROSECONDS: Final = "(extract(epoch FROM {0}) * 1000000)::bigint AS {0}"
_INSTANTS: Final = ("occurred_at", "received_at", "recorded_at")
_DECIMALS: Final = ("quantity", "vendor_cost")
_INTEGERS: Final = ("shard", "accept_seq", "revision")
NAMES: Final = (
    "occurred_at",
    "shard",
    "accept_seq",
    "source",
    "event_id",
    "revision",
    "account_id",
    "event_type",
    "quantity",
    "dimensions",
    "vendor_cost",
    "voided",
    "received_at",
    "recorded_at",
)

_SELECT: Final = ", ".join(
    _MICROSECONDS.format(name) if name in _INSTANTS else name for name in NAMES
)
_OUT: Final = f"""
COPY (
    SELECT {_SELECT} FROM usage.raw_events
    WHERE occurred_at >= %(start)s AND occurred_at < %(end)s
        AND (shard, accept_seq) > (%(shard)s, %(accept_seq)s)
    ORDER BY shard, accept_seq LIMIT %(limit)s
) TO STDOUT (FORMAT csv, HEADER)
"""
_IN: Final = f"({', '.join(NAMES)}) FROM STDIN (FORMAT csv, HEADER)"


Place = tuple[int, int]
"""Shard and `accept_seq` of a row."""

BEFORE_ALL: Final[Place] = (-1, 0)


def frame_after(connection: Connection[Any], day: date, after: Place, rows: int) -> "pl.DataFrame":
    """The next events of a UTC day, in the order of shard and acceptance."""
    start, end = bounds_of_day(day)
    scope = {
        "start": start,
        "end": end,
        "shard": after[0],
        "accept_seq": after[1],
        "limit": rows,
    }
    with connection.cursor() as cursor, cursor.copy(_OUT, scope) as copy:
        return _read_copy(b"".join(bytes(block) for block in copy))


def last_of(frame: "pl.DataFrame") -> Place:
    """Where the last row of a frame stands."""
    return frame[-1, "shard"], frame[-1, "accept_seq"]


def frames_of_day(
    connection: Connection[Any], day: date, rows: int = MOST_ROWS
) -> Iterator["pl.DataFrame"]:
    """All events of a UTC day, some at a time."""
    after = BEFORE_ALL
    while (frame := frame_after(connection, day, after, rows)).height:
        yield frame
        after = last_of(frame)


def store_frame(
    connection: Connection[Any], frame: "pl.DataFrame", table: str = "usage.raw_events"
) -> int:
    """Put events into the event table, or one like it; returns how many rows it took."""
    import polars as pl  # noqa: PLC0415 - half a second, which only archives need

    text = frame.with_columns(
        pl.col(name).dt.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00") for name in _INSTANTS
    )
    with connection.cursor() as cursor:
        with cursor.copy(f"COPY {table} {_IN}") as copy:
            copy.write(text.select(NAMES).write_csv().encode())
        return cursor.rowcount


def to_parquet(frame: "pl.DataFrame") -> bytes:
    """A frame as a file."""
    target = BytesIO()
    frame.write_parquet(target, compression="zstd", statistics=True)
    return target.getvalue()


def from_parquet(content: bytes) -> "pl.DataFrame":
    """The frame of a file.

    Raises:
        UnavailableError: if it is no Parquet file, or one with other columns.
    """
    import polars as pl  # noqa: PLC0415

    try:
        frame = pl.read_parquet(BytesIO(content))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UnavailableError(f"A file of the archive cannot be read: {error}") from None
    if dict(frame.schema) != _schema():
        raise UnavailableError(f"A file of the archive has other columns: {frame.schema}")
    return frame


def _schema() -> "dict[str, pl.DataType]":
    import polars as pl  # noqa: PLC0415

    kinds: dict[str, pl.DataType] = dict.fromkeys(NAMES, pl.String())
    kinds |= dict.fromkeys(_INSTANTS, pl.Datetime("us", "UTC"))
    kinds |= dict.fromkeys(_DECIMALS, pl.Decimal(20, 6))
    kinds |= dict.fromkeys(_INTEGERS, pl.Int64())
    kinds["voided"] = pl.Boolean()
    return kinds


def _read_copy(text: bytes) -> "pl.DataFrame":
    import polars as pl  # noqa: PLC0415

    numbers = {*_INSTANTS, *_INTEGERS}
    plain = {name: pl.Int64() if name in numbers else pl.String() for name in NAMES}
    frame = pl.read_csv(BytesIO(text), schema_overrides=plain, infer_schema=False)
    return frame.with_columns(
        *(pl.col(name).cast(pl.Datetime("us")).dt.replace_time_zone("UTC") for name in _INSTANTS),
        *(pl.col(name).cast(pl.Decimal(20, 6)) for name in _DECIMALS),
        (pl.col("voided") == "t").alias("voided"),
    )
