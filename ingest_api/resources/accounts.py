"""Accounts, their status, and the names their usage arrives under."""

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Path, Query
from pydantic import Field

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Request
from billing.customers.repository import get_account, list_accounts, list_aliases
from billing.customers.service import (
    AccountChanges,
    AddAlias,
    CreateAccount,
    EndAlias,
    SetAccountStatus,
    UpdateAccount,
    add_alias,
    create_account,
    end_alias,
    set_account_status,
    update_account,
)
from billing.customers.tables import (
    Account,
    AccountAlias,
    AccountStatus,
    BillingMode,
    SuspensionCause,
)
from billing.invoices.consolidation import (
    BillAccount,
    SetBillAccount,
    list_bill_accounts,
    set_bill_account,
)
from billing.wallets.account_states import SetGrace, set_grace
from ingest_api.auth import needs
from ingest_api.dependencies import Commands, Envelope, Paging, ReadSession, build
from ingest_api.envelope import Answer, Attributes, ListAnswer, Resource, refer

router = APIRouter(prefix="/accounts", tags=["accounts"])

Reader = Annotated[Actor, needs(Permission.CUSTOMERS_READ)]
Writer = Annotated[Actor, needs(Permission.CUSTOMERS_WRITE)]


class AccountAttributes(Attributes):
    """What usage, a subscription and a wallet belong to."""

    code: str
    name: str
    billing_mode: BillingMode
    currency: str
    zone: str
    status: AccountStatus
    suspended_for: SuspensionCause | None
    grace_hours: int
    grace_limit_minor: int
    grace_ends_at: datetime | None
    shard: int
    journal_answers: bool | None
    payment_terms_days: int
    created_at: datetime
    updated_at: datetime


class AliasAttributes(Attributes):
    """Another name the account's usage arrives under; `valid_to` is the first day without it."""

    alias: str
    valid_from: date
    valid_to: date | None


class BillAccountAttributes(Attributes):
    """On whose invoice the account's billing periods stand that begin on or after a day."""

    valid_from: date
    set_by: str
    created_at: datetime


class BillAccountSetting(Request):
    """The account above it that is billed for it; `null`: it has invoices of its own."""

    bill_account_id: UUID | None
    valid_from: date = Field(description="Billing periods that begin then or later follow it.")


class Grace(Request):
    """What may still be sent when the money is used up."""

    grace_hours: int = Field(ge=0, le=2160, description="0: the account is suspended at once.")
    grace_limit_minor: int = Field(
        default=0, ge=0, lt=2**40, description="How far below the credit line, in minor units."
    )


class NewAlias(Request):
    """A name, and the first day on which it holds."""

    alias: str
    valid_from: date


class AliasEnd(Request):
    """The first day on which the name no longer holds."""

    valid_to: date


def account_resource(row: Account) -> Resource[AccountAttributes]:
    """An account as the API shows it."""
    return Resource(
        id=str(row.id),
        type="account",
        attributes=AccountAttributes.model_validate(row),
        relationships=refer(
            customer=("customer", row.customer_id), parent=("account", row.parent_account_id)
        ),
    )


def alias_resource(row: AccountAlias) -> Resource[AliasAttributes]:
    """An alias as the API shows it."""
    return Resource(
        id=str(row.id),
        type="account_alias",
        attributes=AliasAttributes.model_validate(row),
        relationships=refer(account=("account", row.account_id)),
    )


def bill_account_resource(row: BillAccount) -> Resource[BillAccountAttributes]:
    """A setting of whose invoice an account stands on, as the API shows it."""
    return Resource(
        id=str(row.id),
        type="bill_account",
        attributes=BillAccountAttributes.model_validate(row),
        relationships=refer(
            account=("account", row.account_id), bill_account=("account", row.bill_account_id)
        ),
    )


_BILL_ACCOUNT = {
    "bill_account_id": "019aa000-0000-7000-8000-000000000002",
    "valid_from": "2026-12-01",
}
_NEW_ACCOUNT = {
    "customer_id": "019aa000-0000-7000-8000-000000000001",
    "code": "acme-main",
    "name": "Acme, production",
    "billing_mode": "prepaid",
    "currency": "INR",
    "zone": "Asia/Kolkata",
}


@router.get("", summary="List accounts")
def list_all(
    session: ReadSession,
    actor: Reader,
    reply: Envelope,
    page: Paging,
    customer_id: Annotated[UUID | None, Query(description="Only of this customer.")] = None,
    status: Annotated[AccountStatus | None, Query(description="Only in this status.")] = None,
) -> ListAnswer[AccountAttributes]:
    """Accounts in the order they were opened."""
    rows = list_accounts(session, actor, customer_id=customer_id, status=status, **page.fetch)
    return reply.page(rows, page.limit, account_resource)


@router.post("", status_code=201, summary="Open an account")
def create(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    body: Annotated[CreateAccount, Body(examples=[_NEW_ACCOUNT])],
) -> Answer[AccountAttributes]:
    """Open an account; its currency, zone and billing mode stay as they are given here."""
    return reply.one(account_resource(create_account(ctx, body)))


