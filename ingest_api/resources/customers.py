"""Customers and how they are taxed."""

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Depends, Query

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.customers.repository import (
    CustomerFilter,
    get_customer,
    list_customers,
    list_tax_profiles,
)
from billing.customers.service import (
    CreateCustomer,
    CustomerChanges,
    UpdateCustomer,
    add_tax_profile,
    create_customer,
    update_customer,
)
from billing.customers.tables import AccountStatus, BillingMode, Customer, TaxProfile
from billing.customers.tax_profiles import AddTaxProfile, TaxProfileFields
from billing.tax.model import TaxKind
from ingest_api.auth import needs
from ingest_api.dependencies import Commands, Envelope, Paging, ReadSession, SearchText, build
from ingest_api.envelope import Answer, Attributes, ListAnswer, Resource, refer

router = APIRouter(prefix="/customers", tags=["customers"])

Reader = Annotated[Actor, needs(Permission.CUSTOMERS_READ)]
Writer = Annotated[Actor, needs(Permission.CUSTOMERS_WRITE)]


class CustomerAttributes(Attributes):
    """The legal person that contracts with us."""

    code: str
    name: str
    email: str | None
    documents_by_mail: bool
    created_at: datetime
    updated_at: datetime


class TaxProfileAttributes(Attributes):
    """How a customer is taxed from a day on."""

    valid_from: date
    tax_kind: TaxKind
    legal_name: str
    gstin: str | None
    address_line: str
    city: str
    postal_code: str
    state_code: str | None
    country: str
    sez_authorised_operations: bool
    own_establishment: bool


def customer_resource(row: Customer) -> Resource[CustomerAttributes]:
    """A customer as the API shows it."""
    attributes = CustomerAttributes.model_validate(row)
    return Resource(id=str(row.id), type="customer", attributes=attributes)


def tax_profile_resource(row: TaxProfile) -> Resource[TaxProfileAttributes]:
    """A tax profile as the API shows it."""
    return Resource(
        id=str(row.id),
        type="tax_profile",
        attributes=TaxProfileAttributes.model_validate(row),
        relationships=refer(customer=("customer", row.customer_id)),
    )


_NEW_CUSTOMER = {"code": "acme", "name": "Acme Retail Private Limited", "email": "ap@acme.example"}
_NEW_PROFILE = {
    "valid_from": "2026-04-01",
    "tax_kind": "registered",
    "legal_name": "Acme Retail Private Limited",
    "gstin": "29AAHCK5521M1ZX",
    "address_line": "27 Residency Road",
    "city": "Bengaluru",
    "postal_code": "560025",
    "state_code": "29",
}


def customer_filter(
    search: Annotated[
        SearchText | None,
        Query(description="Part of a code, name, e-mail address or GSTIN, of accounts too."),
    ] = None,
    tax_kind: Annotated[TaxKind | None, Query(description="As taxed now.")] = None,
    state_code: Annotated[str | None, Query(pattern=r"^[0-9]{2}$")] = None,
    currency: Annotated[
        str | None, Query(pattern=r"^[A-Z]{3}$", description="Of one of its accounts.")
    ] = None,
    billing_mode: Annotated[BillingMode | None, Query()] = None,
    account_status: Annotated[AccountStatus | None, Query()] = None,
) -> CustomerFilter:
    """What the query asks for."""
    return CustomerFilter(search, tax_kind, state_code, currency, billing_mode, account_status)


@router.get("", summary="List customers")
def list_all(
    session: ReadSession,
    actor: Reader,
    reply: Envelope,
    page: Paging,
    wanted: Annotated[CustomerFilter, Depends(customer_filter)],
) -> ListAnswer[CustomerAttributes]:
    """Customers in the order they were created."""
    rows = list_customers(session, actor, wanted, **page.fetch)
    return reply.page(rows, page.limit, customer_resource)


@router.post("", status_code=201, summary="Create a customer")
def create(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    body: Annotated[CreateCustomer, Body(examples=[_NEW_CUSTOMER])],
) -> Answer[CustomerAttributes]:
    """Record a new customer; its code is unique."""
    return reply.one(customer_resource(create_customer(ctx, body)))


@router.get("/{customer_id}", summary="Get a customer")
def get(
    session: ReadSession, actor: Reader, reply: Envelope, customer_id: UUID
) -> Answer[CustomerAttributes]:
    """One customer."""
    return reply.one(customer_resource(get_customer(session, actor, customer_id)))


@router.patch("/{customer_id}", summary="Change a customer")
def update(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    customer_id: UUID,
    body: Annotated[CustomerChanges, Body(examples=[{"email": "finance@acme.example"}])],
) -> Answer[CustomerAttributes]:
    """Change the name or the contact; what is left out stays."""
    request = build(UpdateCustomer, customer_id=customer_id, **body.model_dump(exclude_unset=True))
    return reply.one(customer_resource(update_customer(ctx, request)))


@router.get("/{customer_id}/tax-profiles", summary="List a customer's tax profiles")
def list_profiles(
    session: ReadSession, actor: Reader, reply: Envelope, customer_id: UUID
) -> ListAnswer[TaxProfileAttributes]:
    """All profiles, the newest first; the one in force is the latest that has begun."""
    return reply.all(list_tax_profiles(session, actor, customer_id), tax_profile_resource)


@router.post("/{customer_id}/tax-profiles", status_code=201, summary="Add a tax profile")
def add_profile(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    customer_id: UUID,
    body: Annotated[TaxProfileFields, Body(examples=[_NEW_PROFILE])],
) -> Answer[TaxProfileAttributes]:
    """Say how the customer is taxed from a day on; invoices issued before keep what they said."""
    request = build(AddTaxProfile, customer_id=customer_id, **body.model_dump())
    return reply.one(tax_profile_resource(add_tax_profile(ctx, request)))
