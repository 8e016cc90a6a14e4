"""Rows as files that no spreadsheet can be tricked by."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import xlsxwriter

from billing.csv_cells import safe_cell
from billing.errors import InvalidError

XLSX_ROWS: Final = 1_048_575
"""What a sheet holds below its header."""

_CELL: Final = 32_767
"""Characters that a cell holds."""

_CHUNK: Final = 500


class FileFormat(StrEnum):
    """How a list is written."""

    CSV = "csv"
    XLSX = "xlsx"

    @property
    def media_type(self) -> str:
        """Its name in HTTP."""
        return MEDIA_TYPES[self]


MEDIA_TYPES: Final = {
    FileFormat.CSV: "text/csv",
    FileFormat.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


def csv_chunks(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[bytes]:
    """A CSV file in UTF-8, piece by piece; it begins with the mark by which Excel knows UTF-8."""
    text = io.StringIO()
    writer = csv.writer(text)
    text.write("\ufeff")
    writer.writerow([safe_cell(name) for name in header])
    for number, row in enumerate(rows, start=1):
        writer.writerow([safe_cell(_plain(cell)) for cell in row])
        if number % _CHUNK == 0:
            yield _taken(text)
    yield _taken(text)


def write_xlsx(
    target: Path | io.BytesIO,
    sheets: Iterable[tuple[str, Sequence[str], Iterable[Sequence[object]]]],
) -> None:
    """A workbook with a sheet per title, header and rows; text stays text, whatever it begins with.

    Raises:
        InvalidError: if a sheet cannot hold the rows.
    """
    options = {
        "constant_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
        "in_memory": False,
    }
    book = xlsxwriter.Workbook(target, options)
    # the same rows give the same file
    book.set_properties({"created": datetime(2000, 1, 1, tzinfo=UTC).replace(tzinfo=None)})
    bold, day = book.add_format({"bold": True}), book.add_format({"num_format": "yyyy-mm-dd"})
    with book:
        for title, header, rows in sheets:
            sheet = book.add_worksheet(title[:31])
            sheet.freeze_panes(1, 0)
            for column, name in enumerate(header):
                sheet.write_string(0, column, name, bold)
            for number, row in enumerate(rows, start=1):
                if number > XLSX_ROWS:
                    raise InvalidError(
                        f"A sheet holds {XLSX_ROWS} rows; ask for fewer days, or for CSV.",
                        code="too_many_rows",
                    )
                for column, cell in enumerate(row):
                    _write(sheet, number, column, cell, day)


def _write(sheet: Any, row: int, column: int, cell: object, day: Any) -> None:
    if cell is None:
        return
    if isinstance(cell, datetime):
        sheet.write_string(row, column, _instant(cell))
    elif isinstance(cell, date):
        sheet.write_datetime(row, column, cell, day)
    elif isinstance(cell, bool):
        sheet.write_boolean(row, column, cell)
    elif isinstance(cell, int | Decimal) and _is_exact(cell):
        sheet.write_number(row, column, cell)
    else:
        sheet.write_string(row, column, str(cell)[:_CELL].replace("\x00", ""))


def _is_exact(number: int | Decimal) -> bool:
    """Whether a sheet shows these digits: it keeps fifteen of them."""
    return len(Decimal(number).normalize().as_tuple().digits) <= 15


def _plain(cell: object) -> object:
    return _instant(cell) if isinstance(cell, datetime) else cell


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _taken(text: io.StringIO) -> bytes:
    found = text.getvalue().encode()
    text.seek(0)
    text.truncate()
    return found
