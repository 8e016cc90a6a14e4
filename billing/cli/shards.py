"""`billing shards`, `billing shards move` and `billing rebuild-redis`.

Where the journal stands, taking an account to another shard, and making Redis anew.
"""

import time
from typing import Annotated, Any, Final
from uuid import UUID

import psycopg
import typer
from psycopg import Connection
from redis import Redis
from rich.table import Table
from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.access.actor import SYSTEM
from billing.cli.output import out
from billing.clock import SystemClock
from billing.commands import Context
from billing.customers.tables import Account
from billing.db.engine import open_engine
from billing.db.unit_of_work import read_only, unit_of_work
from billing.errors import UnavailableError, not_found
from billing.settings import Settings
from billing.usage.tables import ShardMode
from billing.wallets.connect import open_any
from billing.wallets.moves import MoveAccount, move_account
from billing.wallets.postgres_port import PostgresPort
from billing.wallets.shards import ShardStatus, ask_for_rebuild, shard_statuses
from billing.wallets.tables import AccountMove

_SECONDS: Final = 60.0
_PAUSE: Final = 0.1


shards = typer.Typer(help="Show the shards, or move an account between them.")


@shards.callback(invoke_without_command=True)
def show(ctx: typer.Context) -> None:
    """Show each shard: epoch, mode, cursor, how far PostgreSQL is behind the journal."""
    if ctx.invoked_subcommand is not None:
        return
    with _postgres() as connection, _redis() as redis:
        found = shard_statuses(connection, redis, SystemClock().now())
    table = Table(
        "shard", "mode", "epoch", "cursor", "events", "journal", "lag", "writer", "frozen"
    )
    for one in found:
        table.add_row(*_cells(one))
    out.print(table)


def _cells(one: ShardStatus) -> list[str]:
    epoch = str(one.epoch)
    if one.shown != epoch:
        epoch = f"{epoch} (Redis: {one.shown or 'none'})"
    return [
        str(one.shard),
        one.mode.value,
        epoch,
        str(one.cursor),
        str(one.accept_seq),
        str(one.entries),
        f"{one.lag_ms} ms",
        "active" if one.has_writer else "none",
        str(one.frozen_wallets),
    ]


@shards.command("move")
def move(
    account: Annotated[str, typer.Argument(help="Its id or its code.")],
    to: Annotated[int, typer.Option(help="The shard that is to serve it.")],
) -> None:
    """Move an account to another shard while everything goes on; the writers must be running."""
    engine = open_engine(Settings.load().require_database_url(), application="billing-cli")
    try:
        with unit_of_work(engine) as session:
            ctx = Context(session, SYSTEM, SystemClock())
            request = MoveAccount(account_id=_account_id(session, account), to_shard=to)
            asked = move_account(ctx, request)
            move_id, before = asked.id, asked.from_shard
        out.print(f"account {account}: shard {before} to {to}, asked for")
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            with read_only(engine) as session:
                if session.get_one(AccountMove, move_id).is_over:
                    out.print(f"account {account}: in shard {to}")
                    return
            time.sleep(_PAUSE)
    finally:
        engine.dispose()
    raise UnavailableError(
        f"It was not done within {_SECONDS:.0f} s. The account is served all the same, and moved "
        "when the writers of both shards are at work."
    )


def _account_id(session: Session, account: str) -> UUID:
    try:
        return UUID(account)
    except ValueError:
        found = session.scalar(select(Account.id).filter_by(code=account))
        if found is None:
            raise not_found("account", account) from None
        return found


def rebuild_redis(
    shard: Annotated[int | None, typer.Option(help="One shard; all of them if not given.")] = None,
) -> None:
    """Make the wallets in Redis anew from PostgreSQL. Events are taken in meanwhile."""
    with _postgres() as connection, _redis() as redis:
        wanted = [shard] if shard is not None else list(range(Settings.load().shard_count))
        for number in wanted:
            before = PostgresPort(connection, SystemClock()).shard(number).epoch
            epoch = ask_for_rebuild(connection, redis, number, SystemClock())
            if epoch is None:
                out.print(f"shard {number}: its writer was asked for it")
                epoch = _wait_for_writer(connection, number, before)
            out.print(f"shard {number}: open in epoch {epoch}")


def _wait_for_writer(connection: Connection[Any], shard: int, before: int) -> int:
    postgres = PostgresPort(connection, SystemClock())
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        row = postgres.shard(shard)
        if row.epoch > before and row.mode is ShardMode.OPEN:
            return row.epoch
        time.sleep(_PAUSE)
    raise UnavailableError(f"The writer of shard {shard} did not do it within {_SECONDS:.0f} s.")


def _postgres() -> Connection[Any]:
    url = Settings.load().require_database_url()
    return psycopg.connect(url, autocommit=True, connect_timeout=5, options="-c timezone=UTC")


def _redis() -> "Redis":
    return open_any(Settings.load().require_redis_url(), socket_timeout=5)


def register(app: typer.Typer) -> None:
    """Hang the commands on the door."""
    app.add_typer(shards, name="shards")
    app.command("rebuild-redis")(rebuild_redis)
