"""The numbers of the first page that the other queries do not have."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from billing.access.roles import Permission
from console.queries.reading import fetch, live


class CurrencySum(NamedTuple):
    """How many invoices there are in a currency, and what they come to in minor units."""

    currency: str
    invoices: int
    amount_minor: int


class WalletAlerts(NamedTuple):
    """How many wallets need attention."""

    low: int
    suspended: int


class Activity(NamedTuple):
    """One entry of the audit log."""

    at: datetime
    actor: str
    command: str
    entity_type: str | None
    entity_id: UUID | None


class ActiveCustomers(NamedTuple):
    """Customers with a running subscription, of all."""

    active: int
    total: int


@live(Permission.INVOICES_READ)
def pending_drafts(confined: UUID | None) -> list[CurrencySum]:
    """Drafts that wait for a decision, by currency; statements ask for nothing."""
    rows = fetch(
        """
        select currency, count(*),
               coalesce(sum(total_minor) filter (where document_type <> 'statement'), 0)::bigint
        from billing.invoices
        where status = 'draft' and cast(:confined as uuid) is null
        group by currency order by array_position(array['INR', 'USD', 'IDR'], currency)
        """,
        {"confined": confined},
    )
    return [CurrencySum(*row) for row in rows]


@live(Permission.INVOICES_READ)
def unpaid(confined: UUID | None) -> list[CurrencySum]:
    """Issued invoices that are not settled, by currency."""
    rows = fetch(
        """
        select currency, count(*), sum(total_minor - settled_minor)::bigint
        from billing.invoices
        where status = 'due' and (cast(:confined as uuid) is null or customer_id = :confined)
        group by currency order by array_position(array['INR', 'USD', 'IDR'], currency)
        """,
        {"confined": confined},
    )
    return [CurrencySum(*row) for row in rows]


@live(Permission.WALLETS_READ)
def wallet_alerts(confined: UUID | None) -> WalletAlerts:
    """Wallets that are low or suspended."""
    (row,) = fetch(
        """
        select count(*) filter (where w.status = 'low'),
               count(*) filter (where w.status = 'suspended')
        from billing.wallets w join billing.accounts a on a.id = w.account_id
        where cast(:confined as uuid) is null or a.customer_id = :confined
        """,
        {"confined": confined},
    )
    return WalletAlerts(*row)


@live(Permission.CUSTOMERS_READ)
def active_customers(confined: UUID | None) -> ActiveCustomers:
    """Customers with a subscription that still bills."""
    (row,) = fetch(
        """
        select count(distinct a.customer_id) filter (where s.status = 'active'),
               count(distinct c.id)
        from billing.customers c
        left join billing.accounts a on a.customer_id = c.id and a.status <> 'closed'
        left join billing.subscriptions s on s.account_id = a.id
        where cast(:confined as uuid) is null or c.id = :confined
        """,
        {"confined": confined},
    )
    return ActiveCustomers(*row)


@live(Permission.AUDIT_READ)
def activity(confined: UUID | None, limit: int) -> list[Activity]:
    """The latest commands, newest first; none for customers."""
    rows = fetch(
        """
        select at, actor, command, entity_type, entity_id from billing.audit_log
        where cast(:confined as uuid) is null order by seq desc limit :limit
        """,
        {"confined": confined, "limit": limit},
    )
    return [Activity(*row) for row in rows]
