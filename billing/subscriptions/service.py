"""Commands on subscriptions. A change begins at a local midnight, so segments are whole days."""

from datetime import date
from decimal import Decimal
from uuid import UUID

from pydantic import Field
from sqlalchemy import func, select

from billing.access.roles import Permission
from billing.catalog.repository import active_version
from billing.catalog.rules import refused_prepaid
from billing.catalog.tables import PlanVersion
from billing.commands import Context, Request, command
from billing.customers.repository import load_account
from billing.customers.tables import Account, AccountStatus, BillingMode
from billing.db.locks import lock_for_transaction
from billing.errors import ConflictError, FieldError, InvalidError, PreconditionError
from billing.fields import ExactDecimal
from billing.invoices.tables import Invoice, InvoiceOrigin, InvoiceStatus
from billing.subscriptions.repository import load_subscription, overlapping, segments_of
from billing.subscriptions.tables import Subscription, SubscriptionSegment, SubscriptionStatus


class Subscribe(Request):
    """Put an account on a plan's active version, from a local day on."""

    account_id: UUID
    plan_code: str
    starts_on: date
    ends_on: date | None = None
    anchor_day: int = Field(default=1, ge=1, le=31)
    quantity: ExactDecimal = Field(default=Decimal(1), gt=0, max_digits=20, decimal_places=12)


class PlanChoice(Request):
    """Another plan, or another quantity, and the local day it begins."""

    plan_code: str
    from_day: date
    quantity: ExactDecimal = Field(default=Decimal(1), gt=0, max_digits=20, decimal_places=12)


class ChangePlan(PlanChoice):
    """Go on with another plan, or another quantity."""

    subscription_id: UUID


class EndSubscription(Request):
    """The first local day on which the subscription no longer bills."""

    subscription_id: UUID
    ends_on: date


@command("subscription.start", Permission.SUBSCRIPTIONS_WRITE)
def subscribe(ctx: Context, request: Subscribe) -> Subscription:
    """Start a subscription; an account has one at a time."""
    account = load_account(ctx.session, request.account_id, lock=True)
    if account.status is AccountStatus.CLOSED:
        raise PreconditionError("The account is closed.", code="account_closed")
    if request.ends_on is not None and request.ends_on <= request.starts_on:
        raise InvalidError(
            "A subscription ends after it starts.",
            fields=[FieldError("ends_on", "use a later day")],
        )
    lock_for_transaction(ctx.session, f"subscriptions:{account.id}")
    other = overlapping(ctx.session, account.id, request.starts_on, request.ends_on)
    if other is not None:
        raise ConflictError(
            f"The account has a subscription since {other.starts_on}; change its plan, or end it.",
            code="already_subscribed",
            details={"subscription_id": str(other.id)},
        )
    _refuse_billed(ctx, account, request.starts_on)
    version = _sellable_version(ctx, account, request.plan_code)
    now = ctx.clock.now()
    subscription = Subscription(
        account_id=account.id,
        status=SubscriptionStatus.ACTIVE,
        anchor_day=request.anchor_day,
        starts_on=request.starts_on,
        ends_on=request.ends_on,
        created_at=now,
        updated_at=now,
    )
    ctx.session.add(subscription)
    ctx.session.flush()
    ctx.session.add(
        SubscriptionSegment(
            subscription_id=subscription.id,
            plan_version_id=version.id,
            quantity=request.quantity,
            starts_on=request.starts_on,
            ends_on=request.ends_on,
        )
    )
    return subscription


@command("subscription.change_plan", Permission.SUBSCRIPTIONS_WRITE)
def change_plan(ctx: Context, request: ChangePlan) -> Subscription:
    """End the running segment and begin another; what went before stays as it was."""
    subscription = load_subscription(ctx.session, request.subscription_id, lock=True)
    account = load_account(ctx.session, subscription.account_id)
    running = segments_of(ctx.session, subscription.id)[-1]
    if request.from_day <= running.starts_on or (
        running.ends_on is not None and request.from_day >= running.ends_on
    ):
        raise PreconditionError(
            f"The running segment began on {running.starts_on}; a change lies after that day and "
            "before the subscription's end.",
            code="outside_segment",
        )
    _refuse_billed(ctx, account, request.from_day)
    version = _sellable_version(ctx, account, request.plan_code)
    ends_on = running.ends_on
    running.ends_on = request.from_day
    ctx.session.flush()
    ctx.session.add(
        SubscriptionSegment(
            subscription_id=subscription.id,
            plan_version_id=version.id,
            quantity=request.quantity,
            starts_on=request.from_day,
            ends_on=ends_on,
        )
    )
    subscription.updated_at = ctx.clock.now()
    return subscription


@command("subscription.end", Permission.SUBSCRIPTIONS_WRITE)
def end_subscription(ctx: Context, request: EndSubscription) -> Subscription:
    """End a subscription at a local midnight."""
    subscription = load_subscription(ctx.session, request.subscription_id, lock=True)
    running = segments_of(ctx.session, subscription.id)[-1]
    if request.ends_on <= running.starts_on:
        raise PreconditionError(
            f"The running segment began on {running.starts_on}; end after that day.",
            code="outside_segment",
        )
    account = load_account(ctx.session, subscription.account_id)
    _refuse_billed(ctx, account, request.ends_on)
    subscription.ends_on = running.ends_on = request.ends_on
    subscription.status = SubscriptionStatus.ENDED
    subscription.updated_at = ctx.clock.now()
    return subscription


def _sellable_version(ctx: Context, account: Account, plan_code: str) -> PlanVersion:
    """The plan's active version, if it can be sold to this account."""
    version = active_version(ctx.session, plan_code)
    priced = all(
        any(rate.currency == account.currency for rate in charge.rates)
        for charge in version.charges
    )
    if not priced:
        raise PreconditionError(
            f"The plan {plan_code} has no {account.currency} rate for every charge.",
            code="currency_not_priced",
        )
    if account.billing_mode is BillingMode.PREPAID and (
        refused := refused_prepaid(version.charges)
    ):
        raise PreconditionError(
            f"The plan {plan_code} cannot be sold prepaid.", code="not_for_prepaid", fields=refused
        )
    return version


def _refuse_billed(ctx: Context, account: Account, day: date) -> None:
    """Refuse a change inside a period that an issued invoice already covers."""
    billed_until = ctx.session.scalar(
        select(func.max(Invoice.period_end)).where(
            Invoice.account_id == account.id,
            Invoice.origin == InvoiceOrigin.RATED,
            Invoice.status.in_([InvoiceStatus.DUE, InvoiceStatus.PAID]),
        )
    )
    if billed_until is not None and day < billed_until:
        raise PreconditionError(
            f"The account is invoiced up to {billed_until}; change from that day on.",
            code="already_billed",
        )
