"""Coupons, and the subscriptions that get them."""

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Request
from billing.coupons.service import (
    CouponChoice,
    CreateCoupon,
    RedeemCoupon,
    RemoveCoupon,
    WithdrawCoupon,
    create_coupon,
    list_coupons,
    list_redemptions,
    redeem_coupon,
    remove_coupon,
    withdraw_coupon,
)
from billing.coupons.tables import Coupon, Duration, Redemption
from billing.subscriptions.requests import Day
from ingest_api.auth import needs
from ingest_api.dependencies import Commands, Envelope, Paging, ReadSession, build
from ingest_api.envelope import Amount, Answer, Attributes, ListAnswer, Resource, refer

router = APIRouter(tags=["coupons"])

Staff = Annotated[Actor, needs(Permission.CATALOG_READ, staff_only=True)]
Seller = Annotated[Actor, needs(Permission.CATALOG_WRITE)]
Reader = Annotated[Actor, needs(Permission.SUBSCRIPTIONS_READ)]
Writer = Annotated[Actor, needs(Permission.SUBSCRIPTIONS_WRITE)]


class CouponAttributes(Attributes):
    """What a coupon takes off, and who can get it."""

    code: str
    name: str
    percent: Amount | None
    amounts: dict[str, int]
    """Minor units by currency."""
    duration: Duration
    periods: int | None
    redeem_from: date | None
    redeem_until: date | None
    max_redemptions: int | None
    plan_ids: list[UUID]
    created_at: datetime
    withdrawn_at: datetime | None


class RedemptionAttributes(Attributes):
    """The periods of a subscription that begin on these days have the coupon."""

    code: str
    starts_on: date
    ends_on: date | None
    redeemed_by: str
    created_at: datetime


class CouponEnd(Request):
    """A local day of the first period without the coupon."""

    from_day: Day


_NEW = {
    "code": "MONSOON20",
    "name": "Monsoon offer",
    "percent": "20",
    "duration": "repeating",
    "periods": 3,
    "redeem_until": "2026-10-01",
    "max_redemptions": 500,
    "plan_codes": ["starter"],
}


def coupon_resource(row: Coupon) -> Resource[CouponAttributes]:
    """A coupon as the API shows it."""
    return Resource(
        id=str(row.id),
        type="coupon",
        attributes=CouponAttributes(
            code=row.code,
            name=row.name,
            percent=row.percent,
            amounts={one.currency: one.amount_minor for one in row.amounts},
            duration=row.duration,
            periods=row.periods,
            redeem_from=row.redeem_from,
            redeem_until=row.redeem_until,
            max_redemptions=row.max_redemptions,
            plan_ids=[one.plan_id for one in row.plans],
            created_at=row.created_at,
            withdrawn_at=row.withdrawn_at,
        ),
    )


def redemption_resource(row: Redemption) -> Resource[RedemptionAttributes]:
    """A coupon of a subscription as the API shows it."""
    return Resource(
        id=str(row.id),
        type="coupon_redemption",
        attributes=RedemptionAttributes(
            code=row.coupon.code,
            starts_on=row.starts_on,
            ends_on=row.ends_on,
            redeemed_by=row.redeemed_by,
            created_at=row.created_at,
        ),
        relationships=refer(
            coupon=("coupon", row.coupon_id),
            subscription=("subscription", row.subscription_id),
        ),
    )


@router.get("/coupons", summary="List coupons")
def list_all(
    session: ReadSession, actor: Staff, reply: Envelope, page: Paging
) -> ListAnswer[CouponAttributes]:
    """Coupons, the newest first."""
    return reply.page(list_coupons(session, actor, **page.fetch), page.limit, coupon_resource)


@router.post("/coupons", status_code=201, summary="Make a coupon")
def create(
    ctx: Commands,
    _: Seller,
    reply: Envelope,
    body: Annotated[CreateCoupon, Body(examples=[_NEW])],
) -> Answer[CouponAttributes]:
    """A part of every line, or an amount off each period's invoice; it is never edited."""
    return reply.one(coupon_resource(create_coupon(ctx, body)))


@router.post("/coupons/{coupon_id}/withdraw", summary="Withdraw a coupon")
def withdraw(
    ctx: Commands, _: Seller, reply: Envelope, coupon_id: UUID
) -> Answer[CouponAttributes]:
    """Nobody gets it any more; subscriptions that have it keep it."""
    row = withdraw_coupon(ctx, WithdrawCoupon(coupon_id=coupon_id))
    return reply.one(coupon_resource(row))


@router.get(
    "/subscriptions/{subscription_id}/coupon-redemptions", summary="List a subscription's coupons"
)
def list_of_subscription(
    session: ReadSession, actor: Reader, reply: Envelope, subscription_id: UUID
) -> ListAnswer[RedemptionAttributes]:
    """The coupons that it has and had, in the order of their days."""
    return reply.all(list_redemptions(session, actor, subscription_id), redemption_resource)


@router.post(
    "/subscriptions/{subscription_id}/coupon-redemptions",
    status_code=201,
    summary="Redeem a coupon",
)
def redeem(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    subscription_id: UUID,
    body: Annotated[CouponChoice, Body(examples=[{"code": "MONSOON20"}])],
) -> Answer[RedemptionAttributes]:
    """Give it to a subscription, from the period of a day on; one holds at a time."""
    request = build(RedeemCoupon, subscription_id=subscription_id, **body.model_dump())
    return reply.one(redemption_resource(redeem_coupon(ctx, request)))


@router.post("/coupon-redemptions/{redemption_id}/remove", summary="Remove a coupon")
def remove(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    redemption_id: UUID,
    body: Annotated[CouponEnd, Body(examples=[{"from_day": "2026-11-01"}])],
) -> Answer[RedemptionAttributes]:
    """The period of that day and those after it no longer have it."""
    request = RemoveCoupon(redemption_id=redemption_id, from_day=body.from_day)
    return reply.one(redemption_resource(remove_coupon(ctx, request)))
