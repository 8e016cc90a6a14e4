"""Documents that need an IRN, and how they stand with the portal."""

from typing import NamedTuple

from sqlalchemy import case, func, select

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.customers.tables import Customer
from billing.db.unit_of_work import read_only
from billing.documents.tables import Document
from billing.einvoices.tables import EInvoice, EInvoiceState
from billing.errors import ForbiddenError
from billing.invoices.tables import Invoice
from billing.periods import DEFAULT_ZONE, local_day
from console.database import clock, engine
from invoicing.einvoice.deadlines import count_open, is_overdue

OVERDUE = "overdue"
OPEN = (EInvoiceState.WAITING, EInvoiceState.UNKNOWN, EInvoiceState.REFUSED)
"""States in which a document still needs its IRN."""
_MOST = 200


class EInvoiceRow(NamedTuple):
    """One document with the portal."""

    row: EInvoice
    customer: str
    overdue: bool
    """It has no IRN, and the portal no longer takes it."""

    @property
    def state(self) -> str:
        """Of the portal, or that it is overdue."""
        return OVERDUE if self.overdue else self.row.state.value


class Counts(NamedTuple):
    """How many documents stand how."""

    without: int
    overdue: int
    soon: int
    refused: int


def einvoices(actor: Actor, state: str | None = None) -> list[EInvoiceRow]:
    """Those without IRN first, the soonest to be reported on top; for staff.

    Args:
        state: of the portal, or `overdue`; None is all.
    """
    _staff(actor)
    is_open, late = EInvoice.state.in_(OPEN), is_overdue(local_day(clock().now(), DEFAULT_ZONE))
    query = (
        select(EInvoice, Customer.name, func.coalesce(late, False))
        .outerjoin(Invoice, Invoice.id == EInvoice.invoice_id)
        .outerjoin(Document, Document.id == EInvoice.document_id)
        .join(Customer, Customer.id == func.coalesce(Invoice.customer_id, Document.customer_id))
        .order_by(
            is_open.desc(), case((is_open, EInvoice.report_by)).nulls_last(), EInvoice.id.desc()
        )
        .limit(_MOST)
    )
    if state == OVERDUE:
        query = query.where(late)
    elif state is not None:
        query = query.where(EInvoice.state == EInvoiceState(state))
    with read_only(engine()) as session:
        return [EInvoiceRow(*row) for row in session.execute(query)]


def counts(actor: Actor) -> Counts:
    """How many need something to be done; for staff."""
    _staff(actor)
    with read_only(engine()) as session:
        overdue, soon = count_open(session, local_day(clock().now(), DEFAULT_ZONE))
        without, refused = session.execute(
            select(
                func.count().filter(EInvoice.state.in_(OPEN)),
                func.count().filter(EInvoice.state == EInvoiceState.REFUSED),
            ).select_from(EInvoice)
        ).one()
    return Counts(without, overdue, soon, refused)


def _staff(actor: Actor) -> None:
    actor.require(Permission.INVOICES_READ)
    if actor.customer_id is not None:
        raise ForbiddenError("This is not for keys that are confined to one customer.")
