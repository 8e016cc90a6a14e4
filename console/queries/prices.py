"""Plan versions and charges to choose from."""

from datetime import date
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.rating.plan import PERIOD_MODELS
from console.queries.reading import fetch


class VersionChoice(NamedTuple):
    """A plan version to choose."""

    id: UUID
    title: str


def versions(actor: Actor) -> list[VersionChoice]:
    """All plan versions, drafts too, by plan."""
    actor.require(Permission.CATALOG_READ)
    rows = fetch(
        """
        select v.id, p.name || ', version ' || v.version ||
            case v.status when 'active' then '' else ' (' || v.status || ')' end
        from billing.price_plan_versions v join billing.price_plans p on p.id = v.plan_id
        where v.status <> 'discarded'
        order by lower(p.name), v.version desc
        """,
        {},
    )
    return [VersionChoice(*row) for row in rows]


def charge_codes(actor: Actor) -> list[str]:
    """The codes that charges have, in any plan."""
    actor.require(Permission.CATALOG_READ)
    return [row[0] for row in fetch("select distinct code from billing.charges order by 1", {})]


class PlanChoice(NamedTuple):
    """A plan that is on sale."""

    code: str
    name: str


def on_sale(actor: Actor, *, add_ons: bool = False, archived: bool = False) -> list[PlanChoice]:
    """Plans with an active version, by name.

    Args:
        add_ons: those that are sold beside another plan; if not, those that are sold by themselves.
        archived: those too that nobody new gets, and some still have.
    """
    actor.require(Permission.CATALOG_READ)
    rows = fetch(
        """
        select p.code, p.name from billing.price_plans p
        where p.is_add_on = :add_ons and (:archived or p.archived_at is null)
          and exists (select 1 from billing.price_plan_versions v
                      where v.plan_id = p.id and v.status = 'active')
        order by lower(p.name), p.code
        """,
        {"add_ons": add_ons, "archived": archived},
    )
    return [PlanChoice(*row) for row in rows]


class AddOnPrice(NamedTuple):
    """What one charge of an add-on costs in one currency, for a quantity of one."""

    plan: str
    code: str
    interval: str
    """Of its periods: it is sold beside plans with the same one."""
    charge: str
    is_once: bool
    in_tiers: bool
    """Whether its seats have tiers."""
    currency: str
    price: Decimal | None
    """None for usage and seats, whose price may have tiers."""
    subscriptions: int
    """How many have the add-on on the day."""


def add_on_prices(actor: Actor, today: date) -> list[AddOnPrice]:
    """The prices of the add-ons on sale, by add-on, charge and currency."""
    actor.require(Permission.CATALOG_READ)
    rows = fetch(
        """
        select distinct on (lower(p.name), p.code, c.ordinal, r.currency)
               p.name, p.code, v.interval, c.name, c.price_model = 'one_time',
               c.tier_mode is not null, r.currency,
               case when c.price_model = any(:per_period) and c.tier_mode is null
                    then t.flat_amount end,
               (select count(distinct g.subscription_id) from billing.subscription_segments g
                join billing.price_plan_versions w on w.id = g.plan_version_id
                where w.plan_id = p.id and g.starts_on <= :today
                  and (g.ends_on is null or g.ends_on > :today))
        from billing.price_plans p
        join billing.price_plan_versions v on v.plan_id = p.id and v.status = 'active'
        join billing.charges c on c.plan_version_id = v.id
        join billing.rates r on r.charge_id = c.id
        join billing.rate_tiers t on t.rate_id = r.id and t.ordinal = 1
        where p.is_add_on and p.archived_at is null
        order by lower(p.name), p.code, c.ordinal, r.currency, r.ordinal
        """,
        {"today": today, "per_period": sorted(PERIOD_MODELS)},
    )
    return [AddOnPrice(*row) for row in rows]
