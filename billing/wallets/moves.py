"""Asking for an account to be moved to another shard; the writers do it, see `moving`."""

from collections.abc import Sequence
from uuid import UUID

from pydantic import Field
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Context, Request, command
from billing.customers.repository import get_account, load_account
from billing.errors import ConflictError, FieldError, InvalidError, PreconditionError
from billing.settings import Settings
from billing.wallets.tables import AccountMove


class MoveAccount(Request):
    """Serve an account by another shard."""

    account_id: UUID
    to_shard: int = Field(ge=0)


@command("account.move", Permission.ACCOUNTS_MOVE)
def move_account(ctx: Context, request: MoveAccount) -> AccountMove:
    """Ask for it; it is served all the while, but for the moment in which it changes hands.

    Raises:
        NotFoundError: if there is no such account.
        InvalidError: if there is no such shard.
        PreconditionError: if it is there already.
        ConflictError: if it is on its way (code `being_moved`).
    """
    account = load_account(ctx.session, request.account_id, lock=True)
    shards = Settings.load().shard_count
    if request.to_shard >= shards:
        raise InvalidError(
            f"There are shards 0 to {shards - 1}.",
            fields=[FieldError("to_shard", f"must be below {shards}, BILLING_SHARD_COUNT")],
        )
    open_ = select(AccountMove).where(
        AccountMove.account_id == account.id,
        or_(AccountMove.arrived_at.is_(None), AccountMove.left_at.is_(None)),
    )
    if ctx.session.scalar(open_) is not None:
        raise ConflictError("The account is being moved. Wait for that.", code="being_moved")
    if account.shard == request.to_shard:
        raise PreconditionError(
            f"The account is in shard {account.shard} already.", code="is_there"
        )
    move = AccountMove(
        account_id=account.id,
        from_shard=account.shard,
        to_shard=request.to_shard,
        actor=ctx.actor.name,
        asked_at=ctx.clock.now(),
    )
    ctx.session.add(move)
    return move


def list_moves(session: Session, actor: Actor, account_id: UUID) -> Sequence[AccountMove]:
    """An account's moves, the newest first.

    Raises:
        NotFoundError: if there is no such account, or it is another customer's.
    """
    actor.require(Permission.CUSTOMERS_READ)
    get_account(session, actor, account_id)
    return session.scalars(
        select(AccountMove).filter_by(account_id=account_id).order_by(AccountMove.id.desc())
    ).all()
