"""Reading invoices, within what the actor may see."""

from collections.abc import Collection, Sequence
from datetime import date
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.db.recall import recall
from billing.errors import not_found
from billing.invoices.tables import (
    Invoice,
    InvoiceLine,
    InvoiceStatus,
    RatingRun,
    ReviewState,
    SupplierRegistration,
)


def list_invoices(
    session: Session,
    actor: Actor,
    *,
    status: InvoiceStatus | None = None,
    review_state: ReviewState | None = None,
    invoice_month: date | None = None,
    customer_id: UUID | None = None,
    limit: int = 50,
    after: UUID | None = None,
) -> Sequence[Invoice]:
    """Invoices, newest first, one page at a time.

    Args:
        limit: at most this many.
        after: the id of the last invoice of the page before.
    """
    actor.require(Permission.INVOICES_READ)
    query = select(Invoice).order_by(Invoice.id.desc()).limit(limit)
    if actor.customer_id is not None:
        query = query.where(Invoice.customer_id == actor.customer_id)
        # A customer sees documents, not work in progress.
        query = query.where(Invoice.status != InvoiceStatus.DRAFT)
    if status is not None:
        query = query.where(Invoice.status == status)
    if review_state is not None:
        query = query.where(Invoice.review_state == review_state)
    if invoice_month is not None:
        query = query.where(Invoice.invoice_month == invoice_month)
    if customer_id is not None:
        query = query.where(Invoice.customer_id == customer_id)
    if after is not None:
        query = query.where(Invoice.id < after)
    return session.scalars(query).all()


def get_invoice(session: Session, actor: Actor, invoice_id: UUID) -> Invoice:
    """One invoice with its lines and their taxes.

    Raises:
        NotFoundError: if there is none, or not for this actor.
    """
    actor.require(Permission.INVOICES_READ)
    invoice = load_invoice(session, invoice_id)
    actor.require_customer(invoice.customer_id)
    if actor.customer_id is not None and invoice.status is InvoiceStatus.DRAFT:
        raise not_found("invoice", invoice_id)
    return invoice


def load_invoice(session: Session, invoice_id: UUID, *, lock: bool = False) -> Invoice:
    """One invoice with its lines and their taxes, whoever asks; for commands.

    Args:
        lock: hold the row until the transaction ends.

    Raises:
        NotFoundError: if there is none.
    """
    invoice = load_invoices(session, [invoice_id], lock=lock).get(invoice_id)
    if invoice is None:
        raise not_found("invoice", invoice_id)
    return invoice


def load_invoices(
    session: Session, invoice_ids: Collection[UUID], *, lock: bool = False
) -> dict[UUID, Invoice]:
    """Those of the invoices that there are, by id, each with its lines and their taxes.

    Args:
        lock: hold the rows until the transaction ends; always taken in the order of their ids.
    """
    query = (
        select(Invoice)
        .where(Invoice.id.in_(invoice_ids))
        .order_by(Invoice.id)
        .options(selectinload(Invoice.lines).selectinload(InvoiceLine.taxes))
        .execution_options(populate_existing=True)
    )
    if lock:
        query = query.with_for_update()
    return {invoice.id: invoice for invoice in session.scalars(query)}


def default_registration(session: Session) -> SupplierRegistration | None:
    """The registration that supplies unless a contract says otherwise."""
    return session.scalars(select(SupplierRegistration).filter_by(is_default=True)).one_or_none()


def registration(session: Session, gstin: str) -> SupplierRegistration:
    """The supplier registration with that GSTIN.

    Raises:
        NotFoundError: if we have none.
    """
    found = recall(
        session,
        ("registration", gstin),
        lambda: session.scalars(select(SupplierRegistration).filter_by(gstin=gstin)).one_or_none(),
    )
    if found is None:
        raise not_found("supplier registration", gstin)
    return found


def list_registrations(session: Session, actor: Actor) -> Sequence[SupplierRegistration]:
    """Our registrations by GSTIN."""
    actor.require(Permission.INVOICES_READ)
    return session.scalars(select(SupplierRegistration).order_by(SupplierRegistration.gstin)).all()


def list_rating_runs(session: Session, actor: Actor, *, limit: int = 50) -> Sequence[RatingRun]:
    """Rating runs, newest first."""
    actor.require(Permission.INVOICES_READ)
    return session.scalars(select(RatingRun).order_by(RatingRun.id.desc()).limit(limit)).all()
