"""Financial years and the time limits that hang on them. Days are local days of Asia/Kolkata."""

from datetime import date


def _first_year(day: date) -> int:
    return day.year if day.month >= 4 else day.year - 1


def financial_year(day: date) -> str:
    """The financial year of a day, 1 April to 31 March, written `2026-27`."""
    year = _first_year(day)
    return f"{year}-{(year + 1) % 100:02d}"


def financial_year_short(day: date) -> str:
    """The same in four digits, for document numbers: `2627`."""
    year = _first_year(day)
    return f"{year % 100:02d}{(year + 1) % 100:02d}"


def credit_note_deadline(supply_day: date) -> date:
    """The last day to declare a credit note that lowers tax (CGST Act s.34(2)).

    30 November after the financial year of the supply; an earlier annual return ends it earlier.
    """
    return date(_first_year(supply_day) + 1, 11, 30)


def credit_note_safe_issue_day(supply_day: date) -> date:
    """The last day whose credit notes are surely declared in time: a note of November goes into
    the return that is filed in December.
    """
    return date(_first_year(supply_day) + 1, 10, 31)
