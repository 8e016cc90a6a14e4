"""Lists as files, for whoever may see them."""

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.db.unit_of_work import read_only
from billing.errors import not_found
from billing.exports.files import FileFormat, csv_chunks, write_xlsx
from billing.exports.lists import LISTS, ExportList

_BATCH: Final = 2000
_PIECE: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class ExportFilter:
    """Which part of a list; days are of India's calendar, `to_day` is no longer in it."""

    account_id: UUID | None = None
    from_day: date | None = None
    to_day: date | None = None


def find_list(actor: Actor, name: str) -> ExportList:
    """A list that the actor may have.

    Raises:
        NotFoundError: if there is none of that name.
    """
    found = LISTS.get(name)
    if found is None:
        raise not_found("export", name)
    actor.require(found.permission)
    return found


def export(
    engine: Engine, actor: Actor, name: str, wanted: ExportFilter, file_format: FileFormat
) -> Iterator[bytes]:
    """A list as a file, piece by piece; memory stays flat whatever its length.

    Raises:
        NotFoundError: if there is no such list.
        InvalidError: if a sheet cannot hold it. Both before the first piece.
    """
    found = find_list(actor, name)
    if file_format is FileFormat.CSV:
        return _csv(engine, actor, found, wanted)
    with _opened(engine, actor, found, wanted) as (header, rows):
        folder = tempfile.TemporaryDirectory(prefix="billing-export-")
        path = Path(folder.name) / "export.xlsx"
        try:
            write_xlsx(path, [(found.title, header, rows)])
        except BaseException:
            folder.cleanup()
            raise
    return _pieces(folder, path)


def export_bytes(
    engine: Engine, actor: Actor, name: str, wanted: ExportFilter, file_format: FileFormat
) -> bytes:
    """A list as a whole file, for a page that offers it."""
    whole = io.BytesIO()
    for piece in export(engine, actor, name, wanted, file_format):
        whole.write(piece)
    return whole.getvalue()


def _csv(engine: Engine, actor: Actor, found: ExportList, wanted: ExportFilter) -> Iterator[bytes]:
    with _opened(engine, actor, found, wanted) as (header, rows):
        yield from csv_chunks(header, rows)


def _pieces(folder: "tempfile.TemporaryDirectory[str]", path: Path) -> Iterator[bytes]:
    with folder, path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece


@contextmanager
def _opened(
    engine: Engine, actor: Actor, found: ExportList, wanted: ExportFilter
) -> Iterator[tuple[list[str], Iterator[tuple[Any, ...]]]]:
    with read_only(engine) as session:
        if not _exists(session, found):
            yield [], iter(())
            return
        result = session.execute(
            text(found.query),
            {
                "customer_id": actor.customer_id,
                "account_id": wanted.account_id,
                "from_day": wanted.from_day,
                "to_day": wanted.to_day,
            },
            execution_options={"yield_per": _BATCH},
        )
        yield list(result.keys()), (tuple(row) for row in result)


def _exists(session: Session, found: ExportList) -> bool:
    if found.relation is None:
        return True
    return session.scalar(text("SELECT to_regclass(:name)"), {"name": found.relation}) is not None
