"""Cells of CSV files that a spreadsheet cannot be tricked with."""

_DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n", "\x00")


def safe_cell(value: object) -> str:
    """A value as text that no spreadsheet runs as a formula.

    Numbers stay numbers, also negative ones; text that begins like a formula gets an apostrophe
    (CWE-1236), looking through the blanks that spreadsheets strip, and loses NUL, which some end
    a cell at.
    """
    text = "" if value is None else str(value)
    if isinstance(value, str) and text.lstrip(" \u00a0\ufeff").startswith(_DANGEROUS):
        text = f"'{text}"
    return text.replace("\x00", "")
