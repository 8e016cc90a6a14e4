"""Entitlements: how much of an item an account may use."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Query
from pydantic import Field

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Request
from billing.entitlements.service import (
    ChangeEntitlement,
    CreateEntitlement,
    EndEntitlement,
    change_entitlement,
    create_entitlement,
    end_entitlement,
    get_entitlement,
    list_entitlements,
)
from billing.entitlements.tables import Enforcement, Entitlement, QuotaPeriod
from ingest_api.auth import needs
from ingest_api.dependencies import Commands, Envelope, Paging, ReadSession, build
from ingest_api.envelope import Answer, Attributes, ListAnswer, Resource, refer

router = APIRouter(prefix="/entitlements", tags=["entitlements"])

Reader = Annotated[Actor, needs(Permission.SUBSCRIPTIONS_READ)]
Writer = Annotated[Actor, needs(Permission.SUBSCRIPTIONS_WRITE)]


class EntitlementAttributes(Attributes):
    """Units in each day or month of the account's zone; what was held and not used is free."""

    included_units: int
    enforcement: Enforcement
    period: QuotaPeriod
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None


class Limit(Request):
    """At a hard limit authorisations end; at a soft one they go on with a warning."""

    included_units: int = Field(ge=0, le=1_000_000_000)
    enforcement: Enforcement


_NEW = {
    "account_id": "019aa000-0000-7000-8000-000000000002",
    "item_id": "019aa000-0000-7000-8000-000000000003",
    "included_units": 100000,
    "enforcement": "hard",
    "period": "month",
}


@router.get("", summary="List entitlements")
def list_all(
    session: ReadSession,
    actor: Reader,
    reply: Envelope,
    page: Paging,
    account_id: Annotated[UUID | None, Query(description="Only of this account.")] = None,
) -> ListAnswer[EntitlementAttributes]:
    """Entitlements in the order they were made, ended ones too."""
    rows = list_entitlements(session, actor, account_id=account_id, **page.fetch)
    return reply.page(rows, page.limit, entitlement_resource)


@router.post("", status_code=201, summary="Limit an account")
def create(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    body: Annotated[CreateEntitlement, Body(examples=[_NEW])],
) -> Answer[EntitlementAttributes]:
    """Say how many units of an item an account may use; what it used this period counts."""
    return reply.one(entitlement_resource(create_entitlement(ctx, body)))


@router.get("/{entitlement_id}", summary="Get an entitlement")
def get(
    session: ReadSession, actor: Reader, reply: Envelope, entitlement_id: UUID
) -> Answer[EntitlementAttributes]:
    """One entitlement."""
    return reply.one(entitlement_resource(get_entitlement(session, actor, entitlement_id)))


@router.patch("/{entitlement_id}", summary="Change an entitlement")
def change(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    entitlement_id: UUID,
    body: Annotated[Limit, Body(examples=[{"included_units": 200000, "enforcement": "soft"}])],
) -> Answer[EntitlementAttributes]:
    """Change the limit; it holds from the next authorisation on."""
    request = build(ChangeEntitlement, entitlement_id=entitlement_id, **body.model_dump())
    return reply.one(entitlement_resource(change_entitlement(ctx, request)))


@router.post("/{entitlement_id}/end", summary="End an entitlement")
def end(
    ctx: Commands, _: Writer, reply: Envelope, entitlement_id: UUID
) -> Answer[EntitlementAttributes]:
    """Limit nothing any more."""
    request = EndEntitlement(entitlement_id=entitlement_id)
    return reply.one(entitlement_resource(end_entitlement(ctx, request)))


def entitlement_resource(row: Entitlement) -> Resource[EntitlementAttributes]:
    """An entitlement as the API shows it."""
    return Resource(
        id=str(row.id),
        type="entitlement",
        attributes=EntitlementAttributes.model_validate(row),
        relationships=refer(account=("account", row.account_id), item=("item", row.item_id)),
    )
