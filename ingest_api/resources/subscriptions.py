"""Who has which plan, from when."""

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Query
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Request
from billing.subscriptions.repository import (
    get_subscription,
    list_subscriptions,
    segments_of,
)
from billing.subscriptions.service import (
    ChangePlan,
    EndSubscription,
    PlanChoice,
    Subscribe,
    change_plan,
    end_subscription,
    subscribe,
)
from billing.subscriptions.tables import Subscription, SubscriptionStatus
from ingest_api.auth import needs
from ingest_api.dependencies import Commands, Envelope, Paging, ReadSession, build
from ingest_api.envelope import Amount, Answer, Attributes, ListAnswer, Resource, refer

router = APIRouter(prefix="/subscriptions", tags=["subscriptions"])

Reader = Annotated[Actor, needs(Permission.SUBSCRIPTIONS_READ)]
Writer = Annotated[Actor, needs(Permission.SUBSCRIPTIONS_WRITE)]


class SegmentAttributes(Attributes):
    """One plan version and quantity over local days; `ends_on` is the first day without it."""

    id: UUID
    plan_version_id: UUID
    quantity: Amount
    starts_on: date
    ends_on: date | None


class SubscriptionSummary(Attributes):
    """An account's agreement to a plan."""

    status: SubscriptionStatus
    anchor_day: int
    starts_on: date
    ends_on: date | None
    created_at: datetime
    updated_at: datetime


class SubscriptionAttributes(SubscriptionSummary):
    """A subscription with its segments."""

    segments: list[SegmentAttributes]


class SubscriptionEnd(Request):
    """The first local day on which the subscription no longer bills."""

    ends_on: date


def subscription_summary(row: Subscription) -> Resource[SubscriptionSummary]:
    """A subscription in a list."""
    return Resource(
        id=str(row.id),
        type="subscription",
        attributes=SubscriptionSummary.model_validate(row),
        relationships=refer(account=("account", row.account_id)),
    )


def subscription_resource(session: Session, row: Subscription) -> Resource[SubscriptionAttributes]:
    """A subscription with its segments."""
    segments = [SegmentAttributes.model_validate(part) for part in segments_of(session, row.id)]
    return Resource(
        id=str(row.id),
        type="subscription",
        attributes=SubscriptionAttributes(
            **SubscriptionSummary.model_validate(row).model_dump(), segments=segments
        ),
        relationships=refer(account=("account", row.account_id)),
    )


_NEW_SUBSCRIPTION = {
    "account_id": "019aa000-0000-7000-8000-000000000002",
    "plan_code": "starter",
    "starts_on": "2026-08-01",
    "anchor_day": 1,
}


@router.get("", summary="List subscriptions")
def list_all(
    session: ReadSession,
    actor: Reader,
    reply: Envelope,
    page: Paging,
    account_id: Annotated[UUID | None, Query(description="Only of this account.")] = None,
) -> ListAnswer[SubscriptionSummary]:
    """Subscriptions in the order they were made."""
    rows = list_subscriptions(session, actor, account_id=account_id, **page.fetch)
    return reply.page(rows, page.limit, subscription_summary)


@router.post("", status_code=201, summary="Start a subscription")
def start(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    body: Annotated[Subscribe, Body(examples=[_NEW_SUBSCRIPTION])],
) -> Answer[SubscriptionAttributes]:
    """Put an account on a plan's active version, from a local day on."""
    return reply.one(subscription_resource(ctx.session, subscribe(ctx, body)))


@router.get("/{subscription_id}", summary="Get a subscription")
def get(
    session: ReadSession, actor: Reader, reply: Envelope, subscription_id: UUID
) -> Answer[SubscriptionAttributes]:
    """One subscription with its segments."""
    row = get_subscription(session, actor, subscription_id)
    return reply.one(subscription_resource(session, row))


@router.post("/{subscription_id}/change", summary="Change plan or quantity")
def change(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    subscription_id: UUID,
    body: Annotated[PlanChoice, Body(examples=[{"plan_code": "growth", "from_day": "2026-09-16"}])],
) -> Answer[SubscriptionAttributes]:
    """Go on with another plan or quantity from a local day on; what went before stays."""
    request = build(ChangePlan, subscription_id=subscription_id, **body.model_dump())
    return reply.one(subscription_resource(ctx.session, change_plan(ctx, request)))


@router.post("/{subscription_id}/end", summary="End a subscription")
def end(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    subscription_id: UUID,
    body: Annotated[SubscriptionEnd, Body(examples=[{"ends_on": "2026-10-21"}])],
) -> Answer[SubscriptionAttributes]:
    """End a subscription at a local midnight."""
    request = build(EndSubscription, subscription_id=subscription_id, **body.model_dump())
    return reply.one(subscription_resource(ctx.session, end_subscription(ctx, request)))
