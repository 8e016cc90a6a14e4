"""Who bought what, and the periods it is billed in."""

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Integer, UniqueConstraint
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.orm import Mapped, mapped_column

from billing.db.base import Base, choices
from billing.ids import new_id
from billing.periods import Cycle, Interval


class SubscriptionStatus(StrEnum):
    """Whether a subscription still bills."""

    ACTIVE = "active"
    ENDED = "ended"


class Phase(StrEnum):
    """What a segment is; only an active one bills recurring charges."""

    TRIAL = "trial"
    ACTIVE = "active"
    PAUSED = "paused"


class Proration(StrEnum):
    """What the recurring charges of a period bill if they change within it."""

    PRORATE = "prorate"
    FULL = "full"
    NONE = "none"


class ChangeKind(StrEnum):
    """What happened to a subscription."""

    START = "start"
    UPGRADE = "upgrade"
    DOWNGRADE = "downgrade"
    CHANGE = "change"
    """Another plan at the same recurring price."""
    SEATS = "seats"
    PAUSE = "pause"
    RESUME = "resume"
    END = "end"
    RENEW = "renew"
    ADD_ON = "add_on"
    REMOVE_ADD_ON = "remove_add_on"
    MIGRATE = "migrate"
    UNDO = "undo"


class Subscription(Base):
    """An account's agreement to a plan, from a local day on."""

    __tablename__ = "subscriptions"
    __table_args__ = (
        CheckConstraint("anchor_day BETWEEN 1 AND 31", name="anchor_in_month"),
        CheckConstraint("anchor_month BETWEEN 1 AND 12", name="anchor_in_year"),
        CheckConstraint("interval <> 'week' OR anchor_day <= 7", name="anchor_in_week"),
        CheckConstraint("ends_on > starts_on", name="some_days"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("billing.accounts.id"), index=True)
    status: Mapped[SubscriptionStatus] = mapped_column(choices(SubscriptionStatus))
    interval: Mapped[Interval] = mapped_column(choices(Interval), default=Interval.MONTH)
    anchor_day: Mapped[int] = mapped_column(Integer, default=1)
    anchor_month: Mapped[int] = mapped_column(Integer, default=1)
    starts_on: Mapped[date]
    ends_on: Mapped[date | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    @property
    def cycle(self) -> Cycle:
        """How its whole periods follow each other, until a segment says otherwise."""
        return Cycle(self.interval, self.anchor_day, self.anchor_month)


class SubscriptionSegment(Base):
    """One plan version and quantity over a half-open range of local days.

    Those of the plan follow each other; those of an add-on too, beside them.
    """

    __tablename__ = "subscription_segments"
    __table_args__ = (
        UniqueConstraint(
            "subscription_id", "add_on_id", "starts_on", postgresql_nulls_not_distinct=True
        ),
        CheckConstraint("num_nonnulls(add_on_id, added_on) IN (0, 2)", name="whole_add_on"),
        CheckConstraint("starts_on >= added_on", name="within_add_on"),
        CheckConstraint("ends_on > starts_on", name="some_days"),
        CheckConstraint("quantity > 0 AND quantity <> 'NaN'", name="quantity_positive"),
        CheckConstraint("recurring_to >= recurring_from", name="recurring_in_order"),
        CheckConstraint(
            "num_nonnulls(interval, anchor_day, anchor_month) IN (0, 3)", name="whole_cycle"
        ),
        CheckConstraint("anchor_day BETWEEN 1 AND 31", name="anchor_in_month"),
        CheckConstraint("anchor_month BETWEEN 1 AND 12", name="anchor_in_year"),
        CheckConstraint("interval <> 'week' OR anchor_day <= 7", name="anchor_in_week"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    subscription_id: Mapped[UUID] = mapped_column(ForeignKey("billing.subscriptions.id"))
    plan_version_id: Mapped[UUID] = mapped_column(ForeignKey("billing.price_plan_versions.id"))
    quantity: Mapped[Decimal] = mapped_column(default=Decimal(1))
    phase: Mapped[Phase] = mapped_column(choices(Phase), default=Phase.ACTIVE)
    starts_on: Mapped[date]
    ends_on: Mapped[date | None]
    recurring_from: Mapped[date | None]
    """First day that its recurring charges bill, if that is not its first day."""
    recurring_to: Mapped[date | None]
    """First day that they no longer bill, if that is not the day after its last."""
    interval: Mapped[Interval | None] = mapped_column(choices(Interval))
    """Of its periods, if they are others than the subscription began with."""
    anchor_day: Mapped[int | None] = mapped_column(Integer)
    anchor_month: Mapped[int | None] = mapped_column(Integer)
    add_on_id: Mapped[UUID | None]
    """Which of the subscription's add-ons it is a part of, if of one."""
    added_on: Mapped[date | None]
    """First day of the add-on."""

    @property
    def cycle(self) -> Cycle | None:
        """How its whole periods follow each other, if not as the subscription's first ones."""
        if self.interval is None or self.anchor_day is None or self.anchor_month is None:
            return None
        return Cycle(self.interval, self.anchor_day, self.anchor_month)


class SubscriptionChange(Base):
    """One change of a subscription, with all of it before and after. Never edited."""

    __tablename__ = "subscription_changes"
    __table_args__ = (UniqueConstraint("subscription_id", "number"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    subscription_id: Mapped[UUID] = mapped_column(ForeignKey("billing.subscriptions.id"))
    number: Mapped[int] = mapped_column(Integer)
    """Counts the subscription's changes."""
    kind: Mapped[ChangeKind] = mapped_column(choices(ChangeKind))
    effective_on: Mapped[date]
    bills_from: Mapped[date]
    """First day whose bill it can alter; once that is invoiced, it can no longer be undone."""
    proration: Mapped[Proration | None] = mapped_column(choices(Proration))
    before: Mapped[dict[str, Any] | None]
    after: Mapped[dict[str, Any]]
    undoes_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("billing.subscription_changes.id"), unique=True
    )
    migration_id: Mapped[UUID | None] = mapped_column(ForeignKey("billing.plan_migrations.id"))
    made_by: Mapped[str]
    made_at: Mapped[datetime]


class PlanMigration(Base):
    """Subscribers moved to a plan version together, and what became of each. Never edited."""

    __tablename__ = "plan_migrations"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    plan_version_id: Mapped[UUID] = mapped_column(
        ForeignKey("billing.price_plan_versions.id"), index=True
    )
    wanted: Mapped[dict[str, Any]]
    """Who was to be moved and when, as it was asked for."""
    report: Mapped[list[dict[str, Any]]]
    """For each subscription the day it changes, or why it does not."""
    made_by: Mapped[str]
    made_at: Mapped[datetime]


def _own_start(context: DefaultExecutionContext) -> date:
    day: date = context.get_current_parameters()["starts_on"]  # type: ignore[no-untyped-call]
    return day


def _own_end(context: DefaultExecutionContext) -> date:
    day: date = context.get_current_parameters()["ends_on"]  # type: ignore[no-untyped-call]
    return day


class BillingPeriod(Base):
    """One period of a subscription, with the instants that bound it. Periods tile its life."""

    __tablename__ = "billing_periods"
    __table_args__ = (
        UniqueConstraint("subscription_id", "starts_on"),
        CheckConstraint("ends_on > starts_on", name="some_days"),
        CheckConstraint(
            "full_starts_on <= starts_on AND full_ends_on >= ends_on", name="within_whole"
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    subscription_id: Mapped[UUID] = mapped_column(ForeignKey("billing.subscriptions.id"))
    account_id: Mapped[UUID] = mapped_column(ForeignKey("billing.accounts.id"))
    starts_on: Mapped[date]
    ends_on: Mapped[date]
    full_starts_on: Mapped[date] = mapped_column(default=_own_start)
    """First day of the whole period that it is, or that it is a part of."""
    full_ends_on: Mapped[date] = mapped_column(default=_own_end)
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    invoice_month: Mapped[date] = mapped_column(index=True)
    """First day of the month that holds the period's last day."""
