"""Our registrations, and invoices whose lines a template can be tried on."""

from typing import NamedTuple
from uuid import UUID

from billing.access.actor import Actor
from billing.access.roles import Permission
from console.queries.reading import fetch


class RegistrationChoice(NamedTuple):
    """A registration of ours."""

    gstin: str
    title: str


def registrations(actor: Actor) -> list[RegistrationChoice]:
    """Ours, the default one first."""
    actor.require(Permission.INVOICES_READ)
    rows = fetch(
        """
        select gstin, trade_name || ' · ' || gstin from billing.supplier_registrations
        order by is_default desc, gstin
        """,
        {},
    )
    return [RegistrationChoice(*row) for row in rows]


def samples(actor: Actor, gstin: str) -> dict[UUID, str]:
    """The newest invoices of a registration with lines, by what they are called."""
    actor.require(Permission.INVOICES_WRITE)
    rows = fetch(
        """
        select i.id, coalesce(i.number, 'Draft') || ' · ' || c.name || ' · ' ||
               to_char(i.invoice_month, 'Mon YYYY')
        from billing.invoices i join billing.customers c on c.id = i.customer_id
        where i.supplier_gstin = :gstin
          and exists (select 1 from billing.invoice_lines l where l.invoice_id = i.id)
        order by i.id desc limit 50
        """,
        {"gstin": gstin},
    )
    return {row[0]: row[1] for row in rows}
