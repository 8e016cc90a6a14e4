"""What is sold: plans with their versions and subscribers, items, agreements and subsets."""

from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.errors import ForbiddenError
from console.queries.reading import fetch


class PlanRow(NamedTuple):
    """A plan, and how it stands on a day."""

    id: UUID
    code: str
    name: str
    is_add_on: bool
    family: str | None
    tier: int | None
    state: str
    """on_sale, archived, or unpublished: it has no version that anybody could get."""
    active: int | None
    """The number of the version that new subscriptions get."""
    interval: str | None
    drafts: int
    templates: int
    subscriptions: int

    @property
    def title(self) -> str:
        """How a list names it."""
        return f"{self.name} ({self.code})"


class VersionRow(NamedTuple):
    """A version of a plan."""

    id: UUID
    version: int
    status: str
    template: str | None
    created_on: date
    published_on: date | None
    subscriptions: int
    """How many are on it on the day."""

    @property
    def is_open(self) -> bool:
        """Whether it can still be changed."""
        return self.status == "draft"

    @property
    def title(self) -> str:
        """How a list names it."""
        called = f"template “{self.template}”" if self.template else self.status
        return f"Version {self.version}, {called}"


class ItemRow(NamedTuple):
    """Something that can be a line on an invoice."""

    id: UUID
    code: str
    name: str
    kind: str
    event_type: str | None
    event_filter: dict[str, Any]
    aggregation: str
    property_name: str | None
    conversion: str | None
    unit: str
    sac: str
    is_retired: bool
    plans: list[str]
    """The names of the plans on sale that price it."""


class AgreementRow(NamedTuple):
    """A price agreed with an account; one row for each of its tiers."""

    owner: str
    priced: str
    """The plan and charge, or the deck."""
    match: dict[str, Any]
    currency: str
    up_to: Decimal | None
    unit_price: Decimal
    flat_amount: Decimal
    starts_on: date
    ends_on: date | None
    reason: str
    state: str
    """current, coming or over."""


class SubsetRow(NamedTuple):
    """A part of the catalogue that some customers are offered."""

    code: str
    name: str
    is_exclusive: bool
    plans: list[str]
    families: list[str]
    customers: list[str]


def plans(actor: Actor, today: date) -> list[PlanRow]:
    """All plans: those on sale first, by family, tier and name."""
    _ask(actor)
    rows = fetch(
        """
        select p.id, p.code, p.name, p.is_add_on, p.family, p.tier,
               case when p.archived_at is not null then 'archived'
                    when v.id is null then 'unpublished' else 'on_sale' end as state,
               v.version, v.interval,
               count(*) filter (where o.status = 'draft' and o.template is null),
               count(*) filter (where o.status = 'draft' and o.template is not null),
               (select count(distinct g.subscription_id) from billing.subscription_segments g
                join billing.price_plan_versions w on w.id = g.plan_version_id
                where w.plan_id = p.id and g.starts_on <= :today
                  and (g.ends_on is null or g.ends_on > :today))
        from billing.price_plans p
        left join billing.price_plan_versions v on v.plan_id = p.id and v.status = 'active'
        left join billing.price_plan_versions o on o.plan_id = p.id
        group by p.id, v.id
        order by p.archived_at is not null, p.is_add_on, p.family nulls last, p.tier,
                 lower(p.name), p.code
        """,
        {"today": today},
    )
    return [PlanRow(*row) for row in rows]


def versions(actor: Actor, plan_id: UUID, today: date) -> list[VersionRow]:
    """A plan's versions but the discarded ones: that on sale, then the newest first."""
    _ask(actor)
    rows = fetch(
        """
        select v.id, v.version, v.status, v.template, v.created_at::date, v.published_at::date,
               (select count(distinct g.subscription_id) from billing.subscription_segments g
                where g.plan_version_id = v.id and g.starts_on <= :today
                  and (g.ends_on is null or g.ends_on > :today))
        from billing.price_plan_versions v
        where v.plan_id = :plan_id and v.status <> 'discarded'
        order by v.status <> 'active', v.version desc
        """,
        {"plan_id": plan_id, "today": today},
    )
    return [VersionRow(*row) for row in rows]


