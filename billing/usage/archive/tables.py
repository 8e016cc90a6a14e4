"""Which months were moved out of the event table, where to, and what of them is back."""

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Integer, Numeric
from sqlalchemy.orm import Mapped, mapped_column

from billing.db.base import Base, choices
from billing.ids import new_id


class ArchiveState(StrEnum):
    """Where the events of a month are."""

    WRITING = "writing"
    """In PostgreSQL; files may be there, but nobody has read them back yet."""
    VERIFIED = "verified"
    """The files were read back and hold the same; days are leaving PostgreSQL one by one."""
    ARCHIVED = "archived"
    """In the files alone."""
    RESTORED = "restored"
    """In both."""


class EventArchive(Base):
    """One month of events as files."""

    __tablename__ = "archives"
    __table_args__ = (
        CheckConstraint("extract(day FROM month) = 1", name="month_is_its_first_day"),
        {"schema": "usage"},
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    month: Mapped[date] = mapped_column(unique=True)
    location: Mapped[str]
    """The folder or `s3://` address that all paths of the manifest begin at."""
    state: Mapped[ArchiveState] = mapped_column(choices(ArchiveState))
    manifest: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Files with their hashes, rows and sums; the same stands beside the files."""
    started_by: Mapped[str]
    started_at: Mapped[datetime]
    verified_at: Mapped[datetime | None]
    archived_at: Mapped[datetime | None]
    restored_at: Mapped[datetime | None]


class ArchivedDay(Base):
    """The events of one UTC day and shard that are in an archive."""

    __tablename__ = "archived_days"
    __table_args__ = (
        CheckConstraint("rows > 0 AND first_revisions BETWEEN 0 AND rows", name="some_rows"),
        {"schema": "usage"},
    )

    day: Mapped[date] = mapped_column(primary_key=True)
    shard: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    archive_id: Mapped[UUID] = mapped_column(ForeignKey("usage.archives.id"), index=True)
    rows: Mapped[int]
    first_revisions: Mapped[int]
    """Rows that are the first revision of their event: as many keys belong to them."""
    quantity: Mapped[Decimal] = mapped_column(Numeric(38, 6))
    vendor_cost: Mapped[Decimal] = mapped_column(Numeric(38, 6))
    dropped: Mapped[bool] = mapped_column(default=False)
    """Whether these rows are in the files alone; changes in the transaction that moves them."""
