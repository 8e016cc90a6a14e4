"""Statements of account."""

from datetime import date
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response

from billing.access.actor import Actor
from billing.access.roles import Permission
from ingest_api.auth import needs
from ingest_api.dependencies import Envelope, ReadSession
from ingest_api.envelope import Answer, Attributes, Resource
from invoicing.statement import EntryKind, statement_of
from invoicing.worker import draw_statement

router = APIRouter(prefix="/accounts", tags=["documents"])

Reader = Annotated[Actor, needs(Permission.INVOICES_READ)]
Start = Annotated[date, Query(description="First day, of India.")]
End = Annotated[date, Query(description="First day after it.")]

PDF_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/pdf": {}}, "description": "The document."}
}


class EntryAttributes(Attributes):
    """One entry; negative amounts lower what is owed."""

    day: date
    kind: EntryKind
    text: str
    reference: str
    amount_minor: int
    balance_minor: int


class StatementAttributes(Attributes):
    """What was owed at the start, what happened, what is owed at the end; minor units."""

    customer_name: str
    account_name: str
    currency: str
    start: date
    end: date
    opening_minor: int
    charged_minor: int
    settled_minor: int
    closing_minor: int
    entries: list[EntryAttributes]


@router.get("/{account_id}/statement", summary="Get a statement of account")
def get(
    session: ReadSession, actor: Reader, reply: Envelope, account_id: UUID, start: Start, end: End
) -> Answer[StatementAttributes]:
    """Every invoice and everything that was set against one, with the balance after each."""
    found = statement_of(session, actor, account_id, start, end)
    return reply.one(
        Resource(
            id=f"{account_id}:{start}:{end}",
            type="statement",
            attributes=StatementAttributes.model_validate(found),
        )
    )


@router.get(
    "/{account_id}/statement/pdf",
    summary="Get a statement as PDF",
    response_class=Response,
    responses=PDF_ANSWER,
)
def pdf(session: ReadSession, actor: Reader, account_id: UUID, start: Start, end: End) -> Response:
    """The statement for people; it is no tax invoice and says so."""
    found = statement_of(session, actor, account_id, start, end)
    return pdf_response(draw_statement(found), f"statement-{start}-{end}.pdf")


def pdf_response(content: bytes, name: str) -> Response:
    """A PDF that a browser shows."""
    return Response(
        content,
        media_type="application/pdf",
        headers={"Content-Disposition": f'inline; filename="{name}"'},
    )
