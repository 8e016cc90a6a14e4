"""Months that were filed: no document may be dated in them any more.

A document is corrected in a later month, by a note. Whoever issues holds the month open until its
transaction ends, and whoever locks waits for that, so that no document slips in beside a lock.
"""

from datetime import date, datetime

from sqlalchemy import CheckConstraint, func, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from billing.db.base import Base
from billing.errors import PreconditionError


class ReturnPeriod(Base):
    """The return of a registration and month, as it was when it was locked; never changed."""

    __tablename__ = "return_periods"
    __table_args__ = (CheckConstraint("extract(day FROM month) = 1", name="month_by_first_day"),)

    gstin: Mapped[str] = mapped_column(primary_key=True)
    month: Mapped[date] = mapped_column(primary_key=True)
    """Its first day."""
    locked_at: Mapped[datetime]
    locked_by: Mapped[str]
    return_sha256: Mapped[str]
    """Of the portal's JSON that was locked."""


def return_period(session: Session, gstin: str, month: date) -> ReturnPeriod | None:
    """The lock of a month, if it is locked."""
    return session.get(ReturnPeriod, (gstin, month))


def hold_open(session: Session, gstin: str, day: date) -> None:
    """Keep the month of a day from being locked until the transaction ends.

    Raises:
        PreconditionError: if it is locked already.
    """
    month = day.replace(day=1)
    session.execute(
        text("SELECT pg_advisory_xact_lock_shared(billing.return_period_key(:gstin, :month))"),
        {"gstin": gstin, "month": month},
    )
    locked = session.scalar(
        select(func.count()).select_from(ReturnPeriod).filter_by(gstin=gstin, month=month)
    )
    if locked:
        raise PreconditionError(
            f"The return of {month:%Y-%m} for {gstin} is locked: no document may bear the date "
            f"{day}. Date it in a later month.",
            code="return_period_locked",
        )


def hold_for_locking(session: Session, gstin: str, month: date) -> None:
    """Wait for documents that are being issued into a month, and let no other begin."""
    session.execute(
        text("SELECT pg_advisory_xact_lock(billing.return_period_key(:gstin, :month))"),
        {"gstin": gstin, "month": month},
    )
