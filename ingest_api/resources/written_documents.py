"""Documents that people write: custom invoices, debit notes, proformas, charges; and voids."""

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Query
from pydantic import Field

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Request
from billing.documents.repository import get_document
from billing.invoices.beside import CustomCharge, InvoiceDelivery
from billing.invoices.charges import (
    AddCharge,
    CancelCharge,
    add_charge,
    cancel_charge,
    list_charges,
)
from billing.invoices.repository import get_invoice
from billing.invoices.voiding import RecordDelivery, VoidInvoice, record_delivery, void_invoice
from ingest_api.auth import needs
from ingest_api.dependencies import Commands, Envelope, Paging, ReadSession, build
from ingest_api.envelope import Amount, Answer, Attributes, ListAnswer, Resource, refer
from ingest_api.resources.documents import DocumentAttributes, document_resource
from ingest_api.resources.invoices import InvoiceAttributes, invoice_resource
from invoicing.custom import (
    CreateCustomInvoice,
    CreateDebitNote,
    DebitLine,
    DiscardDraft,
    create_custom_invoice,
    create_debit_note,
    discard_draft,
)
from invoicing.proforma import IssueProforma, issue_proforma

router = APIRouter(tags=["documents"])

Reader = Annotated[Actor, needs(Permission.INVOICES_READ, staff_only=True)]
Writer = Annotated[Actor, needs(Permission.INVOICES_WRITE)]
Approver = Annotated[Actor, needs(Permission.INVOICES_APPROVE)]


class ChargeAttributes(Attributes):
    """A charge by hand; `amount_minor` is exclusive of tax."""

    invoice_month: date
    description: str
    sac: str
    quantity: Amount
    unit: str
    unit_price: Amount
    amount_minor: int
    created_by: str
    created_at: datetime
    cancelled_at: datetime | None


class DeliveryAttributes(Attributes):
    """That a document was sent."""

    channel: str
    recipient: str
    recorded_by: str
    sent_at: datetime


class DiscardedAttributes(Attributes):
    """What is left of a draft: nothing."""

    discarded: bool = True


class NewDebitNote(Request):
    """Why, and how much more each line should have said."""

    reason: str = Field(min_length=3, max_length=500)
    lines: tuple[DebitLine, ...] = Field(min_length=1, max_length=200)


class Void(Request):
    """Why a document becomes void."""

    reason: str = Field(min_length=3, max_length=500)


class NewDelivery(Request):
    """How and to whom a document was sent."""

    channel: str = Field(default="email", pattern=r"^[a-z_]{2,20}$")
    recipient: str = Field(min_length=3, max_length=300)


_CUSTOM = {
    "account_id": "019aa000-0000-7000-8000-000000000002",
    "lines": [
        {
            "description": "Integration support, two days",
            "sac": "998313",
            "quantity": "2",
            "unit": "day",
            "unit_price": "25000",
        }
    ],
    "remark": "As agreed on 3 November 2026.",
}
_CHARGE = {
    "account_id": "019aa000-0000-7000-8000-000000000002",
    "invoice_month": "2026-11-01",
    "description": "Sender ID registration",
    "quantity": "3",
    "unit": "sender ID",
    "unit_price": "500",
}
_DEBIT = {
    "reason": "The dedicated number was left out.",
    "lines": [{"line_ref": "019aa000:20261001:20261001:sms:1", "amount_minor": 50000}],
}
_VOID = {"reason": "Billed to the wrong account; not sent."}
_SENT = {"channel": "email", "recipient": "accounts@acme.example"}


@router.post("/invoices", status_code=201, summary="Write a custom invoice")
def create(
    ctx: Commands,
    actor: Writer,
    reply: Envelope,
    body: Annotated[CreateCustomInvoice, Body(examples=[_CUSTOM])],
) -> Answer[InvoiceAttributes]:
    """Make a draft with lines of your own, a tax invoice or a bill of supply.

    It is reviewed, approved, paid and corrected as any other. It is not settled from a wallet.
    """
    invoice = create_custom_invoice(ctx, body)
    return reply.one(invoice_resource(get_invoice(ctx.session, actor, invoice.id)))


@router.post("/invoices/{invoice_id}/discard", summary="Discard a draft written by hand")
def discard(
    ctx: Commands, _: Writer, reply: Envelope, invoice_id: UUID
) -> Answer[DiscardedAttributes]:
    """Throw a custom invoice or a debit note away before it is issued."""
    discard_draft(ctx, build(DiscardDraft, invoice_id=invoice_id))
    return reply.one(
        Resource(id=str(invoice_id), type="discarded_draft", attributes=DiscardedAttributes())
    )


