"""Issued invoices whose usage comes to more or less now, and the notes that give less back."""

from datetime import date
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Query
from pydantic import Field

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Request
from billing.documents.repository import get_document
from billing.invoices.rerating import InvoiceDifference, list_differences
from ingest_api.auth import needs
from ingest_api.dependencies import Commands, Envelope, Paging, ReadSession, build
from ingest_api.envelope import Answer, Attributes, ListAnswer, Resource, refer
from ingest_api.resources.documents import DocumentAttributes, document_resource
from invoicing.usage_credits import CreditUsage, credit_usage

router = APIRouter(tags=["documents"])

Reader = Annotated[Actor, needs(Permission.INVOICES_READ, staff_only=True)]
Approver = Annotated[Actor, needs(Permission.INVOICES_APPROVE)]

_REASON = "Usage came to less after the invoice was issued."
_NOTE = {"reason": "Delivery receipts arrived late: 120 messages had failed."}


class LineDifferenceAttributes(Attributes):
    """A line in minor units, exclusive of tax; `open_minor` is what the others leave."""

    line_ref: str
    account_id: UUID
    description: str
    period_start: date
    period_end: date
    issued_minor: int
    rated_minor: int
    """As of `rating_run_id`."""
    billed_minor: int
    """By adjustment lines, those of drafts too, and by debit notes."""
    credited_minor: int
    """By credit notes for usage."""
    open_minor: int
    """Below 0 it is to be given back."""
    rating_run_id: UUID


class UsageDifferenceAttributes(Attributes):
    """What is open of an issued invoice; of its lines, more is set against less."""

    number: str
    invoice_month: date
    currency: str
    to_bill_minor: int
    """What the account's next draft bills."""
    to_credit_minor: int
    """What a credit note for usage gives back."""
    lines: list[LineDifferenceAttributes]


class NewUsageCreditNote(Request):
    """Why the usage came to less."""

    reason: str = Field(default=_REASON, min_length=3, max_length=500)


def difference_resource(found: InvoiceDifference) -> Resource[UsageDifferenceAttributes]:
    """What is open of an invoice, as the API shows it."""
    first = found.lines[0]
    return Resource(
        id=str(found.id),
        type="usage_difference",
        attributes=UsageDifferenceAttributes(
            number=first.number,
            invoice_month=first.invoice_month,
            currency=first.currency,
            to_bill_minor=found.to_bill_minor,
            to_credit_minor=found.to_credit_minor,
            lines=[LineDifferenceAttributes.model_validate(line) for line in found.lines],
        ),
        relationships=refer(
            invoice=("invoice", found.id), customer=("customer", first.customer_id)
        ),
    )


@router.get("/usage-differences", summary="List issued invoices whose usage changed since")
def list_all(
    session: ReadSession,
    actor: Reader,
    reply: Envelope,
    page: Paging,
    invoice_id: Annotated[UUID | None, Query()] = None,
    account_id: Annotated[UUID | None, Query(description="Whose usage it is.")] = None,
    customer_id: Annotated[UUID | None, Query()] = None,
) -> ListAnswer[UsageDifferenceAttributes]:
    """Invoices of months that were rated again after issue, where something is left to bill or to
    credit, newest first. What a draft bills already is not open."""
    rows = list_differences(
        session,
        actor,
        invoice_id=invoice_id,
        account_id=account_id,
        customer_id=customer_id,
        **page.fetch,
    )
    return reply.page(rows, page.limit, difference_resource)


@router.post(
    "/invoices/{invoice_id}/usage-credit-notes",
    status_code=201,
    summary="Credit usage that came to less",
)
def credit(
    ctx: Commands,
    actor: Approver,
    reply: Envelope,
    invoice_id: UUID,
    body: Annotated[NewUsageCreditNote, Body(examples=[_NOTE])],
) -> Answer[DocumentAttributes]:
    """Issue the credit note for what an invoice's usage comes to less now, with its tax.

    The amount goes where that of any credit note goes. A prepaid wallet got the debit of a voided
    event back at once; that is taken again by a true-up beside the note.
    """
    note = credit_usage(ctx, build(CreditUsage, invoice_id=invoice_id, **body.model_dump()))
    return reply.one(document_resource(get_document(ctx.session, actor, note.id)))
