"""The review queue and one invoice in full, from the domain's tables."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.db.unit_of_work import read_only
from billing.errors import not_found
from billing.invoices.rerating import (
    AdjustmentLine,
    InvoiceDifference,
    adjustments_of,
    list_differences,
)
from billing.invoices.tables import InvoiceStatus
from billing.tax.einvoice import DocumentType
from billing.tax.model import DecisionStatus, worst
from console.database import engine
from console.queries.reading import fetch, live

_VISIBLE = """(cast(:confined as uuid) is null
                or (i.customer_id = :confined and i.status <> 'draft'))"""
"""A customer sees documents, not work in progress."""


@dataclass(frozen=True, slots=True)
class QueueFilter:
    """Which invoices to list; None means all."""

    status: str | None = None
    review_state: str | None = None
    invoice_month: date | None = None
    customer_id: UUID | None = None
    limit: int = 200


class InvoiceRow(NamedTuple):
    """One invoice of a list; amounts in minor units of its currency."""

    id: UUID
    customer: str
    account: str
    number: str | None
    invoice_month: date
    status: str
    review_state: str
    currency: str
    taxable_minor: int
    tax_minor: int
    total_minor: int
    settled_minor: int
    due_date: date | None
    updated_at: datetime
    document_type: str

    @property
    def is_statement(self) -> bool:
        """Whether it tells of usage that the invoices of top-ups have asked for."""
        return self.document_type == DocumentType.STATEMENT

    @property
    def asked_minor(self) -> int:
        """What it asks of its customer, which nothing else in the list does."""
        is_asking = not self.is_statement and self.status != InvoiceStatus.VOID
        return self.total_minor if is_asking else 0

    @property
    def version(self) -> str:
        """Changes whenever the invoice does: what was reviewed is what is decided on."""
        return f"{self.id}@{self.updated_at.isoformat()}"

    @property
    def title(self) -> str:
        """How a list names it."""
        return f"{self.number or 'Draft'} · {self.customer} · {self.invoice_month:%b %Y}"


class InvoiceFacts(NamedTuple):
    """The head of an invoice."""

    id: UUID
    account_id: UUID
    customer_id: UUID
    customer: str
    account: str
    billing_mode: str
    number: str | None
    invoice_month: date
    period_start: date
    period_end: date
    status: str
    review_state: str
    review_note: str | None
    reviewed_by: str | None
    currency: str
    taxable_minor: int
    tax_minor: int
    total_minor: int
    settled_minor: int
    issue_date: date | None
    due_date: date | None
    supplier_gstin: str
    tax_decision: dict[str, dict[str, Any]]
    updated_at: datetime

    @property
    def version(self) -> str:
        """Changes whenever the invoice does: what was reviewed is what is decided on."""
        return f"{self.id}@{self.updated_at.isoformat()}"

    @property
    def place_of_supply(self) -> str:
        """State code and name, or what is missing."""
        for decision in self.tax_decision.values():
            name, code = decision.get("pos_name"), decision.get("pos_code")
            if name:
                return f"{name} ({code})" if code else str(name)
        return "Not decided"

    @property
    def tax_status(self) -> DecisionStatus:
        """The gravest status of its tax decisions."""
        return worst([DecisionStatus(found["status"]) for found in self.tax_decision.values()])


class TaxRow(NamedTuple):
    """One head of tax on one line, in minor units."""

    head: str
    rate: Decimal
    taxable_minor: int
    tax_minor: int


class LineRow(NamedTuple):
    """One line with its taxes."""

    id: UUID
    line_ref: str
    ordinal: int
    description: str
    item_code: str
    sac: str
    quantity: Decimal
    unit: str
    unit_price: Decimal | None
    amount_minor: int
    period_start: date
    period_end: date
    tier_breakdown: list[dict[str, Any]]
    taxes: tuple[TaxRow, ...] = ()


@live(Permission.INVOICES_READ)
def queue(confined: UUID | None, chosen: QueueFilter) -> list[InvoiceRow]:
    """Invoices, those that wait for a decision first."""
    rows = fetch(
        f"""
        select i.id, c.name, a.name, i.number, i.invoice_month, i.status, i.review_state,
               i.currency, i.taxable_minor, i.tax_minor, i.total_minor, i.settled_minor, i.due_date,
               i.updated_at, i.document_type
        from billing.invoices i
        join billing.customers c on c.id = i.customer_id
        join billing.accounts a on a.id = i.account_id
        where {_VISIBLE}
          and (cast(:status as text) is null or i.status = :status)
          and (cast(:review_state as text) is null or i.review_state = :review_state)
          and (cast(:invoice_month as date) is null or i.invoice_month = :invoice_month)
          and (cast(:customer_id as uuid) is null or i.customer_id = :customer_id)
        order by i.invoice_month desc,
                 array_position(array['draft', 'due', 'paid', 'void'], cast(i.status as text)),
                 array_position(array['in_review', 'pending', 'rejected', 'parked'],
                                cast(i.review_state as text)),
                 i.number desc, lower(c.name), i.id
        limit :limit
        """,
        {
            "confined": confined,
            "status": chosen.status,
            "review_state": chosen.review_state,
            "invoice_month": chosen.invoice_month,
            "customer_id": chosen.customer_id,
            "limit": chosen.limit,
        },
    )
    return [InvoiceRow(*row) for row in rows]


@live(Permission.INVOICES_READ)
def months(confined: UUID | None) -> list[date]:
    """The months there are invoices for, newest first."""
    rows = fetch(
        f"select distinct i.invoice_month from billing.invoices i where {_VISIBLE} order by 1 desc",
        {"confined": confined},
    )
    return [row[0] for row in rows]


@live(Permission.INVOICES_READ)
def facts(confined: UUID | None, invoice_id: UUID) -> InvoiceFacts:
    """The head of one invoice.

    Raises:
        NotFoundError: if there is none, or not for this actor.
    """
    rows = fetch(
        f"""
        select i.id, i.account_id, i.customer_id, c.name, a.name, a.billing_mode, i.number,
               i.invoice_month, i.period_start, i.period_end, i.status, i.review_state,
               i.review_note, i.reviewed_by, i.currency, i.taxable_minor, i.tax_minor,
               i.total_minor, i.settled_minor, i.issue_date, i.due_date, i.supplier_gstin,
               i.tax_decision, i.updated_at
        from billing.invoices i
        join billing.customers c on c.id = i.customer_id
        join billing.accounts a on a.id = i.account_id
        where i.id = :invoice_id and {_VISIBLE}
        """,
        {"invoice_id": invoice_id, "confined": confined},
    )
    if not rows:
        raise not_found("invoice", invoice_id)
    return InvoiceFacts(*rows[0])


@live(Permission.INVOICES_READ)
def lines(confined: UUID | None, invoice_id: UUID) -> list[LineRow]:
    """The lines of one invoice, each with its taxes."""
    parameters = {"invoice_id": invoice_id, "confined": confined}
    taxes = fetch(
        f"""
        select t.invoice_line_id, t.head, t.rate, t.taxable_minor, t.tax_minor
        from billing.tax_lines t
        join billing.invoice_lines l on l.id = t.invoice_line_id
        join billing.invoices i on i.id = l.invoice_id
        where i.id = :invoice_id and {_VISIBLE} order by l.ordinal, t.head
        """,
        parameters,
    )
    by_line: dict[UUID, list[TaxRow]] = {}
    for line_id, *tax in taxes:
        by_line.setdefault(line_id, []).append(TaxRow(*tax))
    rows = fetch(
        f"""
        select l.id, l.line_ref, l.ordinal, l.description, l.item_code, l.sac, l.quantity, l.unit,
               l.unit_price, l.amount_minor, l.period_start, l.period_end, l.tier_breakdown
        from billing.invoice_lines l join billing.invoices i on i.id = l.invoice_id
        where i.id = :invoice_id and {_VISIBLE} order by l.ordinal
        """,
        parameters,
    )
    return [LineRow(*row)._replace(taxes=tuple(by_line.get(row[0], ()))) for row in rows]


@dataclass(frozen=True, slots=True)
class AfterIssue:
    """What an issued invoice's usage came to since."""

    adjustments: list[AdjustmentLine]
    difference: InvoiceDifference | None
    """What nothing bills or gives back yet."""


