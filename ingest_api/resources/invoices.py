"""Invoices: drafts under review, issued documents, their PDFs."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Query, Response
from pydantic import Field

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Request
from billing.invoices.repository import get_invoice, list_invoices
from billing.invoices.service import (
    RejectInvoice,
    SubmitInvoice,
    reject_invoice,
    submit_invoice,
)
from billing.invoices.tables import (
    Invoice,
    InvoiceLine,
    InvoiceOrigin,
    InvoiceStatus,
    ReviewState,
)
from billing.tax.einvoice import DocumentType
from billing.tax.model import TaxHead
from ingest_api.auth import needs
from ingest_api.dependencies import (
    Commands,
    CurrentServices,
    Envelope,
    IdempotencyKey,
    Paging,
    ReadSession,
    WriteSession,
    build,
)
from ingest_api.envelope import Amount, Answer, Attributes, ListAnswer, Resource, refer
from invoicing.issue import ApproveInvoice, approve_invoice
from invoicing.issue_many import Outcome, approve_each
from invoicing.storage import invoice_pdf

router = APIRouter(prefix="/invoices", tags=["invoices"])

Reader = Annotated[Actor, needs(Permission.INVOICES_READ)]
Writer = Annotated[Actor, needs(Permission.INVOICES_WRITE)]
Approver = Annotated[Actor, needs(Permission.INVOICES_APPROVE)]


class TaxAttributes(Attributes):
    """One head of tax on a line."""

    head: TaxHead
    rate: Amount
    taxable_minor: int
    tax_minor: int


class LineAttributes(Attributes):
    """One line; amounts are minor units of the invoice's currency."""

    account_id: UUID | None
    """On an invoice for several accounts: whose line it is."""
    line_ref: str
    description: str
    item_code: str
    sac: str
    quantity: Amount
    unit: str
    unit_price: Amount | None
    amount_minor: int
    period_start: date
    period_end: date
    tier_breakdown: list[dict[str, Any]]
    taxes: list[TaxAttributes]


class InvoiceSummary(Attributes):
    """An invoice in a list; `period_end` is the first day after the period.

    `invoice_by` is the last day on which a draft may be issued under Rule 47.
    """

    number: str | None
    document_type: DocumentType
    origin: InvoiceOrigin
    status: InvoiceStatus
    review_state: ReviewState
    review_note: str | None
    reviewed_by: str | None
    period_start: date
    period_end: date
    invoice_month: date
    issue_date: date | None
    invoice_by: date | None
    due_date: date | None
    currency: str
    taxable_minor: int
    tax_minor: int
    round_off_minor: int
    total_minor: int
    settled_minor: int
    snapshot_hash: str | None
    created_at: datetime
    updated_at: datetime


class InvoiceAttributes(InvoiceSummary):
    """An invoice with its lines and their taxes."""

    remark: str
    tax_decision: dict[str, Any]
    lines: list[LineAttributes]


class Rejection(Request):
    """What is wrong with a draft."""

    reason: str = Field(min_length=3, max_length=500, pattern=r"^[^\x00]*$")


class Approval(Request):
    """What is approved, and for which day."""

    issue_date: date | None = Field(default=None, description="A day in India; else today.")
    expected_total_minor: int | None = Field(
        default=None,
        description="The total that was read, with tax, in minor units. Tax is decided for the day "
        "of issue; if that gives another total, nothing is issued and both are named.",
    )
    tax_reviewed: bool = Field(
        default=False,
        description="Needed where the tax decision says `review`: its reasons were looked at.",
    )


class BulkApproval(Request):
    """Drafts to approve, each by itself: one that cannot be does not hold up the others.

    A draft whose tax decision says `review` is left out: it is approved by itself.
    """

    invoice_ids: tuple[UUID, ...] = Field(min_length=1, max_length=200)
    issue_date: date | None = Field(default=None, description="A day in India; else today.")
    expected_totals_minor: dict[UUID, int] = Field(
        default_factory=dict,
        max_length=200,
        description="The totals that were read, by draft; one that would be another is left out.",
    )


class ApprovalOutcome(Attributes):
    """What became of one draft: its number, or why it has none."""

    issued: bool
    number: str | None = None
    code: str | None = None
    message: str | None = None


def invoice_summary(row: Invoice) -> Resource[InvoiceSummary]:
    """An invoice in a list."""
    return Resource(
        id=str(row.id),
        type="invoice",
        attributes=InvoiceSummary.model_validate(row),
        relationships=_relations(row),
    )


def invoice_resource(row: Invoice) -> Resource[InvoiceAttributes]:
    """An invoice with everything on it."""
    summary = InvoiceSummary.model_validate(row).model_dump()
    return Resource(
        id=str(row.id),
        type="invoice",
        attributes=InvoiceAttributes(
            **summary,
            remark=row.remark,
            tax_decision=row.tax_decision,
            lines=_lines(row.lines),
        ),
        relationships=_relations(row),
    )


def _lines(rows: Sequence[InvoiceLine]) -> list[LineAttributes]:
    return [LineAttributes.model_validate(row) for row in rows]


def _relations(row: Invoice) -> Any:
    return refer(
        account=("account", row.account_id),
        customer=("customer", row.customer_id),
        rating_run=("rating_run", row.rating_run_id),
        corrects=("invoice", row.corrects_id),
    )