@router.get("/{account_id}", summary="Get an account")
def get(
    session: ReadSession, actor: Reader, reply: Envelope, account_id: UUID
) -> Answer[AccountAttributes]:
    """One account."""
    return reply.one(account_resource(get_account(session, actor, account_id)))


@router.patch("/{account_id}", summary="Change an account")
def update(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    account_id: UUID,
    body: Annotated[AccountChanges, Body(examples=[{"journal_answers": False}])],
) -> Answer[AccountAttributes]:
    """Change its name, or whether events may be answered by the journal alone; the rest stays."""
    request = build(UpdateAccount, account_id=account_id, **body.model_dump(exclude_unset=True))
    return reply.one(account_resource(update_account(ctx, request)))


@router.post("/{account_id}/suspend", summary="Suspend an account")
def suspend(
    ctx: Commands, _: Writer, reply: Envelope, account_id: UUID
) -> Answer[AccountAttributes]:
    """Stop authorisations; usage that happens all the same is still recorded."""
    return _set_status(ctx, reply, account_id, AccountStatus.SUSPENDED)


@router.post("/{account_id}/reactivate", summary="Reactivate an account")
def reactivate(
    ctx: Commands, _: Writer, reply: Envelope, account_id: UUID
) -> Answer[AccountAttributes]:
    """Let a suspended account send again."""
    return _set_status(ctx, reply, account_id, AccountStatus.ACTIVE)


@router.post("/{account_id}/close", summary="Close an account")
def close(ctx: Commands, _: Writer, reply: Envelope, account_id: UUID) -> Answer[AccountAttributes]:
    """Close an account for good; what it owes and has stays on record."""
    return _set_status(ctx, reply, account_id, AccountStatus.CLOSED)


@router.post("/{account_id}/grace", summary="Set an account's grace")
def set_grace_period(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    account_id: UUID,
    body: Annotated[Grace, Body(examples=[{"grace_hours": 72, "grace_limit_minor": 500000}])],
) -> Answer[AccountAttributes]:
    """Say how long, and how far below its credit line, an account may send without money."""
    request = build(SetGrace, account_id=account_id, **body.model_dump())
    return reply.one(account_resource(set_grace(ctx, request)))


@router.get("/{account_id}/bill-accounts", summary="List whose invoice an account stands on")
def list_billed(
    session: ReadSession, actor: Reader, reply: Envelope, account_id: UUID
) -> ListAnswer[BillAccountAttributes]:
    """All settings by their first day, past ones and those to come."""
    return reply.all(list_bill_accounts(session, actor, account_id), bill_account_resource)


@router.post(
    "/{account_id}/bill-accounts", status_code=201, summary="Set whose invoice an account stands on"
)
def bill_to(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    account_id: UUID,
    body: Annotated[BillAccountSetting, Body(examples=[_BILL_ACCOUNT])],
) -> Answer[BillAccountAttributes]:
    """Put its charges on the monthly invoice of an account above it, a section for each account."""
    request = build(SetBillAccount, account_id=account_id, **body.model_dump())
    return reply.one(bill_account_resource(set_bill_account(ctx, request)))


@router.get("/{account_id}/aliases", summary="List an account's aliases")
def list_names(
    session: ReadSession, actor: Reader, reply: Envelope, account_id: UUID
) -> ListAnswer[AliasAttributes]:
    """All names of the account, past ones too."""
    return reply.all(list_aliases(session, actor, account_id), alias_resource)


@router.post("/{account_id}/aliases", status_code=201, summary="Add an alias")
def add_name(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    account_id: UUID,
    body: Annotated[NewAlias, Body(examples=[{"alias": "acme", "valid_from": "2026-04-01"}])],
) -> Answer[AliasAttributes]:
    """Let usage arrive under another name; one account at a time holds a name."""
    request = build(AddAlias, account_id=account_id, **body.model_dump())
    return reply.one(alias_resource(add_alias(ctx, request)))


@router.post("/{account_id}/aliases/{alias}/end", summary="End an alias")
def end_name(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    account_id: UUID,
    alias: Annotated[str, Path(max_length=128, pattern=r"^[A-Za-z0-9_.:@-]+$")],
    body: Annotated[AliasEnd, Body(examples=[{"valid_to": "2026-10-01"}])],
) -> Answer[AliasAttributes]:
    """Stop accepting usage under a name from a day on; another account may then take it."""
    request = build(EndAlias, account_id=account_id, alias=alias, **body.model_dump())
    return reply.one(alias_resource(end_alias(ctx, request)))


def _set_status(
    ctx: Commands, reply: Envelope, account_id: UUID, status: AccountStatus
) -> Answer[AccountAttributes]:
    request = SetAccountStatus(account_id=account_id, status=status)
    return reply.one(account_resource(set_account_status(ctx, request)))
