"""Reading one row of the journal back, for people: what a row that was set aside meant to say."""

import struct
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from psycopg.types.numeric import NumericBinaryLoader

from billing.usage.event import EPOCH
from billing.usage.row import COLUMNS, POSTGRES_EPOCH_US

_numeric: Final = NumericBinaryLoader(0)

_READERS: Final[dict[str, Callable[[bytes], Any]]] = {
    "uuid": lambda value: UUID(bytes=value),
    "bigint": lambda value: struct.unpack(">q", value)[0],
    "integer": lambda value: struct.unpack(">i", value)[0],
    "date": lambda value: date(2000, 1, 1) + timedelta(days=struct.unpack(">i", value)[0]),
    "text": lambda value: value.decode(),
    "bytea": bytes,
    "timestamptz": lambda value: (
        EPOCH + timedelta(microseconds=struct.unpack(">q", value)[0] + POSTGRES_EPOCH_US)
    ),
    "numeric": _numeric.load,
    "jsonb": lambda value: msgspec.json.decode(value[1:]),
}

_AS_SENT: Final = (
    ("source", "source"),
    ("event_id", "event_id"),
    ("event_type", "event_type"),
    ("occurred_at", "occurred_at"),
    ("account_id", "account_id"),
    ("quantity", "quantity"),
    ("dimensions", "dimensions"),
    ("vendor_cost", "cost"),
)


def read_row(row: bytes) -> dict[str, Any]:
    """The columns of one row of `billing.usage.row`.

    Raises:
        ValueError: if it is none.
    """
    found: dict[str, Any] = {}
    try:
        at = 2
        for name, kind in COLUMNS:
            (length,) = struct.unpack_from(">i", row, at)
            at += 4
            value = None
            if length >= 0:
                if at + length > len(row):
                    raise ValueError("the row is cut off")
                value = _READERS[kind](row[at : at + length])
                at += length
            found[name] = value
    except (struct.error, OverflowError, ArithmeticError, msgspec.DecodeError) as error:
        raise ValueError(f"no row: {error}") from error
    if at != len(row):
        raise ValueError("more than one row")
    return found


def event_json(columns: dict[str, Any]) -> str:
    """The event of a row as its sender could have sent it."""
    told: dict[str, Any] = {}
    for column, name in _AS_SENT:
        value = columns.get(column)
        if value is not None:
            told[name] = format(value, "f") if column in {"quantity", "vendor_cost"} else value
    return msgspec.json.encode(told).decode()
