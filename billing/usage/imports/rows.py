"""Rows of CSV, JSONL and Parquet files, one after the other, in bounded memory.

A row that cannot be read is a row with a problem, and the next one is read. The text formats are
read line by line, because people mend a file by line numbers, and a parser of whole blocks knows
none and ends at the first torn line. Parquet is scanned by Polars in batches.
"""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final

from billing.errors import FieldError, InvalidError

MAX_LINE: Final = 1_000_000
"""Bytes; an event is far smaller, so this is a file of something else."""

_PARQUET_BATCH: Final = 5_000


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file.

    Args:
        number: 1 for the first row; rows that cannot be read count too.
        line: of the file, where the row begins; of Parquet the number of the row.
        raw: as it stands in the file, for people.
        values: by column; None if the row cannot be read.
        problem: what is wrong then.
        position: how much of the file is read with it, in the unit of `Source.size`.
    """

    number: int
    line: int
    raw: str
    values: Mapping[str, Any] | None
    problem: FieldError | None
    position: int


@dataclass(frozen=True, slots=True)
class Source:
    """A file that was opened far enough to know its columns.

    Args:
        columns: None if every row may have others (JSONL).
        size: bytes; of Parquet, rows.
    """

    columns: Sequence[str] | None
    size: int
    _rows: Callable[[], Iterator[Row]]

    def rows(self, skip: int = 0) -> Iterator[Row]:
        """The rows after the first `skip`."""
        return islice(self._rows(), skip, None)


def open_source(file: Path, delimiter: str = ",") -> Source:
    """Look at a file.

    Raises:
        InvalidError: if its name does not say what it is, or its beginning is not that.
    """
    if not file.is_file():
        raise InvalidError(f"There is no file {file}.")
    match file.suffix.lower():
        case ".csv" | ".tsv":
            return _csv_source(file, "\t" if file.suffix.lower() == ".tsv" else delimiter)
        case ".jsonl" | ".ndjson":
            return Source(None, file.stat().st_size, lambda: _json_rows(file))
        case ".parquet":
            return _parquet_source(file)
    raise InvalidError(f"{file.name} is none of .csv, .tsv, .jsonl, .ndjson and .parquet.")


class _Lines:
    """The lines of a text file for a parser that takes as many as it needs.

    Bytes that are no UTF-8 become surrogates, which no event may hold: the row is refused, and the
    file read on.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.line = 0
        self.position = 0
        self.taken: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        raw = self._file.readline(MAX_LINE + 1)
        if not raw:
            raise StopIteration
        text = raw.decode("utf-8-sig" if self.line == 0 else "utf-8", "surrogateescape")
        self.line += 1
        self.position += len(raw)
        self.taken.append(text)
        return text

    def take(self) -> str:
        """What was read since the last call, without the end of the line."""
        raw = "".join(self.taken).rstrip("\r\n")
        self.taken.clear()
        return raw


def _csv_source(file: Path, delimiter: str) -> Source:
    if len(delimiter) != 1:
        raise InvalidError("A delimiter is one character.")
    with file.open("rb") as opened:
        lines = _Lines(opened)
        try:
            header = next(csv.reader(lines, delimiter=delimiter, strict=True), None)
        except csv.Error as error:
            raise InvalidError(f"The header of {file.name} cannot be read: {error}.") from None
    if not header:
        raise InvalidError(f"{file.name} is empty; its first line must name the columns.")
    columns = [name.strip() for name in header]
    if any("\udc80" <= character <= "\udcff" for name in columns for character in name):
        raise InvalidError(f"{file.name} is not UTF-8.")
    return Source(columns, file.stat().st_size, lambda: _csv_rows(file, delimiter, columns))


def _csv_rows(file: Path, delimiter: str, columns: Sequence[str]) -> Iterator[Row]:
    with file.open("rb") as opened:
        lines = _Lines(opened)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        next(reader)
        lines.take()
        number = 0
        while True:
            begins = lines.line + 1
            cells: list[str] = []
            problem = None
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                problem = FieldError("row", f"cannot be read: {error}")
            raw = lines.take()
            if problem is None and not any(cells):
                continue  # an empty line
            number += 1
            if problem is None and len(cells) != len(columns):
                problem = FieldError("row", f"has {len(cells)} cells, not {len(columns)}")
            elif problem is None and not _is_text(raw):
                problem = FieldError("row", "is not UTF-8")
            values = None if problem else dict(zip(columns, cells, strict=True))
            yield Row(number, begins, raw, values, problem, lines.position)


def _json_rows(file: Path) -> Iterator[Row]:
    with file.open("rb") as opened:
        lines = _Lines(opened)
        number = 0
        for text in lines:
            raw = lines.take()
            if not text.strip():
                continue
            number += 1
            values, problem = _json_object(raw)
            yield Row(number, lines.line, raw, values, problem, lines.position)


def _json_object(raw: str) -> tuple[dict[str, Any] | None, FieldError | None]:
    """A line of JSONL; numbers with a fraction stay text, so that none becomes a float."""
    if len(raw) > MAX_LINE:
        return None, FieldError("row", f"is longer than {MAX_LINE} bytes")
    if not _is_text(raw):
        return None, FieldError("row", "is not UTF-8")
    try:
        found = json.loads(raw, parse_float=str, parse_constant=str, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        return None, FieldError("row", f"is not JSON: {reason}")
    if not isinstance(found, dict):
        return None, FieldError("row", "is not a JSON object")
    return found, None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key comes twice")
    return found


def _is_text(raw: str) -> bool:
    return not any("\udc80" <= character <= "\udcff" for character in raw)


def _parquet_source(file: Path) -> Source:
    import polars as pl  # noqa: PLC0415 - half a second, which only Parquet needs

    try:
        scanned = pl.scan_parquet(file)
        schema = scanned.collect_schema()
        height = int(scanned.select(pl.len()).collect().item())
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InvalidError(f"{file.name} is no Parquet file that can be read: {error}") from None
    floats = [name for name, kind in schema.items() if kind.is_float()]
    if floats:
        raise InvalidError(
            "Columns of floating point numbers do not hold decimals exactly; write them as "
            f"decimals, integers or text: {', '.join(floats)}."
        )
    return Source(schema.names(), height, lambda: _parquet_rows(file))


def _parquet_rows(file: Path) -> Iterator[Row]:
    import polars as pl  # noqa: PLC0415

    number = 0
    try:
        for batch in pl.scan_parquet(file).collect_batches(
            chunk_size=_PARQUET_BATCH, maintain_order=True
        ):
            for values in batch.iter_rows(named=True):
                number += 1
                raw = json.dumps(values, default=_said, ensure_ascii=False)
                yield Row(number, number, raw, values, None, number)
    except pl.exceptions.PolarsError as error:
        raise InvalidError(
            f"{file.name} cannot be read after row {number}: {error}", code="torn_file"
        ) from None


def _said(value: object) -> str:
    return format(value, "f") if isinstance(value, Decimal) else str(value)
