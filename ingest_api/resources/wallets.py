"""Wallets: balances, movements, money in, corrections and limits."""

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Query
from pydantic import Field

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Request
from billing.money import from_units
from billing.wallets.allocations import Allocated, list_allocations
from billing.wallets.ledger import status_of
from billing.wallets.lots import Lot, lots_of
from billing.wallets.repository import Movement, find_wallet, list_movements, list_wallets
from billing.wallets.service import (
    CorrectWallet,
    CreateWallet,
    SetAdvancePolicy,
    SetWalletLimits,
    TopUp,
    correct_wallet,
    create_wallet,
    set_advance_policy,
    set_wallet_limits,
    top_up,
)
from billing.wallets.tables import AdvancePolicy, LedgerKind, Wallet, WalletStatus
from ingest_api.auth import needs
from ingest_api.dependencies import Commands, Envelope, Paging, ReadSession, build
from ingest_api.envelope import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    Amount,
    Answer,
    Attributes,
    ListAnswer,
    Resource,
    refer,
)

router = APIRouter(prefix="/wallets", tags=["wallets"])

Reader = Annotated[Actor, needs(Permission.WALLETS_READ)]
Writer = Annotated[Actor, needs(Permission.WALLETS_WRITE)]


Approver = Annotated[Actor, needs(Permission.INVOICES_APPROVE)]


class WalletAttributes(Attributes):
    """Prepaid money in wallet units: 1e-6 rupees or dollars, 1e-4 rupiah.

    The balance is that of the ledger; events that were accepted a moment ago may not be in it yet.
    """

    currency: str
    balance_units: int
    balance: Amount
    credit_line_units: int
    low_balance_units: int
    advance_policy: AdvancePolicy
    status: WalletStatus
    created_at: datetime
    updated_at: datetime


class MovementAttributes(Attributes):
    """One change of the balance; usage is posted in batches."""

    seq: int
    kind: LedgerKind
    reference: str
    amount_units: int
    balance_after_units: int
    recorded_at: datetime


class LotAttributes(Attributes):
    """Credits that came in together, in wallet units; a grant's in its turn, others first in, first
    out."""

    kind: LedgerKind
    reference: str
    received_at: datetime
    voucher: str | None
    voucher_date: date | None
    credited_units: int
    tax_units: int
    refunded_units: int
    used_units: int
    left_units: int


class AllocationAttributes(Attributes):
    """What of a lot an invoice or a refund used, in wallet units; never changed."""

    lot_kind: LedgerKind
    lot_reference: str
    received_at: datetime
    voucher: str | None
    voucher_date: date | None
    used_by_kind: LedgerKind
    used_by: str
    """`invoice:` and its id, or the name of the refund's posting."""
    credit_units: int
    tax_units: int
    allocated_at: datetime


class Limits(Request):
    """Amounts in minor units."""

    credit_line_minor: int = Field(
        ge=0, lt=2**53, description="How far below zero sending may go on."
    )
    low_balance_minor: int = Field(
        ge=0, lt=2**53, description="Below this the balance counts as low."
    )


class Policy(Request):
    """How top-ups are taxed; `deposit` only where finance has signed for it."""

    policy: AdvancePolicy


class Credit(Request):
    """Credits to give, with a reference that is credited once."""

    amount_minor: int = Field(
        gt=0, lt=2**53, description="Credits, exclusive of tax, in minor units."
    )
    reference: str = Field(min_length=1, max_length=128)
    note: str = Field(default="", max_length=500)


class Payment(Credit):
    """Money that came in."""

    tax_minor: int | None = Field(
        default=None,
        ge=0,
        lt=2**53,
        description="Tax paid with it, in minor units: what is due on the credits by the "
        "customer's tax profile of the day. Left out, it is worked out; another amount is refused.",
    )


class Correction(Request):
    """A correction either way, with its reason."""

    amount_units: int = Field(gt=-(2**53), lt=2**53, description="In wallet units; negative takes.")
    reference: str = Field(min_length=1, max_length=128)
    note: str = Field(min_length=3, max_length=500)


