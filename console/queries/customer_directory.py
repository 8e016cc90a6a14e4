"""Customers in a list, and everything about one of them."""

from datetime import date
from typing import NamedTuple
from uuid import UUID

from billing.access.roles import Permission
from console.queries.reading import fetch, live


class CustomerRow(NamedTuple):
    """A customer in a list."""

    id: UUID
    code: str
    name: str
    email: str | None
    gstin: str | None
    tax_kind: str | None
    accounts: int
    open_accounts: int


class AccountRow(NamedTuple):
    """An account of a customer."""

    id: UUID
    code: str
    name: str
    parent: str | None
    billing_mode: str
    currency: str
    status: str
    zone: str
    payment_terms_days: int
    aliases: str | None


class ProfileRow(NamedTuple):
    """How a customer is taxed from a day on."""

    valid_from: date
    tax_kind: str
    legal_name: str
    gstin: str | None
    address: str
    state_code: str | None


@live(Permission.CUSTOMERS_READ)
def rows(confined: UUID | None, ids: list[UUID]) -> list[CustomerRow]:
    """These customers by name."""
    found = fetch(
        """
        select c.id, c.code, c.name, c.email, t.gstin, t.tax_kind,
               (select count(*) from billing.accounts a where a.customer_id = c.id),
               (select count(*) from billing.accounts a
                where a.customer_id = c.id and a.status <> 'closed')
        from billing.customers c
        left join lateral (select gstin, tax_kind from billing.tax_profiles t
                           where t.customer_id = c.id order by valid_from desc limit 1) t on true
        where c.id = any(:ids) and (cast(:confined as uuid) is null or c.id = :confined)
        order by lower(c.name), c.id
        """,
        {"ids": ids, "confined": confined},
    )
    return [CustomerRow(*row) for row in found]


@live(Permission.CUSTOMERS_READ)
def accounts(confined: UUID | None, customer_id: UUID) -> list[AccountRow]:
    """A customer's accounts with the names their usage arrives under now."""
    found = fetch(
        """
        select a.id, a.code, a.name, p.code, a.billing_mode, a.currency, a.status, a.zone,
               a.payment_terms_days,
               (select string_agg(n.alias || ' from ' || to_char(n.valid_from, 'FMDD Mon YYYY') ||
                                  coalesce(' until ' || to_char(n.valid_to, 'FMDD Mon YYYY'), ''),
                                  ', ' order by n.valid_from)
                from billing.account_aliases n where n.account_id = a.id)
        from billing.accounts a left join billing.accounts p on p.id = a.parent_account_id
        where a.customer_id = :customer_id
          and (cast(:confined as uuid) is null or a.customer_id = :confined)
        order by coalesce(p.code, a.code), p.code nulls first, a.code
        """,
        {"customer_id": customer_id, "confined": confined},
    )
    return [AccountRow(*row) for row in found]


@live(Permission.CUSTOMERS_READ)
def profiles(confined: UUID | None, customer_id: UUID) -> list[ProfileRow]:
    """A customer's tax profiles, the newest first."""
    found = fetch(
        """
        select valid_from, tax_kind, legal_name, gstin,
               concat_ws(', ', address_line, city, postal_code, country), state_code
        from billing.tax_profiles
        where customer_id = :customer_id
          and (cast(:confined as uuid) is null or customer_id = :confined)
        order by valid_from desc
        """,
        {"customer_id": customer_id, "confined": confined},
    )
    return [ProfileRow(*row) for row in found]
