"""Parts of the catalogue that some customers are offered."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.subsets.service import (
    ChangeSubset,
    CreateSubset,
    SubsetChanges,
    change_subset,
    create_subset,
    list_subsets,
    plan_codes_of,
)
from billing.subsets.tables import CatalogueSubset
from ingest_api.auth import needs
from ingest_api.dependencies import Commands, Envelope, ReadSession, build
from ingest_api.envelope import Answer, Attributes, ListAnswer, Resource

router = APIRouter(prefix="/catalogue-subsets", tags=["catalogue"])

Reader = Annotated[Actor, needs(Permission.CATALOG_READ, staff_only=True)]
Writer = Annotated[Actor, needs(Permission.CATALOG_WRITE)]


class SubsetAttributes(Attributes):
    """Plans, and the customers that choose among them instead of the whole catalogue."""

    code: str
    name: str
    is_exclusive: bool
    """Whether nobody else is offered its plans."""
    plan_codes: list[str]
    families: list[str]
    customer_ids: list[UUID]
    created_at: datetime
    updated_at: datetime


_EXAMPLE = {
    "code": "banks",
    "name": "Banks and insurers",
    "is_exclusive": True,
    "plan_codes": ["secure-sms"],
    "families": ["business"],
    "customer_ids": ["01a1fd27-bde0-703b-a3de-4bcb27aa1eb3"],
}


@router.get("", summary="List catalogue subsets")
def list_all(session: ReadSession, actor: Reader, reply: Envelope) -> ListAnswer[SubsetAttributes]:
    """All subsets by code, each with its plans and customers."""
    found = list_subsets(session, actor)
    codes = plan_codes_of(session, found)
    return reply.all(found, lambda row: _resource(row, codes))


@router.post("", status_code=201, summary="Create a catalogue subset")
def create(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    body: Annotated[CreateSubset, Body(examples=[_EXAMPLE])],
) -> Answer[SubsetAttributes]:
    """Name plans and families that some customers choose among; everybody else has the whole
    catalogue, without the plans of exclusive subsets."""
    return reply.one(_one(ctx.session, create_subset(ctx, body)))


@router.patch("/{subset_id}", summary="Change a catalogue subset")
def change(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    subset_id: UUID,
    body: Annotated[SubsetChanges, Body(examples=[{"families": ["business"]}])],
) -> Answer[SubsetAttributes]:
    """Offer other plans, or to other customers, those that are named; who has a plan keeps it."""
    request = build(ChangeSubset, subset_id=subset_id, **body.model_dump())
    return reply.one(_one(ctx.session, change_subset(ctx, request)))


def _one(session: Session, row: CatalogueSubset) -> Resource[SubsetAttributes]:
    return _resource(row, plan_codes_of(session, [row]))


def _resource(row: CatalogueSubset, codes: dict[UUID, str]) -> Resource[SubsetAttributes]:
    attributes = SubsetAttributes(
        code=row.code,
        name=row.name,
        is_exclusive=row.is_exclusive,
        plan_codes=sorted(codes[one.plan_id] for one in row.entries if one.plan_id is not None),
        families=sorted(one.family for one in row.entries if one.family is not None),
        customer_ids=sorted(one.customer_id for one in row.customers),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
    return Resource(id=str(row.id), type="catalogue_subset", attributes=attributes)
