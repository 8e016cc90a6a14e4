"""Our own GST registrations."""

from datetime import date, datetime
from typing import Annotated

from fastapi import APIRouter, Body
from pydantic import Field

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Request
from billing.invoices.beside import Turnover
from billing.invoices.repository import list_registrations
from billing.invoices.service import (
    ChangeSupplier,
    RegisterSupplier,
    SupplierBank,
    change_supplier,
    register_supplier,
)
from billing.invoices.tables import SupplierRegistration
from billing.invoices.turnovers import RecordTurnover, list_turnovers, record_turnover
from ingest_api.auth import needs
from ingest_api.dependencies import Commands, Envelope, ReadSession, build
from ingest_api.envelope import Amount, Answer, Attributes, ListAnswer, Resource

router = APIRouter(prefix="/supplier-registrations", tags=["invoices"])
turnovers = APIRouter(prefix="/turnovers", tags=["invoices"])

Reader = Annotated[Actor, needs(Permission.INVOICES_READ, staff_only=True)]
Writer = Annotated[Actor, needs(Permission.INVOICES_WRITE)]
Approver = Annotated[Actor, needs(Permission.INVOICES_APPROVE)]


class RegistrationAttributes(Attributes):
    """One registration, with its letter of undertaking and bank details."""

    gstin: str
    legal_name: str
    trade_name: str
    address_line: str
    city: str
    postal_code: str
    state_code: str
    lut_arn: str | None
    lut_valid_from: date | None
    lut_valid_to: date | None
    invoice_series: str
    bank_details: dict[str, str]
    is_default: bool
    second_approval_above_minor: int | None
    round_off: bool
    oldest_fx_rate_days: int


class TurnoverAttributes(Attributes):
    """What a PAN turned over in a financial year, in crore rupees."""

    pan: str
    financial_year: str
    crore: Amount
    recorded_by: str
    recorded_at: datetime


class RegistrationChange(Request):
    """What changes from now on; what is left out stays."""

    trade_name: str | None = Field(default=None, min_length=1, max_length=200)
    lut_arn: str | None = None
    lut_valid_from: date | None = None
    lut_valid_to: date | None = None
    bank_details: SupplierBank | None = None
    second_approval_above_minor: int | None = Field(default=None, ge=0)
    round_off: bool | None = None
    oldest_fx_rate_days: int | None = Field(default=None, ge=0, le=366)


def registration_resource(row: SupplierRegistration) -> Resource[RegistrationAttributes]:
    """A registration as the API shows it."""
    return Resource(
        id=str(row.id),
        type="supplier_registration",
        attributes=RegistrationAttributes.model_validate(row),
    )


_TURNOVER = {"pan": "AAACO1234F", "financial_year": "2025-26", "crore": "42.5"}
_CHANGE = {"second_approval_above_minor": 50000000}
_NEW_REGISTRATION = {
    "gstin": "29AAACO1234F1ZS",
    "legal_name": "OTPless Technologies Private Limited",
    "trade_name": "OTPless",
    "address_line": "4th Floor, Prestige Atrium, 1 Central Street",
    "city": "Bengaluru",
    "postal_code": "560001",
    "invoice_series": "INV",
}


@router.get("", summary="List our registrations")
def list_all(
    session: ReadSession, actor: Reader, reply: Envelope
) -> ListAnswer[RegistrationAttributes]:
    """All registrations by GSTIN."""
    return reply.all(list_registrations(session, actor), registration_resource)


@router.post("", status_code=201, summary="Record a registration")
def create(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    body: Annotated[RegisterSupplier, Body(examples=[_NEW_REGISTRATION])],
) -> Answer[RegistrationAttributes]:
    """Record one of our GST registrations; a new default takes the place of the old one."""
    return reply.one(registration_resource(register_supplier(ctx, body)))


@router.patch("/{gstin}", summary="Change a registration")
def change(
    ctx: Commands,
    _: Approver,
    reply: Envelope,
    gstin: str,
    body: Annotated[RegistrationChange, Body(examples=[_CHANGE])],
) -> Answer[RegistrationAttributes]:
    """Change its letter of undertaking, bank details, the limit above which two approve,
    whether totals are rounded off, or how many days old a rate of exchange may be on a document
    that nobody looks at for it."""
    request = build(ChangeSupplier, gstin=gstin, **body.model_dump(exclude_unset=True))
    return reply.one(registration_resource(change_supplier(ctx, request)))


@turnovers.get("", summary="List turnovers")
def list_of_turnovers(
    session: ReadSession, actor: Reader, reply: Envelope
) -> ListAnswer[TurnoverAttributes]:
    """What each of our PANs turned over, by financial year."""
    return reply.all(list_turnovers(session, actor), _turnover)


@turnovers.post("", status_code=201, summary="Record a turnover")
def record(
    ctx: Commands,
    _: Approver,
    reply: Envelope,
    body: Annotated[RecordTurnover, Body(examples=[_TURNOVER])],
) -> Answer[TurnoverAttributes]:
    """Above the notified limit in any earlier year, documents need an IRN from now on, and those
    that the portal does not take say so (Rule 46(s))."""
    row = record_turnover(ctx, body)
    ctx.session.flush()
    return reply.one(_turnover(row))


def _turnover(row: Turnover) -> Resource[TurnoverAttributes]:
    return Resource(
        id=f"{row.pan}:{row.financial_year}",
        type="turnover",
        attributes=TurnoverAttributes.model_validate(row),
    )
