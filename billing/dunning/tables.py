"""Schedules of what is done about debts, whom they hold for, and what was done."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from billing.db.base import Base, choices
from billing.ids import new_id


class DunningAction(StrEnum):
    """What is done about a debt."""

    REMIND = "remind"
    CHARGE = "charge"
    """Charge the account's saved method of payment."""
    SUSPEND = "suspend"


class StepOutcome(StrEnum):
    """What became of a step."""

    DONE = "done"
    SKIPPED = "skipped"
    """A later reminder was due at the same time; one letter is enough."""
    NOT_POSSIBLE = "not_possible"
    """No address to write to, no saved method to charge, nothing to suspend."""


class WriteOffState(StrEnum):
    """Where a proposal to give up a debt stands."""

    PROPOSED = "proposed"
    APPROVED = "approved"
    REJECTED = "rejected"


class DunningSchedule(Base):
    """Days after the due date, and what is done on them."""

    __tablename__ = "dunning_schedules"
    __table_args__ = (
        Index("uq_dunning_schedules_default", "is_default", unique=True,
              postgresql_where=text("is_default")),
        CheckConstraint("ignore_below_minor >= 0", name="ignore_below_not_negative"),
    )  # fmt: skip

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    steps: Mapped[list[dict[str, Any]]]
    """Of each: `day` (negative is before the due date), `action`, and the words of a reminder."""
    ignore_below_minor: Mapped[int] = mapped_column(default=0)
    """What is open below this (paise that were deducted) is no debt."""
    is_default: Mapped[bool] = mapped_column(default=False)
    """Holds for accounts that have none of their own."""
    updated_at: Mapped[datetime]


class AccountDunning(Base):
    """What holds for one account."""

    __tablename__ = "account_dunning"

    account_id: Mapped[UUID] = mapped_column(ForeignKey("billing.accounts.id"), primary_key=True)
    schedule_id: Mapped[UUID | None] = mapped_column(ForeignKey("billing.dunning_schedules.id"))
    """The default one, if None."""
    paused_until: Mapped[date | None]
    """Nothing is done before this day."""
    pause_reason: Mapped[str | None]
    updated_at: Mapped[datetime]


class DunningStep(Base):
    """A step that was taken for an invoice, or passed over; each once."""

    __tablename__ = "dunning_steps"
    __table_args__ = (UniqueConstraint("invoice_id", "day", "action"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("billing.invoices.id"))
    schedule_id: Mapped[UUID] = mapped_column(ForeignKey("billing.dunning_schedules.id"))
    day: Mapped[int] = mapped_column(Integer)
    action: Mapped[DunningAction] = mapped_column(choices(DunningAction))
    outcome: Mapped[StepOutcome] = mapped_column(choices(StepOutcome))
    outstanding_minor: Mapped[int]
    taken_at: Mapped[datetime]


class WriteOff(Base):
    """A debt that somebody proposes to give up; another person decides."""

    __tablename__ = "write_offs"
    __table_args__ = (
        CheckConstraint("amount_minor > 0", name="amount_positive"),
        CheckConstraint("decided_by <> proposed_by", name="decided_by_another"),
        CheckConstraint("(state = 'proposed') = (decided_by IS NULL)", name="decided_by_somebody"),
        Index("uq_write_offs_proposed", "invoice_id", unique=True,
              postgresql_where=text("state = 'proposed'")),
    )  # fmt: skip

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("billing.invoices.id"))
    amount_minor: Mapped[int]
    reason: Mapped[str]
    state: Mapped[WriteOffState] = mapped_column(choices(WriteOffState))
    proposed_by: Mapped[str]
    proposed_at: Mapped[datetime]
    decided_by: Mapped[str | None]
    decided_at: Mapped[datetime | None]
    decision_note: Mapped[str | None]
