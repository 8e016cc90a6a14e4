"""Who has which plan, from when."""

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Query
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.periods import Interval
from billing.subscriptions.history import list_changes
from billing.subscriptions.repository import (
    get_subscription,
    list_subscriptions,
    segments_of,
)
from billing.subscriptions.requests import (
    AddAddOn,
    AddOnChoice,
    ChangePlan,
    ChangeSeats,
    EndChoice,
    EndSubscription,
    PauseChoice,
    PauseSubscription,
    PlanChoice,
    RenewChoice,
    RenewSubscription,
    ResumeChoice,
    ResumeSubscription,
    SeatChoice,
    Subscribe,
    UndoChange,
)
from billing.subscriptions.service import (
    add_add_on,
    change_plan,
    change_seats,
    end_subscription,
    pause_subscription,
    renew_subscription,
    resume_subscription,
    subscribe,
    undo_change,
)
from billing.subscriptions.tables import (
    ChangeKind,
    Phase,
    Proration,
    Subscription,
    SubscriptionChange,
    SubscriptionStatus,
)
from ingest_api.auth import needs
from ingest_api.dependencies import Commands, Envelope, Paging, ReadSession, build
from ingest_api.envelope import Amount, Answer, Attributes, ListAnswer, Resource, refer

router = APIRouter(prefix="/subscriptions", tags=["subscriptions"])

Reader = Annotated[Actor, needs(Permission.SUBSCRIPTIONS_READ)]
Writer = Annotated[Actor, needs(Permission.SUBSCRIPTIONS_WRITE)]


class CycleAttributes(Attributes):
    """How whole periods follow each other."""

    interval: Interval
    anchor_day: int
    anchor_month: int


class SegmentAttributes(Attributes):
    """One plan version and quantity over local days; `ends_on` is the first day without it.

    `recurring_from` and `recurring_to` are there where recurring charges bill other days; `cycle`
    is there where its periods are others than the subscription's first ones.
    """

    id: UUID
    plan_version_id: UUID
    quantity: Amount
    phase: Phase
    starts_on: date
    ends_on: date | None
    recurring_from: date | None
    recurring_to: date | None
    cycle: CycleAttributes | None
    add_on_id: UUID | None
    """What the segments of one add-on share."""
    added_on: date | None


class SubscriptionSummary(Attributes):
    """An account's agreement to a plan; its interval and anchor are those it began with."""

    status: SubscriptionStatus
    interval: Interval
    anchor_day: int
    anchor_month: int
    starts_on: date
    ends_on: date | None
    created_at: datetime
    updated_at: datetime


class SubscriptionAttributes(SubscriptionSummary):
    """A subscription with its segments."""

    segments: list[SegmentAttributes]


class ChangeAttributes(Attributes):
    """What happened to a subscription, with all of it before and after."""

    number: int
    kind: ChangeKind
    effective_on: date
    bills_from: date
    proration: Proration | None
    before: dict[str, Any] | None
    after: dict[str, Any]
    made_by: str
    made_at: datetime


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


