"""Saved methods of payment, and wallets that fill themselves from one."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Query
from pydantic import Field

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Request
from billing.db.unit_of_work import read_only
from billing.errors import not_found
from billing.payments.method_tables import AutoTopUp, MethodState, PaymentMethod
from billing.payments.methods import (
    BeginMethod,
    ChangeMethod,
    SetAutoTopUp,
    get_method,
    list_methods,
    make_default,
    remove_method,
    set_auto_top_up,
)
from billing.wallets.service import get_wallet
from ingest_api.auth import needs
from ingest_api.dependencies import (
    Commands,
    CurrentServices,
    Envelope,
    IdempotencyKey,
    Paging,
    ReadSession,
    build,
)
from ingest_api.envelope import Answer, Attributes, ListAnswer, Resource, refer
from ingest_api.resources.payments import collector_of
from invoicing.charges import look_up_method, save_method

router = APIRouter(tags=["payments"])

Reader = Annotated[Actor, needs(Permission.PAYMENTS_READ)]
Payer = Annotated[Actor, needs(Permission.PAYMENTS_CREATE)]


class MethodAttributes(Attributes):
    """A method of payment that a gateway keeps; we have its name and nothing secret."""

    gateway: str
    state: MethodState
    label: str | None
    is_default: bool
    setup_url: str | None
    created_at: datetime
    updated_at: datetime


class AutoTopUpAttributes(Attributes):
    """When a wallet fills itself; amounts are minor units, exclusive of tax."""

    threshold_minor: int
    credits_minor: int
    monthly_cap_minor: int
    most_failures: int
    is_on: bool
    off_reason: str | None
    updated_at: datetime


class AutoTopUpRule(Request):
    """Below `threshold_minor` the wallet buys `credits_minor`, up to the cap of a month."""

    payment_method_id: UUID
    threshold_minor: int = Field(ge=0, lt=2**53)
    credits_minor: int = Field(gt=0, lt=2**53)
    monthly_cap_minor: int = Field(gt=0, lt=2**53)
    most_failures: int = Field(
        default=3, ge=1, le=10, description="After so many in a row it goes off."
    )
    is_on: bool = True


_NEW = {"account_id": "019aa000-0000-7000-8000-000000000002", "gateway": "stripe"}
_RULE = {
    "payment_method_id": "019aa000-0000-7000-8000-000000000009",
    "threshold_minor": 500000,
    "credits_minor": 2000000,
    "monthly_cap_minor": 10000000,
}


def method_resource(row: PaymentMethod) -> Resource[MethodAttributes]:
    """A method as the API shows it."""
    return Resource(
        id=str(row.id),
        type="payment_method",
        attributes=MethodAttributes.model_validate(row),
        relationships=refer(
            customer=("customer", row.customer_id), account=("account", row.account_id)
        ),
    )


def auto_top_up_resource(row: AutoTopUp) -> Resource[AutoTopUpAttributes]:
    """A rule as the API shows it."""
    return Resource(
        id=str(row.wallet_id),
        type="auto_top_up",
        attributes=AutoTopUpAttributes.model_validate(row),
        relationships=refer(
            wallet=("wallet", row.wallet_id),
            payment_method=("payment_method", row.payment_method_id),
        ),
    )


@router.get("/payment-methods", summary="List saved methods of payment")
def list_all(
    session: ReadSession,
    actor: Reader,
    reply: Envelope,
    page: Paging,
    account_id: Annotated[UUID | None, Query()] = None,
) -> ListAnswer[MethodAttributes]:
    """Saved methods, newest first."""
    rows = list_methods(session, actor, account_id=account_id, **page.fetch)
    return reply.page(rows, page.limit, method_resource)


@router.post("/payment-methods", status_code=201, summary="Save a method of payment")
def create(
    services: CurrentServices,
    actor: Payer,
    reply: Envelope,
    body: Annotated[BeginMethod, Body(examples=[_NEW])],
    idempotency_key: IdempotencyKey = None,
) -> Answer[MethodAttributes]:
    """Make a page of the gateway on which the customer saves a method: `setup_url`."""
    method_id = save_method(collector_of(services), actor, body, idempotency_key)
    with read_only(services.engine) as session:
        return reply.one(method_resource(get_method(session, actor, method_id)))


@router.post("/payment-methods/{method_id}/look-up", summary="Ask whether a method was saved")
def look_up(
    services: CurrentServices, actor: Payer, reply: Envelope, method_id: UUID
) -> Answer[MethodAttributes]:
    """Ask the gateway; from then on the method is `active` and can be charged."""
    look_up_method(collector_of(services), method_id, actor)
    with read_only(services.engine) as session:
        return reply.one(method_resource(get_method(session, actor, method_id)))


@router.post("/payment-methods/{method_id}/default", summary="Make a method the default")
def default(ctx: Commands, _: Payer, reply: Envelope, method_id: UUID) -> Answer[MethodAttributes]:
    """Let reminders of the account charge this method."""
    return reply.one(method_resource(make_default(ctx, ChangeMethod(method_id=method_id))))


@router.delete("/payment-methods/{method_id}", summary="Remove a method of payment")
def remove(ctx: Commands, _: Payer, reply: Envelope, method_id: UUID) -> Answer[MethodAttributes]:
    """Charge it no more; wallets that filled themselves from it stop doing so."""
    return reply.one(method_resource(remove_method(ctx, ChangeMethod(method_id=method_id))))


@router.get("/wallets/{wallet_id}/auto-top-up", summary="Get when a wallet fills itself")
def get_rule(
    session: ReadSession, actor: Reader, reply: Envelope, wallet_id: UUID
) -> Answer[AutoTopUpAttributes]:
    """The rule of a wallet, and why it is off if it is."""
    rule = session.get(AutoTopUp, get_wallet(session, actor, wallet_id).id)
    if rule is None:
        raise not_found("auto top-up of wallet", wallet_id)
    return reply.one(auto_top_up_resource(rule))


@router.put("/wallets/{wallet_id}/auto-top-up", summary="Let a wallet fill itself")
def set_rule(
    ctx: Commands,
    _: Payer,
    reply: Envelope,
    wallet_id: UUID,
    body: Annotated[AutoTopUpRule, Body(examples=[_RULE])],
) -> Answer[AutoTopUpAttributes]:
    """Set the rule, or switch it off; setting it anew also forgets past failures."""
    request = build(SetAutoTopUp, wallet_id=wallet_id, **body.model_dump())
    return reply.one(auto_top_up_resource(set_auto_top_up(ctx, request)))
