"""Documents by mail: to whom they went, and sending them again."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body
from pydantic import Field

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Request
from billing.mail.tables import DocumentMailing, MailingKind
from ingest_api.auth import needs
from ingest_api.dependencies import Commands, Envelope, ReadSession, build
from ingest_api.envelope import Answer, Attributes, ListAnswer, Resource, refer
from invoicing.mailing import (
    EmailAddress,
    MailDocument,
    MailInvoice,
    mail_document,
    mail_invoice,
    mailings_of,
)

router = APIRouter(tags=["documents"])

Reader = Annotated[Actor, needs(Permission.INVOICES_READ)]
Writer = Annotated[Actor, needs(Permission.INVOICES_WRITE)]


class MailingAttributes(Attributes):
    """That a document was given to the mail; what became of each letter is among the letters."""

    kind: MailingKind
    recipients: list[str]
    requested_by: str
    requested_at: datetime


class NewMailing(Request):
    """Who gets the document; the billing contacts who get documents if nobody is named."""

    recipients: tuple[EmailAddress, ...] = Field(default=(), max_length=10)


_TO = {"recipients": ["auditor@acme.example"]}


def mailing_resource(row: DocumentMailing) -> Resource[MailingAttributes]:
    """A mailing as the API shows it."""
    return Resource(
        id=str(row.id),
        type="document_mailing",
        attributes=MailingAttributes.model_validate(row),
        relationships=refer(
            invoice=("invoice", row.invoice_id), document=("document", row.document_id)
        ),
    )


@router.get("/invoices/{invoice_id}/mailings", summary="List an invoice's mailings")
def of_invoice(
    session: ReadSession, actor: Reader, reply: Envelope, invoice_id: UUID
) -> ListAnswer[MailingAttributes]:
    """When it was mailed, and to whom, in order."""
    return reply.all(mailings_of(session, actor, invoice_id=invoice_id), mailing_resource)


@router.post("/invoices/{invoice_id}/mailings", status_code=201, summary="Mail an invoice")
def send_invoice(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    invoice_id: UUID,
    body: Annotated[NewMailing | None, Body(examples=[_TO])] = None,
) -> Answer[MailingAttributes]:
    """Queue letters with its stored PDF, again if need be. From then on only a note corrects it.

    Not before it has its IRN, if it needs one.
    """
    recipients = body.recipients if body else ()
    request = build(MailInvoice, invoice_id=invoice_id, recipients=recipients)
    return reply.one(mailing_resource(mail_invoice(ctx, request)))


@router.get("/documents/{document_id}/mailings", summary="List a document's mailings")
def of_document(
    session: ReadSession, actor: Reader, reply: Envelope, document_id: UUID
) -> ListAnswer[MailingAttributes]:
    """When it was mailed, and to whom, in order."""
    return reply.all(mailings_of(session, actor, document_id=document_id), mailing_resource)


@router.post("/documents/{document_id}/mailings", status_code=201, summary="Mail a document")
def send_document(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    document_id: UUID,
    body: Annotated[NewMailing | None, Body(examples=[_TO])] = None,
) -> Answer[MailingAttributes]:
    """Queue letters with the stored PDF of a note or voucher, again if need be."""
    recipients = body.recipients if body else ()
    request = build(MailDocument, document_id=document_id, recipients=recipients)
    return reply.one(mailing_resource(mail_document(ctx, request)))
