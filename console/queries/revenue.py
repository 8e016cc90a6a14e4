"""Recurring and usage revenue, from `marts.fct_mrr_monthly` and `marts.fct_mrr_movements`.

All amounts are paise: the marts convert other currencies at the month's rate.
"""

from datetime import date
from typing import NamedTuple
from uuid import UUID

from billing.access.roles import Permission
from console.queries.reading import fetch, mart

MOVEMENTS = ("new", "expansion", "contraction", "churn", "reactivation")
"""The MRR movements, in the order of the bridge."""


class RevenueMonth(NamedTuple):
    """One month of all customers together, in paise."""

    month: date
    mrr_minor: int
    usage_minor: int
    customers: int

    @property
    def arr_minor(self) -> int:
        """Annual recurring revenue: twelve times the month's."""
        return 12 * self.mrr_minor

    @property
    def total_minor(self) -> int:
        """Recurring and usage revenue."""
        return self.mrr_minor + self.usage_minor


class CustomerRevenue(NamedTuple):
    """One customer in one month and the month before, in paise."""

    customer: str
    mrr_minor: int
    usage_minor: int
    before_minor: int


@mart(Permission.CUSTOMERS_READ)
def months(confined: UUID | None) -> list[RevenueMonth]:
    """Revenue by month, oldest first."""
    rows = fetch(
        """
        select month, sum(mrr_inr_minor)::bigint, sum(usage_revenue_inr_minor)::bigint,
               count(distinct customer_id)
                   filter (where mrr_inr_minor > 0 or usage_revenue_inr_minor > 0)
        from marts.fct_mrr_monthly
        where cast(:confined as uuid) is null or customer_id = :confined
        group by month order by month
        """,
        {"confined": confined},
    )
    return [RevenueMonth(*row) for row in rows]


@mart(Permission.CUSTOMERS_READ)
def movements(confined: UUID | None, month: date) -> dict[str, int]:
    """The MRR movements of a month; contraction and churn are negative."""
    rows = fetch(
        """
        select movement, sum(amount_inr_minor)::bigint from marts.fct_mrr_movements
        where month = :month and (cast(:confined as uuid) is null or customer_id = :confined)
        group by movement
        """,
        {"month": month, "confined": confined},
    )
    found: dict[str, int] = {row[0]: row[1] for row in rows}
    return {movement: found.get(movement, 0) for movement in MOVEMENTS}


@mart(Permission.CUSTOMERS_READ)
def by_customer(confined: UUID | None, month: date) -> list[CustomerRevenue]:
    """What each customer brought in a month, largest first."""
    rows = fetch(
        """
        select c.name,
               coalesce(sum(r.mrr_inr_minor) filter (where r.month = :month), 0)::bigint,
               coalesce(sum(r.usage_revenue_inr_minor) filter (where r.month = :month), 0)::bigint,
               coalesce(sum(r.mrr_inr_minor + r.usage_revenue_inr_minor)
                   filter (where r.month < :month), 0)::bigint
        from marts.fct_mrr_monthly r join billing.customers c on c.id = r.customer_id
        where r.month in (:month, cast(cast(:month as date) - interval '1 month' as date))
          and (cast(:confined as uuid) is null or r.customer_id = :confined)
        group by c.id, c.name
        """,
        {"month": month, "confined": confined},
    )
    return sorted(
        (CustomerRevenue(*row) for row in rows),
        key=lambda row: (-(row.mrr_minor + row.usage_minor), row.customer),
    )
