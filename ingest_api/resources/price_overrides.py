"""Prices agreed with one account, for some days."""

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Request
from billing.overrides.service import (
    CreateOverride,
    EndOverride,
    create_override,
    end_override,
    get_override,
    list_overrides,
)
from billing.overrides.tables import PriceOverride
from ingest_api.auth import needs
from ingest_api.dependencies import Commands, Envelope, ReadSession
from ingest_api.envelope import Amount, Answer, Attributes, ListAnswer, Resource, refer

router = APIRouter(prefix="/price-overrides", tags=["catalogue"])

Reader = Annotated[Actor, needs(Permission.SUBSCRIPTIONS_READ)]
Writer = Annotated[Actor, needs(Permission.SUBSCRIPTIONS_WRITE)]


class OverrideTier(Attributes):
    """Units above the tier before, up to and including `up_to`; null is open."""

    up_to: Amount | None
    unit_price: Amount
    flat_amount: Amount


class OverrideAttributes(Attributes):
    """A rate that comes before those of a charge, or before the rows of a deck."""

    number: int
    charge_code: str | None
    currency: str
    match: dict[str, str]
    tiers: list[OverrideTier]
    starts_on: date
    ends_on: date | None
    """The first local day it no longer holds."""
    reason: str
    created_at: datetime


class OverrideEnd(Request):
    """When an agreement ends."""

    ends_on: date


_NEW = {
    "account_id": "01890000-0000-7000-8000-000000000001",
    "deck_code": "sms-world",
    "match": {"country": "IN", "operator": "40445"},
    "tiers": [{"unit_price": "0.11"}],
    "starts_on": "2026-10-01",
    "ends_on": "2027-10-01",
    "reason": "Contract 2026/118",
}


def override_resource(row: PriceOverride) -> Resource[OverrideAttributes]:
    """An agreement as the API shows it."""
    references = {"account": ("account", row.account_id)}
    if row.plan_id is not None:
        references["price_plan"] = ("price_plan", row.plan_id)
    if row.deck_id is not None:
        references["rate_deck"] = ("rate_deck", row.deck_id)
    return Resource(
        id=str(row.id),
        type="price_override",
        attributes=OverrideAttributes.model_validate(row),
        relationships=refer(**references),
    )


@router.get("", summary="List price overrides")
def list_price_overrides(
    session: ReadSession, actor: Reader, reply: Envelope, account_id: UUID | None = None
) -> ListAnswer[OverrideAttributes]:
    """What was agreed with an account, or with all; a customer sees its own."""
    return reply.all(list_overrides(session, actor, account_id), override_resource)


@router.post("", status_code=201, summary="Agree a price with an account")
def create_price_override(
    ctx: Commands,
    actor: Writer,
    reply: Envelope,
    body: Annotated[CreateOverride, Body(examples=[_NEW])],
) -> Answer[OverrideAttributes]:
    """A price for some days instead of a charge's, or of a deck's rows. It stays when the account
    moves to another version of the plan."""
    made = create_override(ctx, body)
    return reply.one(override_resource(get_override(ctx.session, actor, made.id)))


@router.post("/{override_id}/end", summary="End a price override")
def end_price_override(
    ctx: Commands,
    actor: Writer,
    reply: Envelope,
    override_id: UUID,
    body: Annotated[OverrideEnd, Body(examples=[{"ends_on": "2027-01-01"}])],
) -> Answer[OverrideAttributes]:
    """From that day on the plan's or the deck's own prices hold again."""
    ended = end_override(ctx, EndOverride(override_id=override_id, ends_on=body.ends_on))
    return reply.one(override_resource(get_override(ctx.session, actor, ended.id)))
