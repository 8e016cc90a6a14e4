"""Addresses and contacts of customers, and all customers as a file."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Query, Response

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Request
from billing.customers.bulk import RowOutcome, export_customers, import_customers
from billing.customers.directory import (
    AddAddress,
    AddContact,
    AddressFields,
    ContactFields,
    EndEntry,
    SetContactMail,
    add_address,
    add_contact,
    end_address,
    end_contact,
    set_contact_mail,
)
from billing.customers.repository import list_addresses, list_contacts
from billing.customers.tables import AddressKind, ContactRole, CustomerAddress, CustomerContact
from billing.periods import DEFAULT_ZONE, local_day
from ingest_api.auth import needs
from ingest_api.dependencies import Commands, CurrentServices, Envelope, ReadSession, build
from ingest_api.envelope import Answer, Attributes, FieldProblem, ListAnswer, Resource, refer

router = APIRouter(prefix="/customers", tags=["customers"])

Reader = Annotated[Actor, needs(Permission.CUSTOMERS_READ)]
Writer = Annotated[Actor, needs(Permission.CUSTOMERS_WRITE)]


class AddressAttributes(Attributes):
    """A place of a customer; it no longer holds once it has ended."""

    kind: AddressKind
    label: str
    address_line: str
    city: str
    postal_code: str
    state_code: str | None
    country: str
    created_at: datetime
    ended_at: datetime | None


class ContactAttributes(Attributes):
    """Somebody at a customer; no longer to be asked once it has ended."""

    role: ContactRole
    name: str
    email: str | None
    phone: str | None
    gets_documents: bool
    created_at: datetime
    ended_at: datetime | None


class ContactMail(Request):
    """Whether invoices and notes are mailed to the contact."""

    gets_documents: bool


class RowAttributes(Attributes):
    """What became of one row of a file; the header is row 1."""

    row: int
    customer_code: str
    created: list[str]
    """What was not there yet; nothing if all of it was."""
    errors: list[FieldProblem]
    """By column; a row with any changes nothing."""


def address_resource(row: CustomerAddress) -> Resource[AddressAttributes]:
    """An address as the API shows it."""
    return Resource(
        id=str(row.id),
        type="customer_address",
        attributes=AddressAttributes.model_validate(row),
        relationships=refer(customer=("customer", row.customer_id)),
    )


def contact_resource(row: CustomerContact) -> Resource[ContactAttributes]:
    """A contact as the API shows it."""
    return Resource(
        id=str(row.id),
        type="customer_contact",
        attributes=ContactAttributes.model_validate(row),
        relationships=refer(customer=("customer", row.customer_id)),
    )


def _row_resource(row: RowOutcome) -> Resource[RowAttributes]:
    attributes = RowAttributes(
        row=row.row,
        customer_code=row.customer_code,
        created=list(row.created),
        errors=[FieldProblem(field=one.field, message=one.message) for one in row.errors],
    )
    return Resource(id=str(row.row), type="imported_row", attributes=attributes)


_ADDRESS = {
    "kind": "office", "label": "Head office", "address_line": "27 Residency Road",
    "city": "Bengaluru", "postal_code": "560025", "state_code": "29",
}  # fmt: skip
_CONTACT = {"role": "billing", "name": "A. Rao", "email": "ap@acme.example"}
_FILE = (
    "customer_code,customer_name,valid_from,tax_kind,legal_name,gstin,address_line,city,"
    "postal_code,account_code,billing_mode,currency\n"
    "acme,Acme Retail,2026-04-01,registered,Acme Retail Private Limited,29AAHCK5521M1ZX,"
    "27 Residency Road,Bengaluru,560025,acme-main,prepaid,INR\n"
)
_CSV: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/csv": {}}, "description": "The file."}
}


@router.get("/export", summary="Export all customers", response_class=Response, responses=_CSV)
def export(session: ReadSession, actor: Reader, services: CurrentServices) -> Response:
    """Customers with the tax profile in force and their accounts: a CSV file that can be imported
    again."""
    today = local_day(services.clock.now(), DEFAULT_ZONE)
    content = "".join(export_customers(session, actor, today))
    return Response(
        content.encode("utf-8-sig"),
        media_type="text/csv",
        headers={"Content-Disposition": 'attachment; filename="customers.csv"'},
    )


@router.post("/imports", summary="Import customers")
def import_file(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    body: Annotated[str, Body(media_type="text/csv", examples=[_FILE])],
    dry_run: Annotated[bool, Query(description="Check every row, and keep nothing.")] = False,
) -> ListAnswer[RowAttributes]:
    """Create the customers, tax profiles and accounts that a CSV file names and that do not exist.
    Each row stands by itself: a wrong one is left out and told with its columns. What exists is
    left as it is, so a mended file can be sent again as a whole."""
    return reply.all(import_customers(ctx, body, dry_run=dry_run), _row_resource)


@router.get("/{customer_id}/addresses", summary="List a customer's addresses")
def addresses(
    session: ReadSession, actor: Reader, reply: Envelope, customer_id: UUID
) -> ListAnswer[AddressAttributes]:
    """All places, past ones too; the address on tax documents is that of the tax profile."""
    return reply.all(list_addresses(session, actor, customer_id), address_resource)


@router.post("/{customer_id}/addresses", status_code=201, summary="Add an address")
def add_place(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    customer_id: UUID,
    body: Annotated[AddressFields, Body(examples=[_ADDRESS])],
) -> Answer[AddressAttributes]:
    """Record another place of the customer."""
    request = build(AddAddress, customer_id=customer_id, **body.model_dump())
    return reply.one(address_resource(add_address(ctx, request)))


@router.post("/{customer_id}/addresses/{address_id}/end", summary="End an address")
def end_place(
    ctx: Commands, _: Writer, reply: Envelope, customer_id: UUID, address_id: UUID
) -> Answer[AddressAttributes]:
    """Say that a place no longer holds; it stays on record."""
    request = EndEntry(customer_id=customer_id, entry_id=address_id)
    return reply.one(address_resource(end_address(ctx, request)))


@router.get("/{customer_id}/contacts", summary="List a customer's contacts")
def contacts(
    session: ReadSession, actor: Reader, reply: Envelope, customer_id: UUID
) -> ListAnswer[ContactAttributes]:
    """All contacts, past ones too."""
    return reply.all(list_contacts(session, actor, customer_id), contact_resource)


@router.post("/{customer_id}/contacts", status_code=201, summary="Add a contact")
def add_person(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    customer_id: UUID,
    body: Annotated[ContactFields, Body(examples=[_CONTACT])],
) -> Answer[ContactAttributes]:
    """Record somebody at the customer who can be asked."""
    request = build(AddContact, customer_id=customer_id, **body.model_dump())
    return reply.one(contact_resource(add_contact(ctx, request)))


@router.put("/{customer_id}/contacts/{contact_id}/documents", summary="Set a contact's documents")
def set_person_mail(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    customer_id: UUID,
    contact_id: UUID,
    body: Annotated[ContactMail, Body(examples=[{"gets_documents": False}])],
) -> Answer[ContactAttributes]:
    """Let a billing contact have invoices and notes by mail, or no longer."""
    request = build(
        SetContactMail, customer_id=customer_id, entry_id=contact_id, **body.model_dump()
    )
    return reply.one(contact_resource(set_contact_mail(ctx, request)))


@router.post("/{customer_id}/contacts/{contact_id}/end", summary="End a contact")
def end_person(
    ctx: Commands, _: Writer, reply: Envelope, customer_id: UUID, contact_id: UUID
) -> Answer[ContactAttributes]:
    """Say that somebody is no longer to be asked; the entry stays on record."""
    request = EndEntry(customer_id=customer_id, entry_id=contact_id)
    return reply.one(contact_resource(end_contact(ctx, request)))