def accounts_with(actor: Actor, plan_id: UUID, first: date, end: date) -> list[UUID]:
    """The accounts that had a plan, or an add-on, on a day of a half-open period."""
    _ask(actor)
    rows = fetch(
        """
        select distinct s.account_id from billing.subscriptions s
        join billing.subscription_segments g on g.subscription_id = s.id
        join billing.price_plan_versions v on v.id = g.plan_version_id
        where v.plan_id = :plan_id and g.starts_on < :end
          and (g.ends_on is null or g.ends_on > :first)
        order by 1
        """,
        {"plan_id": plan_id, "first": first, "end": end},
    )
    return [row[0] for row in rows]


def items(actor: Actor) -> list[ItemRow]:
    """All billable items, retired ones last, with the plans on sale that price them."""
    _ask(actor)
    rows = fetch(
        """
        select i.id, i.code, i.name, i.kind, i.event_type, i.event_filter, i.aggregation,
               i.property_name, i.conversion, i.unit, i.sac, i.retired_at is not null,
               array(select distinct p.name from billing.charges c
                     join billing.price_plan_versions v on v.id = c.plan_version_id
                     join billing.price_plans p on p.id = v.plan_id
                     where c.item_id = i.id and v.status = 'active' and p.archived_at is null
                     order by 1)
        from billing.billable_items i
        order by i.retired_at is not null, lower(i.name), i.code
        """,
        {},
    )
    return [ItemRow(*row) for row in rows]


def agreements(
    actor: Actor, today: date, customer_id: UUID | None, limit: int
) -> list[AgreementRow]:
    """Prices agreed with accounts, those that hold first, by customer."""
    actor.require(Permission.SUBSCRIPTIONS_READ)
    _ask(actor)
    rows = fetch(
        """
        select owner, priced, match, currency, up_to, unit_price, flat_amount, starts_on, ends_on,
               reason, state
        from (
            select c.name || case when a.name = c.name then '' else ' · ' || a.name end as owner,
                   coalesce('Rate deck ' || d.name, p.name || ', ' || o.charge_code) as priced,
                   o.match, o.currency, t.up_to, t.unit_price, t.flat_amount, o.starts_on,
                   o.ends_on, o.reason, o.number, t.ordinal,
                   case when o.ends_on <= :today then 'over' when o.starts_on > :today
                        then 'coming' else 'current' end as state
            from billing.price_overrides o
            join billing.price_override_tiers t on t.override_id = o.id
            join billing.accounts a on a.id = o.account_id
            join billing.customers c on c.id = a.customer_id
            left join billing.price_plans p on p.id = o.plan_id
            left join billing.rate_decks d on d.id = o.deck_id
            where cast(:customer_id as uuid) is null or c.id = :customer_id
        ) found
        order by state = 'over', lower(owner), number, ordinal limit :limit
        """,
        {"today": today, "customer_id": customer_id, "limit": limit},
    )
    return [AgreementRow(*row) for row in rows]


def subsets(actor: Actor) -> list[SubsetRow]:
    """The catalogue subsets by name."""
    _ask(actor)
    rows = fetch(
        """
        select s.code, s.name, s.is_exclusive,
               array(select p.name from billing.catalogue_subset_entries e
                     join billing.price_plans p on p.id = e.plan_id
                     where e.subset_id = s.id order by lower(p.name)),
               array(select e.family from billing.catalogue_subset_entries e
                     where e.subset_id = s.id and e.family is not null order by 1),
               array(select c.name from billing.catalogue_subset_customers m
                     join billing.customers c on c.id = m.customer_id
                     where m.subset_id = s.id order by lower(c.name))
        from billing.catalogue_subsets s order by lower(s.name), s.code
        """,
        {},
    )
    return [SubsetRow(*row) for row in rows]


def _ask(actor: Actor) -> None:
    actor.require(Permission.CATALOG_READ)
    if actor.customer_id is not None:
        raise ForbiddenError("The catalogue is for staff.")
