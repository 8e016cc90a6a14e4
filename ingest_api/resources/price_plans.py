"""Price plans: what is offered, and what is offered no more."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Query

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.catalog.lifecycle import archive_plan, restore_plan
from billing.catalog.repository import get_plan, list_plans
from billing.catalog.requests import ArchivePlan, CreatePlan, RestorePlan
from billing.catalog.service import create_plan
from billing.catalog.tables import PricePlan
from billing.subsets.offers import list_offered
from ingest_api.auth import needs
from ingest_api.dependencies import Commands, Envelope, ReadSession
from ingest_api.envelope import Answer, Attributes, ListAnswer, Resource

router = APIRouter(tags=["catalogue"])

Reader = Annotated[Actor, needs(Permission.CATALOG_READ)]
Writer = Annotated[Actor, needs(Permission.CATALOG_WRITE)]


class PlanAttributes(Attributes):
    """A named offer."""

    code: str
    name: str
    is_add_on: bool
    family: str | None
    tier: int | None
    created_at: datetime
    archived_at: datetime | None


def plan_resource(row: PricePlan) -> Resource[PlanAttributes]:
    """A plan as the API shows it."""
    return Resource(
        id=str(row.id), type="price_plan", attributes=PlanAttributes.model_validate(row)
    )


@router.get("/price-plans", summary="List price plans")
def list_price_plans(
    session: ReadSession,
    actor: Reader,
    reply: Envelope,
    family: Annotated[str | None, Query(description="Only of this family, by tier.")] = None,
    offered_to: Annotated[
        UUID | None, Query(description="Only what is on sale to this customer.")
    ] = None,
) -> ListAnswer[PlanAttributes]:
    """All plans by code, or those of a family from the lowest tier up; or what a customer may be
    offered, by the catalogue subsets there are."""
    if offered_to is not None:
        offered = list_offered(session, actor, offered_to, family=family)
        return reply.all(offered, plan_resource)
    return reply.all(list_plans(session, actor, family=family), plan_resource)


@router.post("/price-plans", status_code=201, summary="Create a price plan")
def create_price_plan(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    body: Annotated[CreatePlan, Body(examples=[{"code": "starter", "name": "Starter"}])],
) -> Answer[PlanAttributes]:
    """Name a new offer; its prices come with a version."""
    return reply.one(plan_resource(create_plan(ctx, body)))


@router.get("/price-plans/{plan_id}", summary="Get a price plan")
def get_price_plan(
    session: ReadSession, actor: Reader, reply: Envelope, plan_id: UUID
) -> Answer[PlanAttributes]:
    """One plan."""
    return reply.one(plan_resource(get_plan(session, actor, plan_id)))


@router.post("/price-plans/{plan_id}/archive", summary="Archive a plan")
def archive_price_plan(
    ctx: Commands, _: Writer, reply: Envelope, plan_id: UUID
) -> Answer[PlanAttributes]:
    """Let nobody new have it; who has it keeps it, and is billed as before."""
    return reply.one(plan_resource(archive_plan(ctx, ArchivePlan(plan_id=plan_id))))


@router.post("/price-plans/{plan_id}/restore", summary="Restore a plan")
def restore_price_plan(
    ctx: Commands, _: Writer, reply: Envelope, plan_id: UUID
) -> Answer[PlanAttributes]:
    """Sell an archived plan again."""
    return reply.one(plan_resource(restore_plan(ctx, RestorePlan(plan_id=plan_id))))