def after_issue(actor: Actor, invoice_id: UUID) -> AfterIssue:
    """What is billed elsewhere of an invoice's usage, and what is open."""
    with read_only(engine()) as session:
        found = list_differences(session, actor, invoice_id=invoice_id)
        return AfterIssue(adjustments_of(session, invoice_id), next(iter(found), None))


def differences(actor: Actor) -> list[InvoiceDifference]:
    """Issued invoices that are not settled for what their usage comes to now, newest first."""
    with read_only(engine()) as session:
        return list_differences(session, actor)


class InvoiceTitle(NamedTuple):
    """What a list says of an invoice that it names."""

    number: str
    customer_id: UUID
    customer: str
    currency: str

    @property
    def title(self) -> str:
        """Number and customer."""
        return f"{self.number} · {self.customer}"


@live(Permission.INVOICES_READ)
def titles(confined: UUID | None, invoice_ids: list[UUID]) -> dict[UUID, InvoiceTitle]:
    """What these invoices are called."""
    rows = fetch(
        f"""
        select i.id, coalesce(i.number, 'Draft'), i.customer_id, c.name, i.currency
        from billing.invoices i join billing.customers c on c.id = i.customer_id
        where i.id = any(:ids) and {_VISIBLE}
        """,
        {"ids": invoice_ids, "confined": confined},
    )
    return {row[0]: InvoiceTitle(*row[1:]) for row in rows}
