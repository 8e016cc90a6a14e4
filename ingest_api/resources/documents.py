"""Credit notes, receipt vouchers, refund vouchers, and their PDFs."""

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Query, Response
from pydantic import Field

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Request
from billing.documents.repository import get_document, list_documents
from billing.documents.tables import Document, DocumentKind
from ingest_api.auth import needs
from ingest_api.dependencies import (
    Commands,
    CurrentServices,
    Envelope,
    Paging,
    ReadSession,
    WriteSession,
    build,
)
from ingest_api.envelope import Answer, Attributes, ListAnswer, Resource, refer
from invoicing.credit_notes import (
    ApplyCreditNote,
    CreditLine,
    IssueCreditNote,
    apply_credit_note,
    issue_credit_note,
)
from invoicing.storage import document_pdf

router = APIRouter(tags=["documents"])

Reader = Annotated[Actor, needs(Permission.INVOICES_READ)]
Approver = Annotated[Actor, needs(Permission.INVOICES_APPROVE)]
Payments = Annotated[Actor, needs(Permission.PAYMENTS_WRITE)]


class DocumentLineAttributes(Attributes):
    """One line; `taxes` has the heads with rate and amount."""

    ordinal: int
    description: str
    sac: str
    taxable_minor: int
    taxes: list[dict[str, Any]]


class DocumentAttributes(Attributes):
    """An issued document; amounts are positive minor units of its currency."""

    kind: DocumentKind
    number: str
    issue_date: date
    supplier_gstin: str
    currency: str
    taxable_minor: int
    tax_minor: int
    round_off_minor: int
    total_minor: int
    applied_minor: int
    reason: str
    issued_by: str
    issued_at: datetime
    snapshot_hash: str
    lines: list[DocumentLineAttributes]


class NewCreditNote(Request):
    """What to take back; everything that is left if no lines are named."""

    reason: str = Field(min_length=3, max_length=500)
    lines: tuple[CreditLine, ...] | None = Field(default=None, min_length=1)


class NewApplication(Request):
    """Which invoice a note is set against, and how much of it, in minor units."""

    invoice_id: UUID
    amount_minor: int = Field(gt=0, lt=2**53)


def document_resource(row: Document) -> Resource[DocumentAttributes]:
    """A document as the API shows it."""
    return Resource(
        id=str(row.id),
        type="document",
        attributes=DocumentAttributes.model_validate(row),
        relationships=refer(
            customer=("customer", row.customer_id),
            account=("account", row.account_id),
            invoice=("invoice", row.invoice_id),
        ),
    )


_NOTE = {
    "reason": "Delivery receipts arrived late: 120 messages had failed.",
    "lines": [{"line_ref": "019aa000:20261001:20261001:sms:1", "amount_minor": 2400}],
}
_APPLY = {"invoice_id": "019aa000-0000-7000-8000-000000000004", "amount_minor": 2400}


@router.get("/documents", summary="List notes and vouchers")
def list_all(
    session: ReadSession,
    actor: Reader,
    reply: Envelope,
    page: Paging,
    kind: Annotated[DocumentKind | None, Query()] = None,
    customer_id: Annotated[UUID | None, Query()] = None,
    invoice_id: Annotated[UUID | None, Query()] = None,
) -> ListAnswer[DocumentAttributes]:
    """Issued documents other than invoices, newest first."""
    rows = list_documents(
        session, actor, kind=kind, customer_id=customer_id, invoice_id=invoice_id, **page.fetch
    )
    return reply.page(rows, page.limit, document_resource)


@router.get("/documents/{document_id}", summary="Get a note or voucher")
def get(
    session: ReadSession, actor: Reader, reply: Envelope, document_id: UUID
) -> Answer[DocumentAttributes]:
    """One document with its lines."""
    return reply.one(document_resource(get_document(session, actor, document_id)))


@router.get(
    "/documents/{document_id}/pdf",
    summary="Get a document's PDF",
    response_class=Response,
    responses={200: {"content": {"application/pdf": {}}, "description": "The document."}},
)
def pdf(
    session: WriteSession, actor: Reader, services: CurrentServices, document_id: UUID
) -> Response:
    """The document as it was issued."""
    found = get_document(session, actor, document_id)
    return Response(
        document_pdf(session, found, services.clock),
        media_type="application/pdf",
        headers={"Content-Disposition": f'inline; filename="{found.number}.pdf"'},
    )


@router.post("/invoices/{invoice_id}/credit-notes", status_code=201, summary="Issue a credit note")
def issue(
    ctx: Commands,
    actor: Approver,
    reply: Envelope,
    invoice_id: UUID,
    body: Annotated[NewCreditNote, Body(examples=[_NOTE])],
) -> Answer[DocumentAttributes]:
    """Take back what an issued invoice said too much, with its tax.

    The amount settles what is still due on the invoice; of a prepaid account the rest returns to
    the wallet; what remains can be applied to another invoice.
    """
    request = build(IssueCreditNote, invoice_id=invoice_id, **body.model_dump())
    note = issue_credit_note(ctx, request)
    return reply.one(document_resource(get_document(ctx.session, actor, note.id)))


@router.post(
    "/documents/{document_id}/applications", status_code=201, summary="Apply a credit note"
)
def apply(
    ctx: Commands,
    actor: Payments,
    reply: Envelope,
    document_id: UUID,
    body: Annotated[NewApplication, Body(examples=[_APPLY])],
) -> Answer[DocumentAttributes]:
    """Set what is left of a note against another invoice of the customer."""
    request = build(ApplyCreditNote, document_id=document_id, **body.model_dump())
    note = apply_credit_note(ctx, request)
    return reply.one(document_resource(get_document(ctx.session, actor, note.id)))
