"""The return as files: the portal's JSON, and a CSV or a sheet per table for people."""

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

from billing.csv_cells import safe_cell
from billing.errors import FieldError, InvalidError
from billing.exports.files import write_xlsx

TABLES: Final = (
    "b2b",
    "b2cl",
    "exp",
    "b2cs",
    "nil",
    "cdnr",
    "cdnur",
    "at",
    "txpd",
    "hsn",
    "doc_issue",
)
_EPOCH = (1980, 1, 1, 0, 0, 0)


def portal_json(found: dict[str, Any]) -> str:
    """JSON with amounts as exact numbers; no binary fraction comes near them."""
    return f"{_json(found)}\n"


def table_csv(found: dict[str, Any], table: str) -> str:
    """A table with one row per item, its columns named like the portal's keys.

    Raises:
        InvalidError: if there is no such table.
    """
    if table not in TABLES:
        raise InvalidError(
            f"GSTR-1 has no table {table}.",
            code="no_such_table",
            fields=[FieldError("table", f"one of {', '.join(TABLES)}")],
        )
    columns, rows = _laid_flat(found, table)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    if columns:
        writer.writerow(columns)
    writer.writerows([safe_cell(cell) for cell in row] for row in rows)
    return text.getvalue()


def tables_xlsx(found: dict[str, Any]) -> bytes:
    """All tables that hold something, a sheet each."""
    book = io.BytesIO()
    write_xlsx(book, [(table, *_laid_flat(found, table)) for table in TABLES if table in found])
    return book.getvalue()


def tables_zip(found: dict[str, Any]) -> bytes:
    """All tables that hold something; the same return gives the same bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for table in TABLES:
            if table in found:
                entry = zipfile.ZipInfo(f"{table}.csv", _EPOCH)
                archive.writestr(entry, table_csv(found, table))
    return packed.getvalue()


def _laid_flat(found: dict[str, Any], table: str) -> tuple[list[str], list[list[Any]]]:
    rows = list(_rows(found.get(table, [])))
    columns = list(dict.fromkeys(column for row in rows for column in row))
    return columns, [[row.get(column) for column in columns] for row in rows]


def _json(value: object) -> str:
    if isinstance(value, dict):
        return f"{{{','.join(f'{json.dumps(key)}:{_json(one)}' for key, one in value.items())}}}"
    if isinstance(value, list):
        return f"[{','.join(_json(one) for one in value)}]"
    if isinstance(value, Decimal):
        return f"{value:f}"
    return json.dumps(value)


def _rows(value: Any, outer: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
    """Nested tables laid flat: what stands outside is repeated on every row within."""
    if isinstance(value, list):
        for one in value:
            yield from _rows(one, outer)
        return
    plain = dict(outer or {})
    nested: list[tuple[str, Any]] = []
    for key, one in value.items():
        if isinstance(one, dict):
            plain |= one
        elif isinstance(one, list):
            nested.append((key, one))
        else:
            plain[key] = one
    if not nested:
        yield plain
    for key, below in nested:
        part = {"part": key} if key.startswith("hsn_") else {}
        yield from _rows(below, plain | part)
