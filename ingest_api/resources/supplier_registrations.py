"""Our own GST registrations."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Body

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.invoices.repository import list_registrations
from billing.invoices.service import RegisterSupplier, register_supplier
from billing.invoices.tables import SupplierRegistration
from ingest_api.auth import needs
from ingest_api.dependencies import Commands, Envelope, ReadSession
from ingest_api.envelope import Answer, Attributes, ListAnswer, Resource

router = APIRouter(prefix="/supplier-registrations", tags=["invoices"])

Reader = Annotated[Actor, needs(Permission.INVOICES_READ, staff_only=True)]
Writer = Annotated[Actor, needs(Permission.INVOICES_WRITE)]


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


def registration_resource(row: SupplierRegistration) -> Resource[RegistrationAttributes]:
    """A registration as the API shows it."""
    return Resource(
        id=str(row.id),
        type="supplier_registration",
        attributes=RegistrationAttributes.model_validate(row),
    )


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
