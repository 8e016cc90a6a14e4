"""Which column says what of an event, and how its values are written as an event's JSON."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from billing.errors import FieldError, InvalidError
from billing.rating.match import DIMENSIONS

FIELDS: Final = (
    "source",
    "event_id",
    "event_type",
    "occurred_at",
    "account_id",
    "alias",
    "quantity",
    "cost",
)
_NUMBERS: Final = frozenset({"quantity", "cost"})
_PREFIX: Final = "dimensions."
_ALL_DIMENSIONS: Final = "dimensions"


class RowError(ValueError):
    """A row that can be no event; `problem` says why."""

    def __init__(self, problem: FieldError) -> None:
        super().__init__(problem.message)
        self.problem = problem


class Columns:
    """Turns rows into events as they are sent.

    Columns named like a field of an event, like a known dimension (`country`), or
    `dimensions.<name>` are recognised; `dimensions` may hold all of them.

    Args:
        mapped: the column of a field, as told by hand.
        constants: values of fields that stand in no column.
        ignored: columns that are not read.
        zone: of times without an offset; None refuses them.
    """

    def __init__(
        self,
        mapped: Mapping[str, str],
        constants: Mapping[str, str],
        ignored: Sequence[str] = (),
        zone: str | None = None,
    ) -> None:
        for field in (*mapped, *constants):
            if field not in FIELDS and not field.startswith(_PREFIX) and field != _ALL_DIMENSIONS:
                raise InvalidError(
                    f"An event has no field {field}; it has {', '.join(FIELDS)} "
                    f"and {_PREFIX}<name>."
                )
        self._by_column = {column: field for field, column in mapped.items()}
        self._constants = constants
        self._ignored = frozenset(ignored)
        try:
            self._zone = ZoneInfo(zone) if zone else None
        except (LookupError, ValueError, OSError):
            raise InvalidError(f"There is no time zone {zone}.") from None

    def require(self, names: Sequence[str]) -> None:
        """Refuse a file whose columns cannot make events, before anything is sent.

        Raises:
            InvalidError: naming the columns that are missing, unknown or in each other's way.
        """
        fields = [self._field(name) for name in names if name not in self._ignored]
        missing = [name for name in self._by_column if name not in names]
        if missing:
            raise InvalidError(f"There is no column {', '.join(missing)}.")
        unknown = [
            name for name in names if name not in self._ignored and self._field(name) is None
        ]
        if unknown:
            raise InvalidError(
                f"It is not known what these columns say: {', '.join(unknown)}. Name their field "
                f"(--map {_PREFIX}NAME=COLUMN) or leave them out (--ignore COLUMN)."
            )
        given = [field for field in fields if field] + list(self._constants)
        twice = sorted({field for field in given if given.count(field) > 1})
        if twice:
            raise InvalidError(f"More than one column or value is given for {', '.join(twice)}.")
        lacking = [name for name in FIELDS[:4] if name not in given]
        if lacking or not {"account_id", "alias"} & set(given):
            lacking += [] if {"account_id", "alias"} & set(given) else ["account_id or alias"]
            raise InvalidError(
                f"No column says {', '.join(lacking)}. Name one (--map FIELD=COLUMN) or give one "
                "value for all (--set FIELD=VALUE)."
            )

    def event(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """A row as the event it stands for; what is empty is left out.

        Raises:
            RowError: if a value cannot be written as one of an event.
        """
        event: dict[str, Any] = {}
        dimensions: dict[str, Any] = {}
        named = [
            (self._field(column), column, value)
            for column, value in values.items()
            if column not in self._ignored
        ]
        for field, column, value in (
            *named,
            *((field, field, value) for field, value in self._constants.items()),
        ):
            if field is None:
                raise RowError(FieldError(column, "is not known"))
            if value is None or value == "":
                continue
            if field == _ALL_DIMENSIONS:
                dimensions |= _given(value)
            elif field.startswith(_PREFIX):
                dimensions[field.removeprefix(_PREFIX)] = _text(field, value)
            else:
                event[field] = self._value(field, value)
        if dimensions:
            event[_ALL_DIMENSIONS] = dimensions
        return event

    def _field(self, column: str) -> str | None:
        if column in self._by_column:
            return self._by_column[column]
        if column in FIELDS or column == _ALL_DIMENSIONS:
            return column
        if column.startswith(_PREFIX) and len(column) > len(_PREFIX):
            return column
        return f"{_PREFIX}{column}" if column in DIMENSIONS else None

    def _value(self, field: str, value: Any) -> Any:
        if field == "occurred_at":
            return self._instant(value)
        if field in _NUMBERS and isinstance(value, int) and not isinstance(value, bool):
            return value
        if field in _NUMBERS and isinstance(value, Decimal):
            text = format(value, "f")
            return text.rstrip("0").rstrip(".") if "." in text else text
        return _text(field, value)

    def _instant(self, value: Any) -> str:
        if isinstance(value, str):
            try:
                instant = datetime.fromisoformat(value.strip())
            except ValueError:
                raise RowError(
                    FieldError("occurred_at", "is not a time such as 2026-07-15T10:00:00+05:30")
                ) from None
        elif isinstance(value, datetime):
            instant = value
        else:
            raise RowError(FieldError("occurred_at", "is not a time"))
        if instant.tzinfo is None:
            if self._zone is None:
                raise RowError(FieldError("occurred_at", "has no offset; give one, or --zone"))
            instant = instant.replace(tzinfo=self._zone)
        return instant.isoformat()


def _given(value: Any) -> dict[str, Any]:
    """All dimensions at once: an object, or its JSON in a cell."""
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise RowError(FieldError(_ALL_DIMENSIONS, "is not JSON")) from None
    if not isinstance(value, dict):
        raise RowError(FieldError(_ALL_DIMENSIONS, "is not an object"))
    return {
        name: _text(f"{_PREFIX}{name}", part) for name, part in value.items() if part is not None
    }


def _text(field: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal | date):
        raise RowError(FieldError(field, "must be text"))
    if isinstance(value, Decimal):
        return format(value, "f")
    return value.isoformat() if isinstance(value, date) else str(value)