def wallet_resource(row: Wallet) -> Resource[WalletAttributes]:
    """A wallet as the API shows it; its status is that of the balance shown."""
    attributes = WalletAttributes(
        currency=row.currency,
        balance_units=row.balance_units,
        balance=from_units(row.balance_units, row.currency),
        credit_line_units=row.credit_line_units,
        low_balance_units=row.low_balance_units,
        advance_policy=row.advance_policy,
        status=status_of(row),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
    return Resource(
        id=str(row.id),
        type="wallet",
        attributes=attributes,
        relationships=refer(account=("account", row.account_id)),
    )


def movement_resource(row: Movement) -> Resource[MovementAttributes]:
    """A movement as the API shows it."""
    return Resource(
        id=str(row.seq),
        type="wallet_movement",
        attributes=MovementAttributes.model_validate(row),
        relationships=refer(wallet=("wallet", row.wallet_id)),
    )


def allocation_resource(row: Allocated) -> Resource[AllocationAttributes]:
    """An allocation as the API shows it."""
    return Resource(
        id=str(row.id),
        type="lot_allocation",
        attributes=AllocationAttributes.model_validate(row),
        relationships={},
    )


def lot_resource(row: Lot) -> Resource[LotAttributes]:
    """A lot as the API shows it."""
    source = row.source
    return Resource(
        id=str(source.id),
        type="wallet_lot",
        attributes=LotAttributes(
            kind=source.kind,
            reference=source.reference,
            received_at=source.at,
            voucher=source.voucher,
            voucher_date=source.voucher_date,
            credited_units=source.units,
            tax_units=source.tax_units,
            refunded_units=row.refunded_units,
            used_units=row.used_units,
            left_units=row.left_units,
        ),
    )


_NEW_WALLET = {
    "account_id": "019aa000-0000-7000-8000-000000000002",
    "low_balance_minor": 300000,
}
_PAYMENT = {
    "amount_minor": 2500000,
    "tax_minor": 450000,
    "reference": "NEFT-AXISN26215001",
    "note": "Bank transfer",
}
_CORRECTION = {"amount_units": -1500000, "reference": "ticket-812", "note": "Counted twice"}


@router.get("", summary="List wallets")
def list_all(
    session: ReadSession,
    actor: Reader,
    reply: Envelope,
    page: Paging,
    account_id: Annotated[UUID | None, Query(description="Only of this account.")] = None,
    status: Annotated[WalletStatus | None, Query(description="As it was last posted.")] = None,
) -> ListAnswer[WalletAttributes]:
    """Wallets in the order they were opened."""
    rows = list_wallets(session, actor, account_id=account_id, status=status, **page.fetch)
    return reply.page(rows, page.limit, wallet_resource)


@router.post("", status_code=201, summary="Open a wallet")
def create(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    body: Annotated[CreateWallet, Body(examples=[_NEW_WALLET])],
) -> Answer[WalletAttributes]:
    """Open the wallet of a prepaid account, empty and in the account's currency."""
    return reply.one(wallet_resource(create_wallet(ctx, body)))


@router.get("/{wallet_id}", summary="Get a wallet")
def get(
    session: ReadSession, actor: Reader, reply: Envelope, wallet_id: UUID
) -> Answer[WalletAttributes]:
    """One wallet with its balance."""
    return reply.one(wallet_resource(find_wallet(session, actor, wallet_id)))


@router.patch("/{wallet_id}", summary="Set a wallet's limits")
def set_limits(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    wallet_id: UUID,
    body: Annotated[Limits, Body(examples=[{"credit_line_minor": 0, "low_balance_minor": 300000}])],
) -> Answer[WalletAttributes]:
    """Change the credit line and the low-balance mark."""
    request = build(SetWalletLimits, wallet_id=wallet_id, **body.model_dump())
    return reply.one(wallet_resource(set_wallet_limits(ctx, request)))


@router.put("/{wallet_id}/advance-policy", summary="Set how top-ups of a wallet are taxed")
def set_policy(
    ctx: Commands,
    _: Approver,
    reply: Envelope,
    wallet_id: UUID,
    body: Annotated[Policy, Body(examples=[{"policy": "receipt_voucher"}])],
) -> Answer[WalletAttributes]:
    """An advance is taxed and papered when it comes; a deposit is taxed when it is used.

    Refused while the wallet holds money that came under the other policy.
    """
    request = build(SetAdvancePolicy, wallet_id=wallet_id, **body.model_dump())
    return reply.one(wallet_resource(set_advance_policy(ctx, request)))


@router.get("/{wallet_id}/movements", summary="List a wallet's movements")
def movements(
    session: ReadSession,
    actor: Reader,
    reply: Envelope,
    wallet_id: UUID,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    after: Annotated[int | None, Query(ge=1, lt=2**63, description="`meta.page.next`.")] = None,
) -> ListAnswer[MovementAttributes]:
    """What changed the balance, the newest first."""
    rows = list_movements(session, actor, wallet_id, limit=limit + 1, after=after)
    return reply.page(rows, limit, movement_resource)


@router.get("/{wallet_id}/lots", summary="List a wallet's lots")
def lots(
    session: ReadSession, actor: Reader, reply: Envelope, wallet_id: UUID
) -> ListAnswer[LotAttributes]:
    """Every top-up and grant with its voucher, and what is left of it; oldest first."""
    return reply.all(lots_of(session, actor, wallet_id), lot_resource)


@router.get("/{wallet_id}/lot-allocations", summary="List what used a wallet's lots")
def lot_allocations(
    session: ReadSession, actor: Reader, reply: Envelope, wallet_id: UUID
) -> ListAnswer[AllocationAttributes]:
    """Which top-ups each invoice adjusted and each refund gave back, in the order of writing."""
    return reply.all(list_allocations(session, actor, wallet_id), allocation_resource)


@router.post("/{wallet_id}/top-ups", status_code=201, summary="Top up a wallet")
def add_payment(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    wallet_id: UUID,
    body: Annotated[Payment, Body(examples=[_PAYMENT])],
) -> Answer[WalletAttributes]:
    """Credit a payment that came in; its reference is credited once."""
    request = build(TopUp, wallet_id=wallet_id, **body.model_dump())
    return reply.one(wallet_resource(top_up(ctx, request)))


@router.post("/{wallet_id}/corrections", status_code=201, summary="Correct a balance")
def add_correction(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    wallet_id: UUID,
    body: Annotated[Correction, Body(examples=[_CORRECTION])],
) -> Answer[WalletAttributes]:
    """Post a correction, visibly and with its reason."""
    request = build(CorrectWallet, wallet_id=wallet_id, **body.model_dump())
    return reply.one(wallet_resource(correct_wallet(ctx, request)))
