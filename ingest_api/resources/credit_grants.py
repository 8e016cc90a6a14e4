"""Credits with a priority, and a scope and an end if they have them."""

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body
from pydantic import Field
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Request
from billing.wallets.grants import (
    Grant,
    GrantCredits,
    GrantState,
    VoidGrant,
    grant_credits,
    grant_of,
    list_grants,
    void_grant,
)
from billing.wallets.lots import USUAL_PRIORITY
from billing.wallets.tables import CreditGrant, GrantKind
from ingest_api.auth import needs
from ingest_api.dependencies import Commands, CurrentServices, Envelope, ReadSession, build
from ingest_api.envelope import Answer, Attributes, ListAnswer, Resource, refer

router = APIRouter(prefix="/wallets/{wallet_id}/grants", tags=["wallets"])

Reader = Annotated[Actor, needs(Permission.WALLETS_READ)]
Writer = Annotated[Actor, needs(Permission.WALLETS_WRITE)]


class GrantAttributes(Attributes):
    """A grant and what is left of it, in wallet units.

    With `item_codes` it is not in the balance: invoices take of it what the lines of its items come
    to.
    """

    kind: GrantKind
    state: GrantState
    priority: int
    item_codes: list[str]
    amount_units: int
    used_units: int
    left_units: int
    expires_on: date | None
    reference: str
    note: str
    granted_by: str
    granted_at: datetime
    voided_at: datetime | None
    void_reason: str | None


class NewGrant(Request):
    """Credits to give, sell, or lend on a commitment."""

    kind: GrantKind = GrantKind.PROMOTIONAL
    amount_minor: int = Field(
        gt=0, lt=2**53, description="Credits, exclusive of tax, in minor units."
    )
    tax_minor: int | None = Field(
        default=None,
        ge=0,
        lt=2**53,
        description="Tax paid with purchased ones, in minor units; left out, it is worked out. "
        "Another amount than is due on them is refused.",
    )
    priority: int = Field(
        default=USUAL_PRIORITY,
        ge=0,
        le=100,
        description="The lower, the earlier they are used; all other credits have 50.",
    )
    item_codes: tuple[str, ...] = Field(
        default=(), max_length=100, description="Billable items they pay for; none is everything."
    )
    expires_on: date | None = Field(
        default=None, description="The first local day on which they no longer hold."
    )
    reference: str = Field(min_length=1, max_length=128)
    note: str = Field(default="", max_length=500)


class VoidReason(Request):
    """Why a grant is taken back."""

    reason: str = Field(min_length=3, max_length=500)


_GRANT = {
    "amount_minor": 50000,
    "priority": 10,
    "expires_on": "2026-12-01",
    "reference": "welcome-acme",
    "note": "Welcome credits",
}


def grant_resource(found: Grant) -> Resource[GrantAttributes]:
    """A grant as the API shows it."""
    row = found.row
    return Resource(
        id=str(row.id),
        type="credit_grant",
        attributes=GrantAttributes(
            kind=row.kind,
            state=found.state,
            priority=row.priority,
            item_codes=row.item_codes,
            amount_units=row.amount_units,
            used_units=found.used_units,
            left_units=found.left_units,
            expires_on=row.expires_on,
            reference=row.reference,
            note=row.note,
            granted_by=row.granted_by,
            granted_at=row.granted_at,
            voided_at=row.voided_at,
            void_reason=row.void_reason,
        ),
        relationships=refer(wallet=("wallet", row.wallet_id)),
    )


def _now(
    session: Session, actor: Actor, services: CurrentServices, row: CreditGrant
) -> Resource[GrantAttributes]:
    return grant_resource(grant_of(session, actor, row, services.clock.now()))


@router.get("", summary="List a wallet's grants")
def list_all(
    session: ReadSession, actor: Reader, reply: Envelope, services: CurrentServices, wallet_id: UUID
) -> ListAnswer[GrantAttributes]:
    """Promotional, purchased and commitment credits, in the order in which they are used."""
    rows = list_grants(session, actor, wallet_id, services.clock.now())
    return reply.all(rows, grant_resource)


@router.post("", status_code=201, summary="Grant credits")
def create(
    ctx: Commands,
    actor: Writer,
    reply: Envelope,
    services: CurrentServices,
    wallet_id: UUID,
    body: Annotated[NewGrant, Body(examples=[_GRANT])],
) -> Answer[GrantAttributes]:
    """Give credits, sell them, or lend them on a commitment; a reference is granted once."""
    row = grant_credits(ctx, build(GrantCredits, wallet_id=wallet_id, **body.model_dump()))
    return reply.one(_now(ctx.session, actor, services, row))


@router.post("/{grant_id}/void", summary="Void a grant")
def void(
    ctx: Commands,
    actor: Writer,
    reply: Envelope,
    services: CurrentServices,
    wallet_id: UUID,
    grant_id: UUID,
    body: Annotated[VoidReason, Body(examples=[{"reason": "Granted twice"}])],
) -> Answer[GrantAttributes]:
    """Take back what is left of it; what was used stays used. What was paid for is refunded
    instead."""
    request = VoidGrant(wallet_id=wallet_id, grant_id=grant_id, reason=body.reason)
    return reply.one(_now(ctx.session, actor, services, void_grant(ctx, request)))
