"""From a row to an event that may be sent: the same check as the intake's, on the same JSON."""

from dataclasses import dataclass

from billing.errors import BillingError, FieldError
from billing.usage.body import read_events
from billing.usage.event import EventCheck, Rejected, UsageEvent
from billing.usage.imports.columns import Columns, RowError
from billing.usage.imports.rows import Row
from billing.usage.imports.sender import encode


@dataclass(frozen=True, slots=True)
class Checked:
    """A row, and either the event it stands for or what is wrong with it."""

    row: Row
    event: UsageEvent | None
    body: bytes
    problems: tuple[FieldError, ...] = ()


def check_row(row: Row, columns: Columns, check: EventCheck) -> Checked:
    """Read a row as an event."""
    if row.values is None:
        return _refused(row, row.problem or FieldError("row", "cannot be read"))
    try:
        body = encode(columns.event(row.values))
        (item,), _ = read_events(body, check)
    except RowError as error:
        return _refused(row, error.problem)
    except BillingError as error:
        return _refused(row, *(error.fields or (FieldError("row", error.message),)))
    except (UnicodeEncodeError, OverflowError) as error:
        return _refused(row, FieldError("row", f"cannot be sent: {error}"))
    if isinstance(item, Rejected):
        return _refused(row, *item.fields)
    return Checked(row, item, body)


def _refused(row: Row, *problems: FieldError) -> Checked:
    return Checked(row, None, b"", problems)
