"""E-invoices: what waits for the portal, what it gave, what was cancelled there."""

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Query
from pydantic import Field

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Request
from billing.db.unit_of_work import read_only
from billing.einvoices.tables import EInvoice, EInvoiceState
from billing.periods import DEFAULT_ZONE, local_day
from ingest_api.auth import needs
from ingest_api.dependencies import CurrentServices, Envelope, Paging, ReadSession, build
from ingest_api.envelope import Answer, Attributes, ListAnswer, Resource, refer
from invoicing.einvoice.register import (
    CancelEInvoice,
    get_einvoice,
    list_einvoices,
    open_registrar,
)

router = APIRouter(prefix="/einvoices", tags=["documents"])

Reader = Annotated[Actor, needs(Permission.INVOICES_READ, staff_only=True)]
Writer = Annotated[Actor, needs(Permission.INVOICES_WRITE)]
Approver = Annotated[Actor, needs(Permission.INVOICES_APPROVE)]


class EInvoiceAttributes(Attributes):
    """How a document stands with the portal; `report_by` is the last day it is taken."""

    number: str
    issue_date: date
    state: EInvoiceState
    irn: str
    report_by: date | None
    attempts: int
    ack_number: str | None
    acknowledged_at: datetime | None
    error_code: str | None
    error: str | None
    cancel_reason: int | None
    cancel_remark: str | None
    cancelled_at: datetime | None


class Cancellation(Request):
    """Why: 1 duplicate, 2 data entry mistake, 3 order cancelled, 4 others."""

    reason: int = Field(ge=1, le=4)
    remark: str = Field(min_length=1, max_length=100)


_CANCEL = {"reason": 2, "remark": "Wrong buyer"}


@router.get("", summary="List e-invoices")
def list_all(
    session: ReadSession,
    actor: Reader,
    reply: Envelope,
    services: CurrentServices,
    page: Paging,
    state: Annotated[EInvoiceState | None, Query()] = None,
    invoice_id: Annotated[UUID | None, Query()] = None,
    overdue: Annotated[
        bool, Query(description="Only those without an IRN whose last day is over.")
    ] = False,
) -> ListAnswer[EInvoiceAttributes]:
    """Documents that need an IRN, newest first."""
    today = local_day(services.clock.now(), DEFAULT_ZONE)
    rows = list_einvoices(
        session,
        actor,
        state=state,
        invoice_id=invoice_id,
        overdue_on=today if overdue else None,
        **page.fetch,
    )
    return reply.page(rows, page.limit, einvoice_resource)


@router.post("/{einvoice_id}/register", summary="Register a document with the portal")
def register(
    services: CurrentServices, actor: Writer, reply: Envelope, einvoice_id: UUID
) -> Answer[EInvoiceAttributes]:
    """Ask for the IRN now, or find out what became of an earlier request; done once in any case."""
    open_registrar(services.engine, services.clock).register(einvoice_id, actor)
    return _answer(services, actor, reply, einvoice_id)


@router.post("/{einvoice_id}/cancel", summary="Cancel an IRN")
def cancel(
    services: CurrentServices,
    actor: Approver,
    reply: Envelope,
    einvoice_id: UUID,
    body: Annotated[Cancellation, Body(examples=[_CANCEL])],
) -> Answer[EInvoiceAttributes]:
    """Within 24 hours of its acknowledgement; the document may be made void then."""
    request = build(CancelEInvoice, einvoice_id=einvoice_id, **body.model_dump())
    open_registrar(services.engine, services.clock).cancel(actor, request)
    return _answer(services, actor, reply, einvoice_id)


def _answer(
    services: CurrentServices, actor: Actor, reply: Envelope, einvoice_id: UUID
) -> Answer[EInvoiceAttributes]:
    with read_only(services.engine) as session:
        return reply.one(einvoice_resource(get_einvoice(session, actor, einvoice_id)))


def einvoice_resource(row: EInvoice) -> Resource[EInvoiceAttributes]:
    """An e-invoice as the API shows it."""
    return Resource(
        id=str(row.id),
        type="einvoice",
        attributes=EInvoiceAttributes.model_validate(row),
        relationships=refer(
            invoice=("invoice", row.invoice_id), document=("document", row.document_id)
        ),
    )
