"""Coupons, who has them, and how a coupon stands on a day."""

from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from billing.access.actor import Actor
from billing.access.roles import Permission
from console.queries.reading import fetch, live

STATES = ("open", "coming", "used_up", "over", "withdrawn")
"""What a coupon is on a day; only an open one can be redeemed."""


class CouponRow(NamedTuple):
    """A coupon, and how it stands on a day."""

    id: UUID
    code: str
    name: str
    percent: Decimal | None
    amounts: dict[str, int]
    """Minor units by currency, where it has no percentage."""
    duration: str
    periods: int | None
    redeem_from: date | None
    redeem_until: date | None
    """The first day on which no subscription gets it any more."""
    max_redemptions: int | None
    redeemed: int
    plans: list[str]
    """The names of the plans whose lines it makes smaller; none is all."""
    state: str

    @property
    def title(self) -> str:
        """How a list names it."""
        return f"{self.code} · {self.name}"

    @property
    def last_day(self) -> date | None:
        """The last day on which it can be redeemed, if there is one."""
        return self.redeem_until and self.redeem_until - timedelta(days=1)

    def prices(self, currency: str) -> bool:
        """Whether it takes something off invoices in a currency."""
        return self.percent is not None or currency in self.amounts


class RedemptionRow(NamedTuple):
    """A subscription that has a coupon, or had it."""

    owner: str
    starts_on: date
    ends_on: date | None
    """The first day of the first period without it."""
    redeemed_by: str


def coupons(actor: Actor, today: date, limit: int) -> list[CouponRow]:
    """Coupons as they stand on a day, the newest first."""
    actor.require(Permission.CATALOG_READ)
    rows = fetch(
        """
        with found as (
            select c.*,
                (select count(*) from billing.coupon_redemptions r where r.coupon_id = c.id)
                    as redeemed,
                (select coalesce(json_object_agg(a.currency, a.amount_minor), '{}')
                 from billing.coupon_amounts a where a.coupon_id = c.id) as amounts,
                array(select p.name from billing.coupon_plans x
                      join billing.price_plans p on p.id = x.plan_id
                      where x.coupon_id = c.id order by lower(p.name)) as plans
            from billing.coupons c order by c.id desc limit :limit
        )
        select id, code, name, percent, amounts, duration, periods, redeem_from, redeem_until,
               max_redemptions, redeemed, plans,
               case when withdrawn_at is not null then 'withdrawn'
                    when redeem_until <= :today then 'over'
                    when redeemed >= max_redemptions then 'used_up'
                    when redeem_from > :today then 'coming' else 'open' end
        from found order by id desc
        """,
        {"today": today, "limit": limit},
    )
    return [CouponRow(*row) for row in rows]


@live(Permission.SUBSCRIPTIONS_READ)
def redemptions(confined: UUID | None, coupon_id: UUID, limit: int) -> list[RedemptionRow]:
    """Who has a coupon or had it, the latest first."""
    rows = fetch(
        """
        select c.name || case when a.name = c.name then '' else ' · ' || a.name end,
               r.starts_on, r.ends_on, r.redeemed_by
        from billing.coupon_redemptions r
        join billing.subscriptions s on s.id = r.subscription_id
        join billing.accounts a on a.id = s.account_id
        join billing.customers c on c.id = a.customer_id
        where r.coupon_id = :coupon_id
          and (cast(:confined as uuid) is null or a.customer_id = :confined)
        order by r.id desc limit :limit
        """,
        {"coupon_id": coupon_id, "confined": confined, "limit": limit},
    )
    return [RedemptionRow(*row) for row in rows]
