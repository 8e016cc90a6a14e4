"""The monthly return of outward supplies: files for the portal, reconciliation, lock."""

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Response

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.exports.files import FileFormat
from billing.invoices.return_periods import ReturnPeriod
from ingest_api.auth import needs
from ingest_api.dependencies import Commands, Envelope, ReadSession
from ingest_api.envelope import Answer, Attributes, Resource
from invoicing.gstr1.facts import Amounts, month_of
from invoicing.gstr1.files import table_csv, tables_xlsx, tables_zip
from invoicing.gstr1.service import GstReturn, LockReturn, gst_return, lock_return

router = APIRouter(prefix="/gstr1", tags=["invoices"])

Reader = Annotated[Actor, needs(Permission.INVOICES_READ, staff_only=True)]
Approver = Annotated[Actor, needs(Permission.INVOICES_APPROVE, staff_only=True)]
Gstin = Annotated[str, Query(min_length=15, max_length=15, pattern="^[0-9A-Z]+$")]
Month = Annotated[str, Query(pattern=r"^\d{4}-\d{2}$", examples=["2026-10"])]


class ReturnFormat(StrEnum):
    """How the return is written."""

    JSON = "json"
    CSV = "csv"
    XLSX = "xlsx"


class AmountsOfReturn(Attributes):
    """A value and its tax by head, in paise; `sgst` holds UTGST too."""

    taxable: int
    igst: int
    cgst: int
    sgst: int


class DifferenceAttributes(Attributes):
    """Two figures that should be equal; paise, or a count for documents."""

    name: str
    in_return: int
    in_books: int


class ReconciliationAttributes(Attributes):
    """What the return adds up to, and where it differs from the documents and the ledger."""

    gstin: str
    month: date
    totals: AmountsOfReturn
    refunds_to_claim: AmountsOfReturn
    differences: list[DifferenceAttributes]
    return_sha256: str
    locked_at: datetime | None
    locked_by: str | None
    changed_since_lock: bool


class LockAttributes(Attributes):
    """A month that no document may be dated in any more."""

    gstin: str
    month: date
    locked_at: datetime
    locked_by: str
    return_sha256: str


_LOCK = {"gstin": "29AAACO1234F1ZS", "month": "2026-10"}
_FILES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file for the portal; or CSV, of one table or of all in a ZIP file; "
        "or XLSX, a sheet per table.",
        "content": {
            "application/json": {},
            "text/csv": {},
            "application/zip": {},
            FileFormat.XLSX.media_type: {},
        },
    }
}


@router.get("", summary="Get a GSTR-1", response_class=Response, responses=_FILES)
def get(
    session: ReadSession,
    actor: Reader,
    gstin: Gstin,
    month: Month,
    file_format: Annotated[ReturnFormat, Query(alias="format")] = ReturnFormat.JSON,
    table: Annotated[
        str | None, Query(max_length=20, description="Of a CSV: only this table.")
    ] = None,
) -> Response:
    """The return of a registration and month from its issued documents, as the portal takes it."""
    found = gst_return(session, actor, gstin, month_of(month))
    stem = f"GSTR1-{gstin}-{month}"
    if file_format is ReturnFormat.JSON:
        return _file(found.json, "application/json", f"{stem}.json")
    if file_format is ReturnFormat.XLSX:
        return _file(tables_xlsx(found.portal), FileFormat.XLSX.media_type, f"{stem}.xlsx")
    if table is not None:
        return _file(table_csv(found.portal, table), "text/csv", f"{stem}-{table}.csv")
    return _file(tables_zip(found.portal), "application/zip", f"{stem}.zip")


@router.get("/reconciliation", summary="Reconcile a GSTR-1")
def reconciliation(
    session: ReadSession, actor: Reader, reply: Envelope, gstin: Gstin, month: Month
) -> Answer[ReconciliationAttributes]:
    """Whether the return equals the documents and the ledger, each difference by name."""
    return reply.one(_reconciliation(gst_return(session, actor, gstin, month_of(month))))


@router.post("/locks", status_code=201, summary="Lock a filed month")
def lock(
    ctx: Commands,
    _: Approver,
    reply: Envelope,
    body: Annotated[LockReturn, Body(examples=[_LOCK])],
) -> Answer[LockAttributes]:
    """Lock a month whose return was filed: no document may be dated in it from now on.

    Refused while the month goes on, and while the return differs from the books.
    """
    return reply.one(_lock(lock_return(ctx, body)))


def _file(content: str | bytes, media_type: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type=media_type, headers=headers)


def _amounts(amounts: Amounts) -> AmountsOfReturn:
    return AmountsOfReturn.model_validate(amounts)


def _reconciliation(found: GstReturn) -> Resource[ReconciliationAttributes]:
    lock = found.lock
    return Resource(
        id=f"{found.gstin}:{found.month:%Y-%m}",
        type="gstr1_reconciliation",
        attributes=ReconciliationAttributes(
            gstin=found.gstin,
            month=found.month,
            totals=_amounts(found.totals),
            refunds_to_claim=_amounts(found.refunds_to_claim),
            differences=[DifferenceAttributes.model_validate(one) for one in found.differences],
            return_sha256=found.sha256,
            locked_at=lock.locked_at if lock else None,
            locked_by=lock.locked_by if lock else None,
            changed_since_lock=lock is not None and lock.return_sha256 != found.sha256,
        ),
    )


def _lock(row: ReturnPeriod) -> Resource[LockAttributes]:
    return Resource(
        id=f"{row.gstin}:{row.month:%Y-%m}",
        type="gstr1_lock",
        attributes=LockAttributes.model_validate(row),
    )
