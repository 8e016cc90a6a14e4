"""Reading documents, within what the actor may see."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.documents.tables import Document, DocumentKind
from billing.errors import not_found


def list_documents(
    session: Session,
    actor: Actor,
    *,
    kind: DocumentKind | None = None,
    customer_id: UUID | None = None,
    invoice_id: UUID | None = None,
    limit: int = 50,
    after: UUID | None = None,
) -> Sequence[Document]:
    """Documents, newest first, one page at a time."""
    actor.require(Permission.INVOICES_READ)
    query = (
        select(Document)
        .options(selectinload(Document.lines))
        .order_by(Document.id.desc())
        .limit(limit)
    )
    if actor.customer_id is not None:
        query = query.where(Document.customer_id == actor.customer_id)
    if kind is not None:
        query = query.where(Document.kind == kind)
    if customer_id is not None:
        query = query.where(Document.customer_id == customer_id)
    if invoice_id is not None:
        query = query.where(Document.invoice_id == invoice_id)
    if after is not None:
        query = query.where(Document.id < after)
    return session.scalars(query).all()


def get_document(session: Session, actor: Actor, document_id: UUID) -> Document:
    """One document with its lines.

    Raises:
        NotFoundError: if there is none, or it is another customer's.
    """
    actor.require(Permission.INVOICES_READ)
    found = session.scalars(
        select(Document).where(Document.id == document_id).options(selectinload(Document.lines))
    ).one_or_none()
    if found is None:
        raise not_found("document", document_id)
    actor.require_customer(found.customer_id)
    return found


def notes_of(session: Session, invoice_id: UUID) -> Sequence[Document]:
    """The credit notes against an invoice with their lines, oldest first; for commands."""
    return session.scalars(
        select(Document)
        .where(
            Document.invoice_id == invoice_id,
            Document.kind.in_([DocumentKind.CREDIT_NOTE, DocumentKind.FINANCIAL_CREDIT_NOTE]),
        )
        .options(selectinload(Document.lines))
        .order_by(Document.id)
    ).all()
