"""How far the import of each file has come."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Integer, LargeBinary, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from billing.db.base import Base
from billing.ids import new_id


class EventImport(Base):
    """A file read with certain options: known by its content, wherever it lies."""

    __tablename__ = "imports"
    __table_args__ = (
        UniqueConstraint("file_sha256", "options_sha256"),
        CheckConstraint("rows_done >= 0 AND errors_bytes >= 0", name="progress_positive"),
        {"schema": "usage"},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    file_sha256: Mapped[bytes] = mapped_column(LargeBinary)
    options_sha256: Mapped[bytes] = mapped_column(LargeBinary)
    file_name: Mapped[str]
    """As it was called last; for people."""
    url: Mapped[str]
    """Of the API that took the events."""
    rows_done: Mapped[int] = mapped_column(default=0)
    """Rows from the beginning of the file whose verdict is known."""
    counts: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Rows of those by verdict."""
    errors_bytes: Mapped[int] = mapped_column(default=0)
    """Length of the error file when `rows_done` was written; what stands after it is not known."""
    attempts: Mapped[int] = mapped_column(Integer, default=1)
    started_by: Mapped[str]
    started_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
