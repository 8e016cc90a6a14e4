"""Payments, what settles invoices, and what the gateways say about it."""

from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.errors import ForbiddenError
from console.queries.reading import fetch, live

_MOST = 200


class PaymentRow(NamedTuple):
    """One payment; amounts in minor units."""

    id: UUID
    created_at: datetime
    customer: str
    purpose: str
    paid_for: str | None
    gateway: str
    status: str
    currency: str
    amount_minor: int
    captured_minor: int
    refunded_minor: int
    left_minor: int
    attention: str | None
    failure: str | None


class RefundRow(NamedTuple):
    """Money that goes or went back, in minor units."""

    created_at: datetime
    customer: str
    gateway: str
    currency: str
    amount_minor: int
    state: str
    reason: str
    requested_by: str


class DueInvoice(NamedTuple):
    """An invoice that money can be recorded for, in minor units."""

    id: UUID
    number: str
    customer: str
    currency: str
    outstanding_minor: int
    due_date: date | None

    @property
    def title(self) -> str:
        """How a list names it."""
        return f"{self.number} · {self.customer}"


class RunRow(NamedTuple):
    """The last comparison with a gateway."""

    id: UUID
    gateway: str
    finished_at: datetime
    movements: int
    matched: int
    caught_up: int
    differing: int
    error: str | None


class DifferenceRow(NamedTuple):
    """A movement that is not the same on both sides, in minor units."""

    gateway: str
    kind: str
    provider_payment_id: str
    refund_id: str | None
    their_currency: str | None
    their_amount_minor: int | None
    our_currency: str | None
    our_amount_minor: int | None


@live(Permission.PAYMENTS_READ)
def payments(confined: UUID | None) -> list[PaymentRow]:
    """The newest payments, those that need a look first."""
    rows = fetch(
        """
        select p.id, p.created_at, c.name, p.purpose, i.number, p.gateway, p.status, p.currency,
               p.amount_minor, p.captured_minor, p.refunded_minor, l.left_minor, p.attention,
               p.failure
        from billing.payments p
        join billing.customers c on c.id = p.customer_id
        join billing.payment_clearing l on l.payment_id = p.id
        left join billing.invoices i on i.id = p.invoice_id
        where cast(:confined as uuid) is null or p.customer_id = :confined
        order by p.attention is null, p.id desc limit :most
        """,
        {"confined": confined, "most": _MOST},
    )
    return [PaymentRow(*row) for row in rows]


@live(Permission.PAYMENTS_READ)
def refunds(confined: UUID | None) -> list[RefundRow]:
    """The newest refunds."""
    rows = fetch(
        """
        select r.created_at, c.name, p.gateway, p.currency, r.amount_minor, r.state, r.reason,
               r.requested_by
        from billing.refunds r
        join billing.payments p on p.id = r.payment_id
        join billing.customers c on c.id = p.customer_id
        where cast(:confined as uuid) is null or p.customer_id = :confined
        order by r.id desc limit :most
        """,
        {"confined": confined, "most": _MOST},
    )
    return [RefundRow(*row) for row in rows]


@live(Permission.PAYMENTS_WRITE)
def due_invoices(confined: UUID | None) -> list[DueInvoice]:
    """Invoices on which something is open, the longest due first."""
    rows = fetch(
        """
        select i.id, i.number, c.name, i.currency, i.total_minor - i.settled_minor, i.due_date
        from billing.invoices i join billing.customers c on c.id = i.customer_id
        where i.status = 'due' and (cast(:confined as uuid) is null or i.customer_id = :confined)
        order by i.due_date, i.number
        """,
        {"confined": confined},
    )
    return [DueInvoice(*row) for row in rows]


def last_runs(actor: Actor) -> list[RunRow]:
    """The last comparison with each gateway; for staff."""
    _staff(actor)
    rows = fetch(
        """
        select distinct on (gateway) id, gateway, finished_at, movements, matched, caught_up,
               differing, error
        from billing.reconciliation_runs order by gateway, id desc
        """,
        {},
    )
    return [RunRow(*row) for row in rows]


def differences(actor: Actor) -> list[DifferenceRow]:
    """What differed in the last comparison with each gateway; for staff."""
    _staff(actor)
    rows = fetch(
        """
        select r.gateway, d.kind, d.provider_payment_id, d.refund_id, d.their_currency,
               d.their_amount_minor, d.our_currency, d.our_amount_minor
        from billing.reconciliation_differences d
        join (select distinct on (gateway) id, gateway from billing.reconciliation_runs
              order by gateway, id desc) r on r.id = d.run_id
        order by r.gateway, d.id limit :most
        """,
        {"most": _MOST},
    )
    return [DifferenceRow(*row) for row in rows]


def not_clearing(actor: Actor) -> tuple[int, int]:
    """How many invoices and payments do not clear to nothing; for staff."""
    _staff(actor)
    ((invoices, payments_),) = fetch(
        """
        select (select count(*) from billing.invoice_clearing where remainder_minor <> 0),
               (select count(*) from billing.payment_clearing where remainder_minor <> 0)
        """,
        {},
    )
    return invoices, payments_


def _staff(actor: Actor) -> None:
    actor.require(Permission.PAYMENTS_READ)
    if actor.customer_id is not None:
        raise ForbiddenError("This is not for keys that are confined to one customer.")
