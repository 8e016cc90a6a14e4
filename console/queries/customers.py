"""The customers a filter can name."""

from typing import NamedTuple
from uuid import UUID

from billing.access.roles import Permission
from console.queries.reading import fetch, live


class CustomerChoice(NamedTuple):
    """A customer to choose."""

    id: UUID
    name: str


@live(Permission.CUSTOMERS_READ)
def choices(confined: UUID | None) -> list[CustomerChoice]:
    """All customers by name, or the one the actor belongs to."""
    rows = fetch(
        """
        select id, name from billing.customers
        where cast(:confined as uuid) is null or id = :confined order by lower(name), id
        """,
        {"confined": confined},
    )
    return [CustomerChoice(*row) for row in rows]