_APPROVALS = {
    "invoice_ids": [
        "019aa000-0000-7000-8000-000000000004",
        "019aa000-0000-7000-8000-000000000005",
    ],
    "issue_date": "2026-11-03",
    "expected_totals_minor": {"019aa000-0000-7000-8000-000000000004": 1180000},
}
_APPROVAL = {"issue_date": "2026-11-03", "expected_total_minor": 1180000}


@router.get("", summary="List invoices")
def list_all(
    session: ReadSession,
    actor: Reader,
    reply: Envelope,
    page: Paging,
    status: Annotated[InvoiceStatus | None, Query()] = None,
    review_state: Annotated[ReviewState | None, Query()] = None,
    invoice_month: Annotated[date | None, Query(description="First day of the month.")] = None,
    customer_id: Annotated[UUID | None, Query()] = None,
) -> ListAnswer[InvoiceSummary]:
    """Invoices, newest first."""
    rows = list_invoices(
        session,
        actor,
        status=status,
        review_state=review_state,
        invoice_month=invoice_month,
        customer_id=customer_id,
        **page.fetch,
    )
    return reply.page(rows, page.limit, invoice_summary)


@router.post("/approvals", summary="Approve and issue several drafts")
def approve_several(
    services: CurrentServices,
    actor: Approver,
    reply: Envelope,
    body: Annotated[BulkApproval, Body(examples=[_APPROVALS])],
    idempotency_key: IdempotencyKey = None,
) -> ListAnswer[ApprovalOutcome]:
    """Approve drafts in the order given; one that cannot be approved does not hold up the others.

    Drafts of postpaid accounts are issued together, up to fifty in a transaction.
    """
    asked = [
        ApproveInvoice(
            invoice_id=invoice_id,
            issue_date=body.issue_date,
            expected_total_minor=body.expected_totals_minor.get(invoice_id),
        )
        for invoice_id in body.invoice_ids
    ]
    approvals = approve_each(services.engine, actor, services.clock, asked, idempotency_key)
    outcomes: list[Resource[ApprovalOutcome]] = [
        Resource(id=str(one.invoice_id), type="approval", attributes=_outcome(one))
        for one in approvals
    ]
    return reply.all(outcomes, lambda outcome: outcome)


def _outcome(one: Outcome) -> ApprovalOutcome:
    if one.refusal is not None:
        return ApprovalOutcome(issued=False, code=one.refusal.code, message=one.refusal.message)
    if one.number is None:
        return ApprovalOutcome(issued=False, code="second_person", message=one.review_note)
    return ApprovalOutcome(issued=True, number=one.number)


@router.get("/{invoice_id}", summary="Get an invoice")
def get(
    session: ReadSession, actor: Reader, reply: Envelope, invoice_id: UUID
) -> Answer[InvoiceAttributes]:
    """One invoice with its lines, tiers and taxes."""
    return reply.one(invoice_resource(get_invoice(session, actor, invoice_id)))


@router.post("/{invoice_id}/submit", summary="Submit a draft for review")
def submit(
    ctx: Commands, actor: Writer, reply: Envelope, invoice_id: UUID
) -> Answer[InvoiceAttributes]:
    """Move a draft into review."""
    submit_invoice(ctx, build(SubmitInvoice, invoice_id=invoice_id))
    return reply.one(invoice_resource(get_invoice(ctx.session, actor, invoice_id)))


@router.post("/{invoice_id}/reject", summary="Reject a draft")
def reject(
    ctx: Commands,
    actor: Approver,
    reply: Envelope,
    invoice_id: UUID,
    body: Annotated[Rejection, Body(examples=[{"reason": "The contract discount is missing."}])],
) -> Answer[InvoiceAttributes]:
    """Send a draft back with what is wrong."""
    reject_invoice(ctx, build(RejectInvoice, invoice_id=invoice_id, reason=body.reason))
    return reply.one(invoice_resource(get_invoice(ctx.session, actor, invoice_id)))


@router.post("/{invoice_id}/approve", summary="Approve and issue a draft")
def approve(
    ctx: Commands,
    actor: Approver,
    reply: Envelope,
    invoice_id: UUID,
    body: Annotated[Approval | None, Body(examples=[_APPROVAL])] = None,
) -> Answer[InvoiceAttributes]:
    """Give a draft its number, settle it if prepaid, and freeze it.

    Above the registration's limit the first approval leaves it in review for a second person.
    """
    asked = (body or Approval()).model_dump()
    approve_invoice(ctx, build(ApproveInvoice, invoice_id=invoice_id, **asked))
    return reply.one(invoice_resource(get_invoice(ctx.session, actor, invoice_id)))


@router.get(
    "/{invoice_id}/pdf",
    summary="Get the PDF",
    response_class=Response,
    responses={200: {"content": {"application/pdf": {}}, "description": "The document."}},
)
def pdf(
    session: WriteSession, actor: Reader, services: CurrentServices, invoice_id: UUID
) -> Response:
    """The document as it was issued; a draft's is marked as a draft and not kept."""
    invoice = get_invoice(session, actor, invoice_id)
    content = invoice_pdf(session, invoice_id, services.clock)
    name = f"{invoice.number or 'draft'}.pdf"
    return Response(
        content,
        media_type="application/pdf",
        headers={"Content-Disposition": f'inline; filename="{name}"'},
    )
