"""Commands on coupons. What one takes off is never edited; it is withdrawn, and another made."""

from collections.abc import Sequence
from datetime import date
from typing import Annotated
from uuid import UUID

from pydantic import Field
from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.catalog.tables import PlanVersion, PricePlan
from billing.commands import Context, Request, command
from billing.coupons.tables import Coupon, CouponAmount, CouponPlan, Duration, Redemption
from billing.customers.repository import load_account
from billing.db.locks import lock_for_transaction
from billing.errors import (
    ConflictError,
    FieldError,
    InvalidError,
    NotFoundError,
    PreconditionError,
    not_found,
)
from billing.fields import ExactDecimal
from billing.money import CURRENCIES
from billing.periods import local_day
from billing.subscriptions.history import refuse_billed, timeline_of
from billing.subscriptions.repository import get_subscription, load_subscription
from billing.subscriptions.requests import Day
from billing.subscriptions.timeline import Timeline

Percent = Annotated[ExactDecimal, Field(gt=0, le=100, decimal_places=4)]
Minor = Annotated[int, Field(gt=0, lt=2**53)]


class CreateCoupon(Request):
    """A part of every line, or an amount off each period's invoice."""

    code: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")
    name: str = Field(min_length=1, max_length=200)
    percent: Percent | None = None
    amounts: dict[str, Minor] = Field(default_factory=dict, max_length=10)
    """Minor units by currency; either these or a percentage."""
    duration: Duration
    periods: int | None = Field(default=None, gt=0, le=1200)
    """How many, if it is repeating."""
    redeem_from: Day | None = None
    redeem_until: Day | None = None
    """The first local day on which no subscription gets it any more."""
    max_redemptions: int | None = Field(default=None, gt=0, lt=2**31)
    plan_codes: tuple[str, ...] = Field(default=(), max_length=100)
    """Only the lines of these plans; of all, if there are none."""


class WithdrawCoupon(Request):
    """Nobody gets it any more; who has it keeps it."""

    coupon_id: UUID


class CouponChoice(Request):
    """A coupon, and a local day of the first period that has it."""

    code: str
    from_day: Day | None = None
    """Without one, today."""


class RedeemCoupon(CouponChoice):
    """Give a subscription a coupon."""

    subscription_id: UUID


class RemoveCoupon(Request):
    """Take a coupon away from the period of a local day on."""

    redemption_id: UUID
    from_day: Day


@command("coupon.create", Permission.CATALOG_WRITE)
def create_coupon(ctx: Context, request: CreateCoupon) -> Coupon:
    """Make a coupon that subscriptions can get."""
    if wrong := _errors(request):
        raise InvalidError("The coupon makes no sense.", fields=wrong)
    if ctx.session.scalar(select(Coupon.id).filter_by(code=request.code)):
        raise ConflictError(f"The code {request.code} is taken; choose another.", code="code_taken")
    plans: dict[str, UUID] = {
        row.code: row.id
        for row in ctx.session.execute(
            select(PricePlan.code, PricePlan.id).where(PricePlan.code.in_(request.plan_codes))
        )
    }
    missing = [
        FieldError(f"plan_codes.{index}", f"there is no plan {code}")
        for index, code in enumerate(request.plan_codes)
        if code not in plans
    ]
    if missing:
        raise InvalidError("The coupon makes no sense.", fields=missing)
    coupon = Coupon(
        **request.model_dump(exclude={"amounts", "plan_codes"}),
        created_at=ctx.clock.now(),
        amounts=[
            CouponAmount(currency=currency, amount_minor=minor)
            for currency, minor in sorted(request.amounts.items())
        ],
        plans=[CouponPlan(plan_id=plan_id) for plan_id in sorted(set(plans.values()))],
    )
    ctx.session.add(coupon)
    return coupon


@command("coupon.withdraw", Permission.CATALOG_WRITE)
def withdraw_coupon(ctx: Context, request: WithdrawCoupon) -> Coupon:
    """Let no subscription get it from now on."""
    coupon = ctx.session.get(Coupon, request.coupon_id, with_for_update=True)
    if coupon is None:
        raise not_found("coupon", request.coupon_id)
    coupon.withdrawn_at = coupon.withdrawn_at or ctx.clock.now()
    return coupon


@command("coupon.redeem", Permission.SUBSCRIPTIONS_WRITE)
def redeem_coupon(ctx: Context, request: RedeemCoupon) -> Redemption:
    """Give a subscription a coupon for the periods from that of a day on.

    Raises:
        ConflictError: if another coupon holds for one of these periods.
        PreconditionError: if the coupon is not to be had, or a period is invoiced.
    """
    coupon = ctx.session.scalars(
        select(Coupon).filter_by(code=request.code).with_for_update(of=Coupon)
    ).one_or_none()
    if coupon is None:
        raise NotFoundError(f"There is no coupon {request.code}.", code="not_found")
    subscription = load_subscription(ctx.session, request.subscription_id, lock=True)
    account = load_account(ctx.session, subscription.account_id)
    today = local_day(ctx.clock.now(), account.zone)
    _require_to_be_had(ctx.session, coupon, today, account.currency)
    timeline = timeline_of(ctx.session, subscription)
    wanted = max(request.from_day or today, timeline.starts_on)
    _require_plan(ctx.session, coupon, timeline, wanted)
    lock_for_transaction(ctx.session, f"coupons:{subscription.id}")
    starts_on, ends_on = _days(coupon, timeline, wanted)
    refuse_billed(ctx.session, account.id, starts_on)
    _refuse_other(ctx.session, subscription.id, starts_on, ends_on)
    redemption = Redemption(
        coupon_id=coupon.id,
        coupon=coupon,
        subscription_id=subscription.id,
        starts_on=starts_on,
        ends_on=ends_on,
        redeemed_by=ctx.actor.name,
        created_at=ctx.clock.now(),
    )
    ctx.session.add(redemption)
    return redemption


