"""Moving accounts between shards."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body
from pydantic import Field

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Request
from billing.wallets.moves import MoveAccount, list_moves, move_account
from billing.wallets.tables import AccountMove
from ingest_api.auth import needs
from ingest_api.dependencies import Commands, Envelope, ReadSession, build
from ingest_api.envelope import Answer, Attributes, ListAnswer, Resource, refer

router = APIRouter(prefix="/accounts/{account_id}/moves", tags=["accounts"])

Reader = Annotated[Actor, needs(Permission.CUSTOMERS_READ)]
Operator = Annotated[Actor, needs(Permission.ACCOUNTS_MOVE)]


class MoveAttributes(Attributes):
    """A move: asked for, written down, and over once both shards' Redis follow it."""

    from_shard: int
    to_shard: int
    actor: str
    asked_at: datetime
    moved_at: datetime | None
    arrived_at: datetime | None
    left_at: datetime | None
    is_over: bool


class NewMove(Request):
    """Where the account is to go."""

    to_shard: int = Field(ge=0, le=1023)


def move_resource(row: AccountMove) -> Resource[MoveAttributes]:
    """A move as the API shows it."""
    return Resource(
        id=str(row.id),
        type="account_move",
        attributes=MoveAttributes.model_validate(row),
        relationships=refer(account=("account", row.account_id)),
    )


@router.get("", summary="List an account's moves")
def list_all(
    session: ReadSession, actor: Reader, reply: Envelope, account_id: UUID
) -> ListAnswer[MoveAttributes]:
    """All moves of the account, the newest first."""
    return reply.all(list_moves(session, actor, account_id), move_resource)


@router.post("", status_code=201, summary="Move an account to another shard")
def create(
    ctx: Commands,
    _: Operator,
    reply: Envelope,
    account_id: UUID,
    body: Annotated[NewMove, Body(examples=[{"to_shard": 1}])],
) -> Answer[MoveAttributes]:
    """Ask the writers to move it: its events wait for some milliseconds, and nobody else's."""
    request = build(MoveAccount, account_id=account_id, **body.model_dump())
    return reply.one(move_resource(move_account(ctx, request)))
