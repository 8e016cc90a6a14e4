"""What can be a line on an invoice."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.catalog.lifecycle import restore_item, retire_item
from billing.catalog.repository import list_items
from billing.catalog.requests import CreateItem, RestoreItem, RetireItem
from billing.catalog.service import create_item
from billing.catalog.tables import Aggregation, BillableItem, Conversion, ItemKind
from ingest_api.auth import needs
from ingest_api.dependencies import Commands, Envelope, ReadSession
from ingest_api.envelope import Answer, Attributes, ListAnswer, Resource

router = APIRouter(tags=["catalogue"])

Reader = Annotated[Actor, needs(Permission.CATALOG_READ)]
Writer = Annotated[Actor, needs(Permission.CATALOG_WRITE)]


class ItemAttributes(Attributes):
    """Something that can be a line on an invoice."""

    code: str
    name: str
    kind: ItemKind
    event_type: str | None
    event_filter: dict[str, Any]
    aggregation: Aggregation
    property_name: str | None
    conversion: Conversion | None
    unit: str
    sac: str
    created_at: datetime
    retired_at: datetime | None


def item_resource(row: BillableItem) -> Resource[ItemAttributes]:
    """A billable item as the API shows it."""
    attributes = ItemAttributes.model_validate(row)
    return Resource(id=str(row.id), type="billable_item", attributes=attributes)


_NEW_ITEM = {
    "code": "otp-sms",
    "name": "One-time passwords by SMS",
    "kind": "usage",
    "event_type": "otp.sms",
    "event_filter": {"status": ["delivered", "sent"]},
    "unit": "message",
    "sac": "998429",
}


@router.get("/billable-items", summary="List billable items")
def list_billable_items(
    session: ReadSession, actor: Reader, reply: Envelope
) -> ListAnswer[ItemAttributes]:
    """All billable items by code."""
    return reply.all(list_items(session, actor), item_resource)


@router.post("/billable-items", status_code=201, summary="Create a billable item")
def create_billable_item(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    body: Annotated[CreateItem, Body(examples=[_NEW_ITEM])],
) -> Answer[ItemAttributes]:
    """Define something that plans can price."""
    return reply.one(item_resource(create_item(ctx, body)))


@router.post("/billable-items/{item_id}/retire", summary="Retire a billable item")
def retire_billable_item(
    ctx: Commands, _: Writer, reply: Envelope, item_id: UUID
) -> Answer[ItemAttributes]:
    """Make no new prices for it; refused while a plan on sale or a subscriber's version has it."""
    return reply.one(item_resource(retire_item(ctx, RetireItem(item_id=item_id))))


@router.post("/billable-items/{item_id}/restore", summary="Restore a billable item")
def restore_billable_item(
    ctx: Commands, _: Writer, reply: Envelope, item_id: UUID
) -> Answer[ItemAttributes]:
    """Let plans price it again."""
    return reply.one(item_resource(restore_item(ctx, RestoreItem(item_id=item_id))))
