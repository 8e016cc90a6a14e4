"""One event as a row of PostgreSQL's binary COPY format, made once at the door.

The intake writes the row, Redis carries it as bytes, and the writer hands it to COPY as it is: no
object is made for an event between the two.
"""

import struct
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Final
from uuid import UUID

from psycopg.types.numeric import dump_decimal_to_numeric_binary

from billing.usage.event import UsageEvent

COLUMNS: Final = (
    ("wallet_id", "uuid"),
    ("account_id", "uuid"),
    ("rate_id", "uuid"),
    ("amount_units", "bigint"),
    ("card_version", "integer"),
    ("counted_on", "date"),
    ("counted_micros", "bigint"),
    ("source", "text"),
    ("event_id", "text"),
    ("body_hash", "bytea"),
    ("event_type", "text"),
    ("occurred_at", "timestamptz"),
    ("quantity", "numeric"),
    ("dimensions", "jsonb"),
    ("vendor_cost", "numeric"),
)
"""What a row holds, in this order. The two of a counter are NULL unless one was advanced."""

COPY_HEAD: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_TAIL: Final = b"\xff\xff"

_NULL: Final = struct.pack(">i", -1)
_FIELD_COUNT: Final = struct.pack(">h", len(COLUMNS))
POSTGRES_EPOCH_US: Final = 946_684_800_000_000
POSTGRES_EPOCH_DAY: Final = date(2000, 1, 1)
AMOUNT_AT: Final = 66
"""Where a row of a wallet and a rate has the 8 bytes of its amount; `admit.lua` writes there."""
_PRICED: Final = struct.Struct(">iqiiii")
_COUNTED: Final = struct.Struct(">iqiiiiiq")
_LENGTH: Final = struct.Struct(">i")
_HASH: Final = struct.Struct(">i8s")
_TIME: Final = struct.Struct(">iq")
_JSON: Final = struct.Struct(">iB")


def uuid_field(value: UUID | None) -> bytes:
    """A uuid column's bytes."""
    return _NULL if value is None else _LENGTH.pack(16) + value.bytes


def row_head(wallet_id: UUID | None, account_id: UUID) -> bytes:
    """The beginning of every row of an account; worth keeping."""
    return _FIELD_COUNT + uuid_field(wallet_id) + uuid_field(account_id)


@lru_cache(maxsize=4096)
def _numeric_field(value: Decimal | None) -> bytes:
    if value is None:
        return _NULL
    number = bytes(dump_decimal_to_numeric_binary(value))
    return _LENGTH.pack(len(number)) + number


@lru_cache(maxsize=4096)
def _text_field(value: str) -> bytes:
    text = value.encode()
    return _LENGTH.pack(len(text)) + text


@lru_cache(maxsize=4096)
def _priced_field(amount_units: int, card_version: int) -> bytes:
    return _PRICED.pack(8, amount_units, 4, card_version, -1, -1)


def encode_row(
    head: bytes,
    rate: bytes,
    amount_units: int,
    event: UsageEvent,
    *,
    card_version: int = 0,
    counted: tuple[date, int] | None = None,
) -> bytes:
    """The whole row.

    Args:
        head: from `row_head`.
        rate: from `uuid_field`, the rate that priced it.
        amount_units: the provisional debit in wallet units, not negative; of counted usage it is
            written later, by who holds the counter.
        card_version: of the rate card that priced it.
        counted: the first local day of the counter that it advances, and the millionths of a
            unit by which it does.
    """
    event_id = event.event_id.encode()
    json_text = event.dimensions_json
    if counted is None:
        priced = _priced_field(amount_units, card_version)
    else:
        day = (counted[0] - POSTGRES_EPOCH_DAY).days
        priced = _COUNTED.pack(8, amount_units, 4, card_version, 4, day, 8, counted[1])
    return b"".join(
        (
            head,
            rate,
            priced,
            _text_field(event.source),
            _LENGTH.pack(len(event_id)),
            event_id,
            _HASH.pack(8, event.body_hash),
            _text_field(event.event_type),
            _TIME.pack(8, event.occurred_us - POSTGRES_EPOCH_US),
            _numeric_field(event.quantity),
            _JSON.pack(len(json_text) + 1, 1),
            json_text,
            _numeric_field(event.cost),
        )
    )


def split_rows(rows: bytes) -> Iterator[bytes]:
    """Each row of several joined ones.

    Raises:
        ValueError: if they are not rows of this shape.
    """
    at = 0
    while at < len(rows):
        start = at
        if rows[at : at + 2] != _FIELD_COUNT:
            raise ValueError(f"no row begins at byte {at}")
        at += 2
        for _ in COLUMNS:
            if at + 4 > len(rows):
                raise ValueError("the last row is cut off")
            (length,) = _LENGTH.unpack_from(rows, at)
            at += 4 + max(length, 0)
        if at > len(rows):
            raise ValueError("the last row is cut off")
        yield rows[start:at]
