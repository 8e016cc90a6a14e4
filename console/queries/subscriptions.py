"""Who has which plan: a list, and the parts of one subscription's life."""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from billing.access.roles import Permission
from console.queries.reading import fetch, live


@dataclass(frozen=True, slots=True)
class SubscriptionFilter:
    """Which subscriptions to list; None means all."""

    state: str | None = None
    plan: str | None = None
    customer_id: UUID | None = None
    limit: int = 200


class SubscriptionRow(NamedTuple):
    """One subscription as it stands on a day; without a plan if it has none on that day."""

    id: UUID
    customer: str
    account: str
    currency: str
    plan: str | None
    quantity: Decimal | None
    state: str
    interval: str
    starts_on: date
    ends_on: date | None
    changes_on: date | None
    """The first day of its next part, if one is agreed."""

    @property
    def owner(self) -> str:
        """The customer, and the account where that says more."""
        return (
            self.customer if self.account == self.customer else f"{self.customer} · {self.account}"
        )

    @property
    def last_day(self) -> date | None:
        """The last local day that it bills, if an end is agreed."""
        return self.ends_on - timedelta(days=1) if self.ends_on else None

    @property
    def title(self) -> str:
        """How a list names it."""
        return f"{self.owner} · {self.plan or 'no plan now'}"


class SegmentRow(NamedTuple):
    """One plan version and quantity over half-open local days."""

    plan: str
    version: int
    quantity: Decimal
    phase: str
    starts_on: date
    ends_on: date | None
    add_on_id: UUID | None
    """Of which add-on, if it is not the plan."""


class AccountChoice(NamedTuple):
    """An account to choose."""

    id: UUID
    title: str
    currency: str


STATES = ("active", "trial", "paused", "coming", "ended")
"""What a subscription is on a day: the phase of its part, or before, or after its life."""


@live(Permission.SUBSCRIPTIONS_READ)
def subscriptions(
    confined: UUID | None, today: date, chosen: SubscriptionFilter
) -> list[SubscriptionRow]:
    """Subscriptions by customer as they stand on a day, ended ones last."""
    rows = fetch(
        """
        with found as (
            select s.id, c.name as customer, a.name as account, a.currency, p.code as plan_code,
                   p.name as plan, g.quantity,
                   case when s.ends_on <= :today then 'ended' when s.starts_on > :today
                        then 'coming' else coalesce(g.phase, 'active') end as state,
                   coalesce(g.interval, s.interval) as interval, s.starts_on, s.ends_on,
                   (select min(n.starts_on) from billing.subscription_segments n
                    where n.subscription_id = s.id and n.starts_on > :today) as changes_on
            from billing.subscriptions s
            join billing.accounts a on a.id = s.account_id
            join billing.customers c on c.id = a.customer_id
            left join billing.subscription_segments g
              on g.subscription_id = s.id and g.add_on_id is null and g.starts_on <= :today
             and (g.ends_on is null or g.ends_on > :today)
            left join billing.price_plan_versions v on v.id = g.plan_version_id
            left join billing.price_plans p on p.id = v.plan_id
            where (cast(:confined as uuid) is null or a.customer_id = :confined)
              and (cast(:customer_id as uuid) is null or a.customer_id = :customer_id)
        )
        select id, customer, account, currency, plan, quantity, state, interval, starts_on,
               ends_on, changes_on
        from found
        where (cast(:state as text) is null or state = :state)
          and (cast(:plan as text) is null or plan_code = :plan)
        order by state = 'ended', lower(customer), lower(account), starts_on desc, id limit :limit
        """,
        {
            "confined": confined,
            "today": today,
            "customer_id": chosen.customer_id,
            "state": chosen.state,
            "plan": chosen.plan,
            "limit": chosen.limit,
        },
    )
    return [SubscriptionRow(*row) for row in rows]


@live(Permission.SUBSCRIPTIONS_READ)
def segments(confined: UUID | None, subscription_id: UUID) -> list[SegmentRow]:
    """The parts of a subscription's life in order, those of its add-ons among them."""
    rows = fetch(
        """
        select p.name, v.version, g.quantity, g.phase, g.starts_on, g.ends_on, g.add_on_id
        from billing.subscription_segments g
        join billing.subscriptions s on s.id = g.subscription_id
        join billing.accounts a on a.id = s.account_id
        join billing.price_plan_versions v on v.id = g.plan_version_id
        join billing.price_plans p on p.id = v.plan_id
        where g.subscription_id = :subscription_id
          and (cast(:confined as uuid) is null or a.customer_id = :confined)
        order by g.starts_on, g.add_on_id nulls first
        """,
        {"subscription_id": subscription_id, "confined": confined},
    )
    return [SegmentRow(*row) for row in rows]


@live(Permission.CUSTOMERS_READ)
def accounts(confined: UUID | None) -> list[AccountChoice]:
    """Accounts that are not closed, by customer."""
    rows = fetch(
        """
        select a.id, c.name || case when a.name = c.name then '' else ' · ' || a.name end,
               a.currency
        from billing.accounts a join billing.customers c on c.id = a.customer_id
        where a.status <> 'closed' and (cast(:confined as uuid) is null or c.id = :confined)
        order by lower(c.name), lower(a.name), a.id
        """,
        {"confined": confined},
    )
    return [AccountChoice(*row) for row in rows]
