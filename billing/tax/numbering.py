"""Rules about document numbers. Giving them out is the business of whoever issues.

Source: CGST Rules r.46(b); the invoice registration portal's own refusals; and the house form
`<series>-<year>-<six digits>`, such as `INV-2627-000001`.
"""

import re
from dataclasses import dataclass
from datetime import date
from typing import Final

from billing.errors import InvalidError
from billing.tax.fiscal import financial_year_short

MAX_LENGTH: Final = 16
LAST_OF_SERIES: Final = 999_999

_RULE_46: Final = re.compile(r"[A-Za-z0-9/-]{1,16}", re.ASCII)
_HOUSE: Final = re.compile(r"[A-Z][A-Z0-9]*([-/][A-Z0-9]+)*", re.ASCII)
_SERIES: Final = re.compile(r"[A-Z]{1,3}", re.ASCII)


@dataclass(frozen=True, slots=True)
class NumberCheck:
    """Who would take a document number."""

    rule_46: bool
    """The law."""
    irp: bool
    """The invoice registration portal."""
    house: bool
    """Our own stricter form."""


def check_document_number(value: str) -> NumberCheck:
    """Judge a document number."""
    rule_46 = _RULE_46.fullmatch(value) is not None
    irp = rule_46 and value[0] not in "0/-"
    return NumberCheck(rule_46, irp, irp and _HOUSE.fullmatch(value) is not None)


def format_document_number(series: str, issue_date: date, counter: int) -> str:
    """The number of a document: `INV`, 15 May 2026 and 1 give `INV-2627-000001`.

    Args:
        series: one to three capital letters, no two registrations or document types alike.
        issue_date: local day of the document; it fixes the financial year.
        counter: 1 to `LAST_OF_SERIES`.

    Raises:
        InvalidError: `document_series` or `document_counter` if one is outside its range.
    """
    if _SERIES.fullmatch(series) is None:
        raise InvalidError(
            f"A series is one to three capital letters, not {series!r}.", code="document_series"
        )
    if not 1 <= counter <= LAST_OF_SERIES:
        raise InvalidError(
            f"Series {series} of {financial_year_short(issue_date)} has no number {counter}; "
            "open another series.",
            code="document_counter",
        )
    return f"{series}-{financial_year_short(issue_date)}-{counter:06d}"


def same_number(one: str, other: str) -> bool:
    """Whether two numbers clash within a registration and year; letter case does not matter."""
    return one.upper() == other.upper()


def follows(previous: str, following: str) -> bool:
    """Whether a number is the direct successor of another in the same series.

    Exactly one group of digits differs, by one, and keeps its width unless it overflows.
    """
    before, after = re.split(r"(\d+)", previous), re.split(r"(\d+)", following)
    if len(before) != len(after):
        return False
    differing = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    if len(differing) != 1 or not (differing[0][0].isdigit() and differing[0][1].isdigit()):
        return False
    old, new = differing[0]
    return int(new) == int(old) + 1 and new == str(int(old) + 1).zfill(len(old))
