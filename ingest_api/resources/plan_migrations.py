"""From one version of a plan to another: what it would change, and moving subscribers."""

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Query

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.simulations.impact import impact_of
from billing.subscriptions.migration import (
    MigrateSubscribers,
    Migration,
    list_migrations,
    migrate_subscribers,
    try_migration,
)
from billing.subscriptions.tables import PlanMigration
from ingest_api.auth import needs
from ingest_api.dependencies import Commands, CurrentServices, Envelope, ReadSession, build
from ingest_api.envelope import Answer, Attributes, ListAnswer, Resource, refer
from ingest_api.resources.simulations import SimulationAttributes, simulation_resource

router = APIRouter(prefix="/plan-versions/{version_id}", tags=["catalogue"])

Reader = Annotated[Actor, needs(Permission.SUBSCRIPTIONS_READ, staff_only=True)]
Staff = Annotated[Actor, needs(Permission.CATALOG_READ, staff_only=True)]
Writer = Annotated[Actor, needs(Permission.SUBSCRIPTIONS_WRITE)]


class MoveAttributes(Attributes):
    """What becomes of one subscription: the day it changes, or why it does not."""

    subscription_id: UUID
    account_id: UUID
    moved: bool
    effective_on: date | None
    ended_overrides: list[UUID]
    code: str | None
    reason: str | None


class TriedMove(MoveAttributes):
    """The same before it is done, with how much more the next invoice would be, before tax."""

    currency: str
    difference_minor: int | None


class MigrationAttributes(Attributes):
    """Who was to be moved, and what became of each."""

    wanted: dict[str, Any]
    moved: int
    stayed: int
    report: list[MoveAttributes]
    made_by: str
    made_at: datetime


class MigrationTrial(Attributes):
    """What a migration would do."""

    moved: int
    stayed: int
    report: list[TriedMove]


def migration_resource(row: PlanMigration) -> Resource[MigrationAttributes]:
    """A migration as the API shows it."""
    report = [MoveAttributes(**entry) for entry in row.report]
    moved = sum(entry.moved for entry in report)
    return Resource(
        id=str(row.id),
        type="plan_migration",
        attributes=MigrationAttributes(
            wanted=row.wanted,
            moved=moved,
            stayed=len(report) - moved,
            report=report,
            made_by=row.made_by,
            made_at=row.made_at,
        ),
        relationships=refer(version=("plan_version", row.plan_version_id)),
    )


_EXAMPLE = {"when": "renewal", "proration": "prorate", "overrides": "keep"}


@router.get("/impact", summary="See what a version would change")
def impact(
    session: ReadSession,
    actor: Staff,
    reply: Envelope,
    services: CurrentServices,
    version_id: UUID,
    month: Annotated[
        date | None, Query(description="First day of an invoice month; the last one by default.")
    ] = None,
) -> Answer[SimulationAttributes]:
    """What everybody on other versions of the plan would have been billed by this one, for last
    month's traffic; meant for a draft, before it is published. Nothing is stored."""
    found = impact_of(session, actor, services.clock, version_id, month)
    return reply.one(simulation_resource(found))


@router.get("/migrations", summary="List the migrations to a version")
def list_all(
    session: ReadSession, actor: Reader, reply: Envelope, version_id: UUID
) -> ListAnswer[MigrationAttributes]:
    """The newest first, each with its report."""
    return reply.all(list_migrations(session, actor, version_id), migration_resource)


@router.post("/migrations", status_code=201, summary="Migrate subscribers")
def migrate(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    version_id: UUID,
    body: Annotated[Migration, Body(examples=[_EXAMPLE])],
) -> Answer[MigrationAttributes]:
    """Move one, many or all subscribers to a published version; who cannot move stays."""
    request = build(MigrateSubscribers, plan_version_id=version_id, **body.model_dump())
    return reply.one(migration_resource(migrate_subscribers(ctx, request)))


@router.post("/migrations/preview", summary="Try a migration")
def try_all(
    session: ReadSession,
    actor: Reader,
    reply: Envelope,
    services: CurrentServices,
    version_id: UUID,
    body: Annotated[Migration, Body(examples=[_EXAMPLE])],
) -> Answer[MigrationTrial]:
    """What a migration would do to each subscriber and its next invoice; nothing is stored."""
    tried = try_migration(session, actor, services.clock, version_id, body)
    report = [TriedMove(**entry) for entry in tried]
    moved = sum(entry.moved for entry in report)
    trial = MigrationTrial(moved=moved, stayed=len(report) - moved, report=report)
    return reply.one(Resource(id="preview", type="plan_migration_preview", attributes=trial))