@command("coupon.remove", Permission.SUBSCRIPTIONS_WRITE)
def remove_coupon(ctx: Context, request: RemoveCoupon) -> Redemption:
    """End a coupon of a subscription before the period of a day."""
    redemption = ctx.session.scalars(
        select(Redemption).filter_by(id=request.redemption_id).with_for_update(of=Redemption)
    ).one_or_none()
    if redemption is None:
        raise not_found("redemption", request.redemption_id)
    subscription = load_subscription(ctx.session, redemption.subscription_id)
    day = timeline_of(ctx.session, subscription).calendar.period(request.from_day).start
    day = max(day, redemption.starts_on)
    if redemption.ends_on is not None and day >= redemption.ends_on:
        raise PreconditionError("It has ended by then.", code="already_ended")
    refuse_billed(ctx.session, subscription.account_id, day)
    redemption.ends_on = day
    return redemption


def list_coupons(
    session: Session, actor: Actor, *, limit: int = 50, after: UUID | None = None
) -> Sequence[Coupon]:
    """Coupons, the newest first."""
    actor.require(Permission.CATALOG_READ)
    query = select(Coupon).order_by(Coupon.id.desc()).limit(limit)
    if after is not None:
        query = query.where(Coupon.id < after)
    return session.scalars(query).all()


def list_redemptions(session: Session, actor: Actor, subscription_id: UUID) -> Sequence[Redemption]:
    """The coupons that a subscription has and had, in the order of their days."""
    subscription = get_subscription(session, actor, subscription_id)
    return session.scalars(
        select(Redemption)
        .filter_by(subscription_id=subscription.id)
        .order_by(Redemption.starts_on, Redemption.id)
    ).all()


def _errors(request: CreateCoupon) -> list[FieldError]:
    wrong = [
        FieldError(f"amounts.{currency}", f"use one of {', '.join(sorted(CURRENCIES))}")
        for currency in request.amounts
        if currency not in CURRENCIES
    ]
    if (request.percent is None) == (not request.amounts):
        wrong.append(FieldError("percent", "give a percentage, or amounts"))
    if (request.duration is Duration.REPEATING) != (request.periods is not None):
        wrong.append(FieldError("periods", "a repeating coupon, and only it, says how many"))
    first, last = request.redeem_from, request.redeem_until
    if first is not None and last is not None and last <= first:
        wrong.append(FieldError("redeem_until", "use a later day"))
    return wrong


def _require_to_be_had(session: Session, coupon: Coupon, today: date, currency: str) -> None:
    first, last = coupon.redeem_from or date.min, coupon.redeem_until or date.max
    if coupon.withdrawn_at is not None or not first <= today < last:
        raise PreconditionError("The coupon is not to be had today.", code="coupon_not_valid")
    used = session.scalar(
        select(func.count()).select_from(Redemption).filter_by(coupon_id=coupon.id)
    )
    if coupon.max_redemptions is not None and (used or 0) >= coupon.max_redemptions:
        raise PreconditionError("The coupon is used up.", code="coupon_used_up")
    if coupon.percent is None and currency not in {one.currency for one in coupon.amounts}:
        raise PreconditionError(
            f"The coupon has no amount in {currency}.", code="currency_not_priced"
        )


def _require_plan(session: Session, coupon: Coupon, timeline: Timeline, day: date) -> None:
    part = timeline.at(day)
    if part is None:
        raise PreconditionError("The subscription has ended by then.", code="outside_segment")
    plan_id = session.scalar(select(PlanVersion.plan_id).filter_by(id=part.plan_version_id))
    if coupon.plans and plan_id not in {one.plan_id for one in coupon.plans}:
        raise PreconditionError(
            "The coupon is for other plans than the subscription's.", code="coupon_other_plan"
        )


def _days(coupon: Coupon, timeline: Timeline, wanted: date) -> tuple[date, date | None]:
    """The first day of the first period that has it, and of the first that no longer does."""
    period = timeline.calendar.period(wanted)
    starts_on = max(period.start, timeline.starts_on)
    if coupon.duration is Duration.FOREVER:
        return starts_on, None
    for _ in range((coupon.periods or 1) - 1):
        period = timeline.calendar.period(period.end)
    return starts_on, period.end


def _refuse_other(
    session: Session, subscription_id: UUID, starts_on: date, ends_on: date | None
) -> None:
    query = select(Redemption).where(
        Redemption.subscription_id == subscription_id,
        or_(Redemption.ends_on.is_(None), Redemption.ends_on > starts_on),
        or_(Redemption.ends_on.is_(None), Redemption.ends_on > Redemption.starts_on),
        Redemption.starts_on < (ends_on or date.max),
    )
    other = session.scalars(query.limit(1)).first()
    if other is not None:
        raise ConflictError(
            f"The subscription has the coupon {other.coupon.code} from {other.starts_on}; remove "
            "it first.",
            code="other_coupon",
            details={"redemption_id": str(other.id)},
        )