@router.post("/invoices/{invoice_id}/debit-notes", status_code=201, summary="Write a debit note")
def debit(
    ctx: Commands,
    actor: Writer,
    reply: Envelope,
    invoice_id: UUID,
    body: Annotated[NewDebitNote, Body(examples=[_DEBIT])],
) -> Answer[InvoiceAttributes]:
    """Make the draft of a debit note for what an issued invoice said too little.

    It carries the heads and rates of that invoice, and is approved and paid like one.
    """
    note = create_debit_note(
        ctx, build(CreateDebitNote, invoice_id=invoice_id, **body.model_dump())
    )
    ctx.session.flush()
    return reply.one(invoice_resource(get_invoice(ctx.session, actor, note.id)))


@router.post("/invoices/{invoice_id}/proforma", status_code=201, summary="Issue a proforma")
def proforma(
    ctx: Commands, actor: Writer, reply: Envelope, invoice_id: UUID
) -> Answer[DocumentAttributes]:
    """Number and freeze what a draft says today, for a customer who pays or approves first."""
    paper = issue_proforma(ctx, build(IssueProforma, invoice_id=invoice_id))
    return reply.one(document_resource(get_document(ctx.session, actor, paper.id)))


@router.post("/invoices/{invoice_id}/void", summary="Make an issued invoice void")
def void(
    ctx: Commands,
    actor: Approver,
    reply: Envelope,
    invoice_id: UUID,
    body: Annotated[Void, Body(examples=[_VOID])],
) -> Answer[InvoiceAttributes]:
    """Only while nothing is set against it, it was not sent, and its month is not filed.

    With an IRN, cancel that first. The number stays used; usage is drafted again. In every other
    case the answer says what stands against it: issue a credit note then.
    """
    void_invoice(ctx, build(VoidInvoice, invoice_id=invoice_id, reason=body.reason))
    return reply.one(invoice_resource(get_invoice(ctx.session, actor, invoice_id)))


@router.post("/invoices/{invoice_id}/deliveries", status_code=201, summary="Record a delivery")
def deliver(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    invoice_id: UUID,
    body: Annotated[NewDelivery, Body(examples=[_SENT])],
) -> Answer[DeliveryAttributes]:
    """Write down that the document was sent; from then on only a note corrects it."""
    request = build(RecordDelivery, invoice_id=invoice_id, **body.model_dump())
    return reply.one(_delivery(record_delivery(ctx, request)))


@router.get("/custom-charges", summary="List charges by hand")
def charges(
    session: ReadSession,
    actor: Reader,
    reply: Envelope,
    page: Paging,
    account_id: Annotated[UUID | None, Query()] = None,
    invoice_month: Annotated[date | None, Query(description="First day of the month.")] = None,
) -> ListAnswer[ChargeAttributes]:
    """Charges, newest first, cancelled ones too."""
    rows = list_charges(
        session, actor, account_id=account_id, invoice_month=invoice_month, **page.fetch
    )
    return reply.page(rows, page.limit, _charge)


@router.post("/custom-charges", status_code=201, summary="Add a charge by hand")
def add(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    body: Annotated[AddCharge, Body(examples=[_CHARGE])],
) -> Answer[ChargeAttributes]:
    """Put a charge on the next drafts of an account and month."""
    charge = add_charge(ctx, body)
    ctx.session.flush()
    return reply.one(_charge(charge))


@router.post("/custom-charges/{charge_id}/cancel", summary="Cancel a charge by hand")
def cancel(ctx: Commands, _: Writer, reply: Envelope, charge_id: UUID) -> Answer[ChargeAttributes]:
    """Take a charge off before its month is invoiced."""
    return reply.one(_charge(cancel_charge(ctx, build(CancelCharge, charge_id=charge_id))))


def _charge(row: CustomCharge) -> Resource[ChargeAttributes]:
    return Resource(
        id=str(row.id),
        type="custom_charge",
        attributes=ChargeAttributes.model_validate(row),
        relationships=refer(account=("account", row.account_id)),
    )


def _delivery(row: InvoiceDelivery) -> Resource[DeliveryAttributes]:
    return Resource(
        id=str(row.id),
        type="delivery",
        attributes=DeliveryAttributes.model_validate(row),
        relationships=refer(invoice=("invoice", row.invoice_id)),
    )
