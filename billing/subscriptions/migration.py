"""Moving subscribers to another plan version: one, many or all, tried first or done."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

from pydantic import Field
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.catalog.repository import load_plan, load_version, refuse_archived
from billing.catalog.tables import PlanVersion, VersionStatus
from billing.clock import Clock
from billing.commands import Context, Request, command
from billing.customers.tables import Account
from billing.errors import BillingError, ForbiddenError, PreconditionError
from billing.overrides.tables import PriceOverride
from billing.periods import local_day
from billing.subscriptions.ahead import refuse_billed_ahead
from billing.subscriptions.history import Planned, refuse_billed, store, timeline_of
from billing.subscriptions.planning import (
    effective_day,
    require_beside,
    require_sellable,
    switched_to,
)
from billing.subscriptions.preview import compare
from billing.subscriptions.requests import Day, Effective
from billing.subscriptions.tables import (
    ChangeKind,
    PlanMigration,
    Proration,
    Subscription,
    SubscriptionSegment,
    SubscriptionStatus,
)
from billing.subsets.offers import refuse_not_offered


class Overrides(StrEnum):
    """What becomes of the prices agreed with an account for the plan."""

    KEEP = "keep"
    DROP = "drop"
    """They end on the day of the change."""


class Migration(Request):
    """Who moves, when, and how."""

    subscription_ids: tuple[UUID, ...] | None = Field(default=None, min_length=1, max_length=10_000)
    """Without any, all subscribers of other versions of the same plan."""
    when: Day | Literal["now", "renewal"] = "renewal"
    """A local day; the coming midnight; or the day after the running period's last."""
    proration: Proration = Proration.PRORATE
    overrides: Overrides = Overrides.KEEP


class MigrateSubscribers(Migration):
    """Move subscribers to a published version."""

    plan_version_id: UUID


@dataclass(frozen=True, slots=True)
class Move:
    """What becomes of one subscription."""

    subscription: Subscription
    account: Account
    planned: Planned | None
    reason: BillingError | None = None
    """Why it stays as it is."""
    ended_overrides: tuple[PriceOverride, ...] = ()

    def report(self) -> dict[str, Any]:
        """As it is written down and shown."""
        return {
            "subscription_id": str(self.subscription.id),
            "account_id": str(self.account.id),
            "moved": self.planned is not None,
            "effective_on": None if self.planned is None else self.planned.day.isoformat(),
            "ended_overrides": [str(one.id) for one in self.ended_overrides],
            "code": None if self.reason is None else self.reason.code,
            "reason": None if self.reason is None else self.reason.message,
        }


@command("plan_version.migrate", Permission.SUBSCRIPTIONS_WRITE)
def migrate_subscribers(ctx: Context, request: MigrateSubscribers) -> PlanMigration:
    """Move everybody who can be moved; who cannot stays, and the report says why."""
    version = _published(ctx.session, request.plan_version_id)
    moves = list(_moves(ctx.session, ctx.clock, version, request, lock=True))
    migration = PlanMigration(
        plan_version_id=version.id,
        wanted=request.model_dump(mode="json", exclude={"plan_version_id"}),
        report=[move.report() for move in moves],
        made_by=ctx.actor.name,
        made_at=ctx.clock.now(),
    )
    ctx.session.add(migration)
    ctx.session.flush()
    for move in moves:
        if move.planned is None:
            continue
        store(ctx, move.subscription, move.planned, migration_id=migration.id)
        for override in move.ended_overrides:
            override.ends_on = max(move.planned.day, override.starts_on)
            override.updated_at = ctx.clock.now()
    return migration


def try_migration(
    session: Session, actor: Actor, clock: Clock, plan_version_id: UUID, wish: Migration
) -> list[dict[str, Any]]:
    """What a migration would do, with how much more each next invoice would be. Stores nothing."""
    _require_staff(actor)
    version = _published(session, plan_version_id)
    tried = []
    for move in _moves(session, clock, version, wish, lock=False):
        found = {**move.report(), "currency": move.account.currency, "difference_minor": None}
        if move.planned is not None:
            now = timeline_of(session, move.subscription)
            dropped = frozenset(one.number for one in move.ended_overrides)
            preview = compare(
                session, move.account, move.subscription.id, now, move.planned, dropped=dropped
            )
            found["difference_minor"] = preview.difference_minor
        tried.append(found)
    return tried


