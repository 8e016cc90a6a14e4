"""CSV that a spreadsheet cannot be tricked with."""

import csv
import io
from collections.abc import Iterable, Sequence

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


def to_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """A CSV file in UTF-8 with a byte order mark, which Excel needs to see the encoding."""
    target = io.StringIO()
    writer = csv.writer(target, quoting=csv.QUOTE_MINIMAL)
    writer.writerow([safe_cell(title) for title in header])
    writer.writerows([safe_cell(cell) for cell in row] for row in rows)
    return target.getvalue().encode("utf-8-sig")
