"""The file that says which rows were refused, and why."""

import csv
import io
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from billing.csv_cells import safe_cell
from billing.errors import FieldError, InvalidError
from billing.usage.imports.rows import Row

_HEAD: Final = b"\xef\xbb\xbfline,field,message,row\r\n"
"""With the byte order mark that Excel needs to see the encoding."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that was not taken."""

    row: Row
    problem: FieldError


class ErrorFile:
    """Appends refusals; made only when there is a first one.

    Args:
        path: what stands there beyond `size` was written by an attempt that never noted it, and is
            cut off: its rows are looked at again.
        size: how long it was when progress was last noted.

    Raises:
        InvalidError: if something else than refusals stands there.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        if path.is_file():
            with path.open("rb") as file:
                head = file.read(len(_HEAD))
            if head not in {_HEAD, b""}:
                raise InvalidError(f"{path} exists and holds something else; name another file.")
            if path.stat().st_size > size:
                os.truncate(path, size)
            self.size = path.stat().st_size
        else:
            self.size = 0

    def write(self, refusals: Iterable[Refusal]) -> None:
        """Add rows, and have them on disk when this returns."""
        text = io.StringIO()
        writer = csv.writer(text)
        for refusal in refusals:
            writer.writerow(
                (
                    refusal.row.line,
                    safe_cell(refusal.problem.field),
                    safe_cell(refusal.problem.message),
                    safe_cell(refusal.row.raw),
                )
            )
        rows = text.getvalue()
        if not rows:
            return
        with self.path.open("ab") as file:
            if not self.size:
                file.write(_HEAD)
            file.write(rows.encode("utf-8", "backslashreplace"))
            file.flush()
            os.fsync(file.fileno())
            self.size = file.tell()
