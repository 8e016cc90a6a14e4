"""Lists as files: CSV, or XLSX."""

from datetime import date
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.exports.files import FileFormat
from billing.exports.lists import LISTS, ExportList
from billing.exports.service import ExportFilter, export
from ingest_api.auth import needs
from ingest_api.dependencies import CurrentServices, Envelope
from ingest_api.envelope import Attributes, ListAnswer, Resource

router = APIRouter(prefix="/exports", tags=["exports"])

Reader = Annotated[Actor, needs(Permission.INVOICES_READ)]


class ExportAttributes(Attributes):
    """A list that can be had as a file."""

    title: str


_FILES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file.",
        "content": {one.media_type: {} for one in FileFormat},
    }
}


@router.get("", summary="List what can be exported")
def list_all(actor: Reader, reply: Envelope) -> ListAnswer[ExportAttributes]:
    """The lists that this key may have."""
    mine = [(name, one) for name, one in LISTS.items() if actor.may(one.permission)]
    return reply.all(mine, _resource)


@router.get("/{name}", summary="Export a list", response_class=StreamingResponse, responses=_FILES)
def get(
    services: CurrentServices,
    actor: Reader,
    name: str,
    file_format: Annotated[
        FileFormat | None,
        Query(alias="format", description="Else what `Accept` names, else CSV."),
    ] = None,
    account_id: Annotated[UUID | None, Query()] = None,
    from_day: Annotated[date | None, Query(description="First day in India.")] = None,
    to_day: Annotated[date | None, Query(description="First day no longer wanted.")] = None,
    accept: Annotated[str | None, Header()] = None,
) -> StreamingResponse:
    """A whole list, from its first row to its last; amounts are in units of their currency.

    Text that begins like a formula stays text in both formats.
    """
    chosen = file_format or _accepted(accept)
    pieces = export(
        services.engine, actor, name, ExportFilter(account_id, from_day, to_day), chosen
    )
    headers = {"Content-Disposition": f'attachment; filename="{name}.{chosen.value}"'}
    return StreamingResponse(pieces, media_type=chosen.media_type, headers=headers)


def _accepted(accept: str | None) -> FileFormat:
    wants_sheet = FileFormat.XLSX.media_type in (accept or "")
    return FileFormat.XLSX if wants_sheet else FileFormat.CSV


def _resource(row: tuple[str, ExportList]) -> Resource[ExportAttributes]:
    return Resource(id=row[0], type="export", attributes=ExportAttributes(title=row[1].title))