def list_migrations(session: Session, actor: Actor, plan_version_id: UUID) -> list[PlanMigration]:
    """The migrations to a version, the newest first."""
    _require_staff(actor)
    rows = select(PlanMigration).filter_by(plan_version_id=plan_version_id)
    return list(session.scalars(rows.order_by(PlanMigration.id.desc())))


def _require_staff(actor: Actor) -> None:
    actor.require(Permission.SUBSCRIPTIONS_READ)
    if actor.customer_id is not None:
        raise ForbiddenError("Migrations are for staff.")


def _published(session: Session, plan_version_id: UUID) -> PlanVersion:
    version = load_version(session, plan_version_id)
    if version.published_at is None:
        raise PreconditionError(
            f"The version is {'a draft' if version.status is VersionStatus.DRAFT else 'discarded'};"
            " publish one first.",
            code="version_not_published",
        )
    return version


def _require_plan_on_sale(
    session: Session, account: Account, version: PlanVersion, running_id: UUID
) -> None:
    """To a plan that is archived or not offered moves who has another version of it alone."""
    if session.get_one(PlanVersion, running_id).plan_id != version.plan_id:
        refuse_archived(load_plan(session, version.plan_id))
        refuse_not_offered(session, account.customer_id, version.plan_id)


def _moves(
    session: Session, clock: Clock, version: PlanVersion, wish: Migration, *, lock: bool
) -> Iterator[Move]:
    query = (
        select(Subscription, Account)
        .join(Account, Account.id == Subscription.account_id)
        .order_by(Subscription.id)
    )
    if wish.subscription_ids is not None:
        query = query.where(Subscription.id.in_(wish.subscription_ids))
    else:
        others = (
            select(SubscriptionSegment.subscription_id)
            .join(PlanVersion, PlanVersion.id == SubscriptionSegment.plan_version_id)
            .where(
                PlanVersion.plan_id == version.plan_id,
                PlanVersion.id != version.id,
                SubscriptionSegment.add_on_id.is_(None),
            )
        )
        today = local_day(clock.now(), "UTC")
        query = query.where(
            Subscription.id.in_(others),
            or_(Subscription.ends_on.is_(None), Subscription.ends_on >= today),
        )
    if lock:
        query = query.with_for_update(of=Subscription)
    for subscription, account in session.execute(query).all():
        yield _move(session, clock, version, wish, subscription, account)


def _move(
    session: Session,
    clock: Clock,
    version: PlanVersion,
    wish: Migration,
    subscription: Subscription,
    account: Account,
) -> Move:
    try:
        planned = _planned(session, clock, version, wish, subscription, account)
        ended = _ended(session, version, wish, account, planned.day)
    except BillingError as reason:
        return Move(subscription, account, None, reason)
    return Move(subscription, account, planned, None, ended)


def _ended(
    session: Session, version: PlanVersion, wish: Migration, account: Account, day: date
) -> tuple[PriceOverride, ...]:
    """The account's agreements that end with the move."""
    if wish.overrides is not Overrides.DROP:
        return ()
    ended = tuple(
        session.scalars(
            select(PriceOverride).where(
                PriceOverride.account_id == account.id,
                PriceOverride.plan_id == version.plan_id,
                or_(PriceOverride.ends_on.is_(None), PriceOverride.ends_on > day),
            )
        )
    )
    for one in ended:
        if one.charge_code is not None:
            refuse_billed_ahead(session, account.id, one.charge_code, day)
    return ended


def _planned(
    session: Session,
    clock: Clock,
    version: PlanVersion,
    wish: Migration,
    subscription: Subscription,
    account: Account,
) -> Planned:
    timeline = timeline_of(session, subscription)
    when: Effective = "now" if wish.when == "now" else "period_end"
    if isinstance(wish.when, date):
        when = wish.when
    day = effective_day(when, timeline, local_day(clock.now(), account.zone))
    part = timeline.at(day)
    if part is not None and part.plan_version_id == version.id:
        raise PreconditionError("It is on that version already.", code="already_there")
    running_id = (part or timeline.parts[-1]).plan_version_id
    _require_plan_on_sale(session, account, version, running_id)
    require_sellable(session, account, version, f"version {version.version}")
    require_beside(session, version, timeline.tracks(), day)
    quantity = (part or timeline.parts[-1]).quantity
    after, cuts = switched_to(timeline, version, day, wish.proration, quantity)
    status = SubscriptionStatus(subscription.status)
    planned = Planned(ChangeKind.MIGRATE, day, wish.proration, after, status, cuts)
    refuse_billed(session, account.id, planned.bills_from)
    return planned
