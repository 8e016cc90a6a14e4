"""Commands on subscriptions. A change begins at a local midnight, so segments are whole days."""

from uuid import UUID

from billing.access.roles import Permission
from billing.commands import Context, command
from billing.customers.repository import load_account
from billing.customers.tables import AccountStatus
from billing.db.locks import lock_for_transaction
from billing.errors import ConflictError, PreconditionError
from billing.subscriptions.history import store, undone
from billing.subscriptions.planning import plan_change, plan_start
from billing.subscriptions.repository import load_subscription, overlapping
from billing.subscriptions.requests import (
    AddAddOn,
    ChangePlan,
    ChangeSeats,
    EndSubscription,
    PauseSubscription,
    RenewSubscription,
    ResumeSubscription,
    Subscribe,
    UndoChange,
)
from billing.subscriptions.tables import Subscription, SubscriptionStatus
from billing.subscriptions.timeline import Timeline


@command("subscription.start", Permission.SUBSCRIPTIONS_WRITE)
def subscribe(ctx: Context, request: Subscribe) -> Subscription:
    """Start a subscription; an account has one at a time."""
    account = load_account(ctx.session, request.account_id, lock=True)
    if account.status is AccountStatus.CLOSED:
        raise PreconditionError("The account is closed.", code="account_closed")
    lock_for_transaction(ctx.session, f"subscriptions:{account.id}")
    planned = plan_start(ctx.session, account, request)
    _refuse_other(ctx, account.id, None, planned.timeline)
    now = ctx.clock.now()
    cycle = planned.timeline.first_cycle
    subscription = Subscription(
        account_id=account.id,
        status=SubscriptionStatus.ACTIVE,
        interval=cycle.interval,
        anchor_day=cycle.anchor_day,
        anchor_month=cycle.anchor_month,
        starts_on=request.starts_on,
        ends_on=request.ends_on,
        created_at=now,
        updated_at=now,
    )
    ctx.session.add(subscription)
    ctx.session.flush()
    store(ctx, subscription, planned)
    return subscription


@command("subscription.change_plan", Permission.SUBSCRIPTIONS_WRITE)
def change_plan(ctx: Context, request: ChangePlan) -> Subscription:
    """Go on with another plan; what went before stays as it was."""
    return _change(ctx, request)


@command("subscription.add_on", Permission.SUBSCRIPTIONS_WRITE)
def add_add_on(ctx: Context, request: AddAddOn) -> Subscription:
    """Bill another plan beside the subscription's own."""
    return _change(ctx, request)


@command("subscription.change_seats", Permission.SUBSCRIPTIONS_WRITE)
def change_seats(ctx: Context, request: ChangeSeats) -> Subscription:
    """Go on with another quantity of the version in force."""
    return _change(ctx, request)


@command("subscription.pause", Permission.SUBSCRIPTIONS_WRITE)
def pause_subscription(ctx: Context, request: PauseSubscription) -> Subscription:
    """Stop recurring charges for a while."""
    return _change(ctx, request)


@command("subscription.resume", Permission.SUBSCRIPTIONS_WRITE)
def resume_subscription(ctx: Context, request: ResumeSubscription) -> Subscription:
    """Bill recurring charges again."""
    return _change(ctx, request)


@command("subscription.end", Permission.SUBSCRIPTIONS_WRITE)
def end_subscription(ctx: Context, request: EndSubscription) -> Subscription:
    """End a subscription at a local midnight."""
    return _change(ctx, request)


@command("subscription.renew", Permission.SUBSCRIPTIONS_WRITE)
def renew_subscription(ctx: Context, request: RenewSubscription) -> Subscription:
    """Move the end to a later day, or take it away."""
    return _change(ctx, request)


@command("subscription.undo", Permission.SUBSCRIPTIONS_WRITE)
def undo_change(ctx: Context, request: UndoChange) -> Subscription:
    """Take the latest change back, as long as nothing that it alters is invoiced."""
    subscription = _locked(ctx, request.subscription_id)
    latest, planned = undone(ctx.session, subscription, request.change_id)
    _refuse_other(ctx, subscription.account_id, subscription.id, planned.timeline)
    store(ctx, subscription, planned, undoes_id=latest.id)
    return subscription


def _change(
    ctx: Context,
    request: ChangePlan
    | AddAddOn
    | ChangeSeats
    | PauseSubscription
    | ResumeSubscription
    | EndSubscription
    | RenewSubscription,
) -> Subscription:
    subscription = _locked(ctx, request.subscription_id)
    account = load_account(ctx.session, subscription.account_id)
    planned = plan_change(ctx.session, ctx.clock, subscription, account, request)
    _refuse_other(ctx, subscription.account_id, subscription.id, planned.timeline)
    store(ctx, subscription, planned)
    return subscription


def _locked(ctx: Context, subscription_id: UUID) -> Subscription:
    subscription = load_subscription(ctx.session, subscription_id, lock=True)
    lock_for_transaction(ctx.session, f"subscriptions:{subscription.account_id}")
    return subscription


def _refuse_other(ctx: Context, account_id: UUID, own_id: UUID | None, timeline: Timeline) -> None:
    """An account has one subscription at a time."""
    days = (timeline.starts_on, timeline.ends_on)
    other = overlapping(ctx.session, account_id, *days, apart_from=own_id)
    if other is not None:
        raise ConflictError(
            f"The account has a subscription since {other.starts_on}; change its plan, or end it.",
            code="already_subscribed",
            details={"subscription_id": str(other.id)},
        )
