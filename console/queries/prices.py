"""Plan versions and charges to choose from."""

from typing import NamedTuple
from uuid import UUID

from billing.access.actor import Actor
from billing.access.roles import Permission
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


def on_sale(actor: Actor) -> list[PlanChoice]:
    """Plans with an active version, by name."""
    actor.require(Permission.CATALOG_READ)
    rows = fetch(
        """
        select p.code, p.name from billing.price_plans p
        where exists (select 1 from billing.price_plan_versions v
                      where v.plan_id = p.id and v.status = 'active')
        order by lower(p.name), p.code
        """,
        {},
    )
    return [PlanChoice(*row) for row in rows]