NEW_SUBSCRIPTION = {
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
    body: Annotated[Subscribe, Body(examples=[NEW_SUBSCRIPTION])],
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


def change_resource(row: SubscriptionChange) -> Resource[ChangeAttributes]:
    """A change as the API shows it."""
    undone = {} if row.undoes_id is None else {"undoes": ("subscription_change", row.undoes_id)}
    return Resource(
        id=str(row.id),
        type="subscription_change",
        attributes=ChangeAttributes.model_validate(row),
        relationships=refer(subscription=("subscription", row.subscription_id), **undone),
    )


@router.post("/{subscription_id}/change", summary="Change plan")
def change(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    subscription_id: UUID,
    body: Annotated[PlanChoice, Body(examples=[{"plan_code": "growth", "from_day": "2026-09-16"}])],
) -> Answer[SubscriptionAttributes]:
    """Go on with another plan from a local day on; what went before stays."""
    request = build(ChangePlan, subscription_id=subscription_id, **body.model_dump())
    return reply.one(subscription_resource(ctx.session, change_plan(ctx, request)))


@router.post("/{subscription_id}/add-ons", summary="Add an add-on")
def add_on(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    subscription_id: UUID,
    body: Annotated[
        AddOnChoice, Body(examples=[{"plan_code": "dedicated-number", "from_day": "2026-09-16"}])
    ],
) -> Answer[SubscriptionAttributes]:
    """Bill another plan beside the subscription's own, in the same periods."""
    request = build(AddAddOn, subscription_id=subscription_id, **body.model_dump())
    return reply.one(subscription_resource(ctx.session, add_add_on(ctx, request)))


@router.post("/{subscription_id}/seats", summary="Change the quantity")
def seats(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    subscription_id: UUID,
    body: Annotated[SeatChoice, Body(examples=[{"quantity": "5", "from_day": "period_end"}])],
) -> Answer[SubscriptionAttributes]:
    """Go on with another quantity of the plan version in force."""
    request = build(ChangeSeats, subscription_id=subscription_id, **body.model_dump())
    return reply.one(subscription_resource(ctx.session, change_seats(ctx, request)))


@router.post("/{subscription_id}/pause", summary="Pause a subscription")
def pause(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    subscription_id: UUID,
    body: Annotated[
        PauseChoice, Body(examples=[{"from_day": "period_end", "resume_on": "2026-11-01"}])
    ],
) -> Answer[SubscriptionAttributes]:
    """Stop recurring charges; usage that happens all the same is billed."""
    request = build(PauseSubscription, subscription_id=subscription_id, **body.model_dump())
    return reply.one(subscription_resource(ctx.session, pause_subscription(ctx, request)))


@router.post("/{subscription_id}/resume", summary="Resume a subscription")
def resume(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    subscription_id: UUID,
    body: Annotated[ResumeChoice, Body(examples=[{"from_day": "now"}])],
) -> Answer[SubscriptionAttributes]:
    """Bill recurring charges again."""
    request = build(ResumeSubscription, subscription_id=subscription_id, **body.model_dump())
    return reply.one(subscription_resource(ctx.session, resume_subscription(ctx, request)))


@router.post("/{subscription_id}/end", summary="End a subscription")
def end(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    subscription_id: UUID,
    body: Annotated[EndChoice, Body(examples=[{"ends_on": "period_end"}])],
) -> Answer[SubscriptionAttributes]:
    """End at a local midnight: the coming one (`now`), the period's (`period_end`), or a day's."""
    request = build(EndSubscription, subscription_id=subscription_id, **body.model_dump())
    return reply.one(subscription_resource(ctx.session, end_subscription(ctx, request)))


@router.post("/{subscription_id}/renew", summary="Renew a subscription")
def renew(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    subscription_id: UUID,
    body: Annotated[RenewChoice, Body(examples=[{"ends_on": "2027-10-01"}])],
) -> Answer[SubscriptionAttributes]:
    """Move the end that was agreed to a later day, or take it away."""
    request = build(RenewSubscription, subscription_id=subscription_id, **body.model_dump())
    return reply.one(subscription_resource(ctx.session, renew_subscription(ctx, request)))


@router.get("/{subscription_id}/changes", summary="List a subscription's changes")
def changes(
    session: ReadSession, actor: Reader, reply: Envelope, subscription_id: UUID
) -> ListAnswer[ChangeAttributes]:
    """All changes in the order they were made; none is ever removed."""
    return reply.all(list_changes(session, actor, subscription_id), change_resource)


@router.post("/{subscription_id}/changes/{change_id}/undo", summary="Undo the latest change")
def undo(
    ctx: Commands, _: Writer, reply: Envelope, subscription_id: UUID, change_id: UUID
) -> Answer[SubscriptionAttributes]:
    """Put the subscription back to what it was, as long as nothing of it is invoiced."""
    request = UndoChange(subscription_id=subscription_id, change_id=change_id)
    return reply.one(subscription_resource(ctx.session, undo_change(ctx, request)))
