"""What a wallet does to its account: grace, suspension, and back again when money comes in.

An account goes from active to grace, or at once to suspended, when its balance is below the credit
line; from grace to suspended when that is over; and back to active when something can be spent
again. One that was suspended by hand stays so. Each change is a command of the system, with its
audit row and its entry in the outbox.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from pydantic import Field
from sqlalchemy import ColumnElement, Engine, Select, and_, or_, select
from sqlalchemy.orm import Session

from billing.access.actor import SYSTEM
from billing.access.roles import Permission
from billing.clock import Clock
from billing.commands import Context, Request, command
from billing.customers.repository import load_account
from billing.customers.tables import Account, AccountStatus, SuspensionCause
from billing.db.unit_of_work import read_only, unit_of_work
from billing.outbox.service import report
from billing.wallets.tables import Wallet, WalletStatus

_MOST_PER_ROUND: Final = 500
_LONGEST_GRACE_HOURS: Final = 90 * 24


class Change(StrEnum):
    """What becomes of an account."""

    GRACE = "grace_began"
    SUSPEND = "suspended"
    RESTORE = "reactivated"


class SettleAccount(Request):
    """The account to bring in line with its wallet."""

    account_id: UUID


class SetGrace(Request):
    """How long, and how far below the credit line, sending may go on without money."""

    account_id: UUID
    grace_hours: int = Field(ge=0, le=_LONGEST_GRACE_HOURS)
    grace_limit_minor: int = Field(default=0, ge=0, lt=2**40)


@command("account.set_grace", Permission.CUSTOMERS_WRITE)
def set_grace(ctx: Context, request: SetGrace) -> Account:
    """Change an account's grace; a grace period that runs keeps its end."""
    account = load_account(ctx.session, request.account_id, lock=True)
    account.grace_hours = request.grace_hours
    account.grace_limit_minor = request.grace_limit_minor
    account.updated_at = ctx.clock.now()
    return account


@command("account.settle", Permission.CUSTOMERS_WRITE)
def settle_account(ctx: Context, request: SettleAccount) -> Account:
    """Let an account's state follow from its wallet; nothing changes if it does already."""
    account = load_account(ctx.session, request.account_id, lock=True)
    wallet = ctx.session.scalars(
        select(Wallet).filter_by(account_id=account.id, currency=account.currency)
    ).one()
    now = ctx.clock.now()
    change = change_of(account, wallet.balance_units + wallet.credit_line_units, now)
    if change is None:
        return account
    _make(account, change, now)
    report(
        ctx.session,
        f"account.{change.value}",
        entity=("account", account.id),
        account_id=account.id,
        payload={
            "status": account.status.value,
            "balance_units": wallet.balance_units,
            "credit_line_units": wallet.credit_line_units,
            "currency": account.currency,
            "grace_ends_at": account.grace_ends_at and account.grace_ends_at.isoformat(),
        },
        now=now,
    )
    return account


def change_of(account: Account, left_units: int, now: datetime) -> Change | None:
    """What is to become of an account.

    Args:
        left_units: balance and credit line together. At exactly 0 nothing changes either way.
    """
    if account.status is AccountStatus.ACTIVE and left_units < 0:
        return Change.GRACE if account.grace_hours else Change.SUSPEND
    if account.status is AccountStatus.GRACE:
        if left_units > 0:
            return Change.RESTORE
        if account.grace_ends_at is not None and account.grace_ends_at <= now:
            return Change.SUSPEND
    for_funds = account.suspended_for is SuspensionCause.FUNDS
    if account.status is AccountStatus.SUSPENDED and for_funds and left_units > 0:
        return Change.RESTORE
    return None


def _make(account: Account, change: Change, now: datetime) -> None:
    account.updated_at = now
    account.grace_ends_at = None
    account.suspended_for = None
    match change:
        case Change.GRACE:
            account.status = AccountStatus.GRACE
            account.grace_ends_at = now + timedelta(hours=account.grace_hours)
        case Change.SUSPEND:
            account.status = AccountStatus.SUSPENDED
            account.suspended_for = SuspensionCause.FUNDS
        case Change.RESTORE:
            account.status = AccountStatus.ACTIVE


def settle_states(
    engine: Engine, clock: Clock, is_cut_short: Callable[[], bool] = lambda: False
) -> int:
    """Bring accounts in line with their wallets; returns how many there were to look at."""
    with read_only(engine) as session:
        due = _due(session, clock.now())
    for account_id in due:
        if is_cut_short():
            break
        with unit_of_work(engine) as session:
            settle_account(Context(session, SYSTEM, clock), SettleAccount(account_id=account_id))
    return len(due)


def _due(session: Session, now: datetime) -> list[UUID]:
    left = Wallet.balance_units + Wallet.credit_line_units
    stuck = Account.status.in_([AccountStatus.GRACE, AccountStatus.SUSPENDED])
    by_funds = or_(
        Account.status == AccountStatus.GRACE, Account.suspended_for == SuspensionCause.FUNDS
    )
    is_over = and_(Account.status == AccountStatus.GRACE, Account.grace_ends_at <= now)
    # two queries: each has its own small index
    below = _ids(
        Account.status == AccountStatus.ACTIVE, Wallet.status == WalletStatus.SUSPENDED, left < 0
    )
    back = _ids(stuck, by_funds, or_(left > 0, is_over))
    found = [*session.scalars(below), *session.scalars(back)]
    return list(dict.fromkeys(found))


def _ids(*conditions: ColumnElement[bool]) -> Select[UUID]:
    return (
        select(Account.id)
        .join(Wallet, and_(Wallet.account_id == Account.id, Wallet.currency == Account.currency))
        .where(*conditions)
        .order_by(Account.id)
        .limit(_MOST_PER_ROUND)
    )
