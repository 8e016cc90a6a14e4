"""How documents look: versions of data, and a preview of one before it is kept."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Query, Response

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.documents.templates import (
    DocumentTemplate,
    SaveTemplate,
    list_templates,
    save_template,
)
from ingest_api.auth import needs
from ingest_api.dependencies import Commands, Envelope, ReadSession
from ingest_api.envelope import Answer, Attributes, ListAnswer, Resource
from ingest_api.resources.statements import PDF_ANSWER, pdf_response
from invoicing.storage import preview_pdf

router = APIRouter(prefix="/document-templates", tags=["documents"])

Reader = Annotated[Actor, needs(Permission.INVOICES_READ, staff_only=True)]
Writer = Annotated[Actor, needs(Permission.INVOICES_WRITE)]


class TemplateAttributes(Attributes):
    """One version; the newest is on documents issued from then on."""

    supplier_gstin: str
    version: int
    content: dict[str, Any]
    created_by: str
    created_at: datetime


_TEMPLATE = {
    "supplier_gstin": "29AAACO1234F1ZS",
    "accent_colour": "#0B6E4F",
    "website": "otpless.com",
    "footer": "Registered office: 1 Central Street, Bengaluru",
    "terms": ["Payable within 15 days.", "Disputes within 30 days of the invoice."],
    "payment_instructions": "Please quote the invoice number.",
}


@router.get("", summary="List versions of a template")
def list_all(
    session: ReadSession, actor: Reader, reply: Envelope, gstin: Annotated[str, Query()]
) -> ListAnswer[TemplateAttributes]:
    """All versions of a registration's template, newest first."""
    return reply.all(list_templates(session, actor, gstin), _template)


@router.post("", status_code=201, summary="Save a new version of a template")
def save(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    body: Annotated[SaveTemplate, Body(examples=[_TEMPLATE])],
) -> Answer[TemplateAttributes]:
    """Logo, colour, footer, terms, columns: documents issued from now on look like this.

    Issued documents keep the look they were issued with.
    """
    row = save_template(ctx, body)
    ctx.session.flush()
    return reply.one(_template(row))


@router.post(
    "/preview", summary="Preview a template", response_class=Response, responses=PDF_ANSWER
)
def preview(
    session: ReadSession,
    _: Writer,
    invoice_id: Annotated[UUID, Query(description="Whose lines to show.")],
    body: Annotated[SaveTemplate, Body(examples=[_TEMPLATE])],
) -> Response:
    """An invoice as a draft with that look; nothing is kept."""
    return pdf_response(preview_pdf(session, invoice_id, body), "preview.pdf")


def _template(row: DocumentTemplate) -> Resource[TemplateAttributes]:
    return Resource(
        id=f"{row.supplier_gstin}:{row.version}",
        type="document_template",
        attributes=TemplateAttributes.model_validate(row),
    )
