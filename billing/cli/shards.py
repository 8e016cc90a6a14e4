"""`billing shards` and `billing rebuild-redis`: where the journal stands, and making Redis anew."""

import time
from typing import Annotated, Any, Final

import psycopg
import typer
from psycopg import Connection
from redis import Redis
from rich.table import Table

from billing.cli.output import out
from billing.clock import SystemClock
from billing.errors import UnavailableError
from billing.settings import Settings
from billing.usage.tables import ShardMode
from billing.wallets.connect import open_any
from billing.wallets.postgres_port import PostgresPort
from billing.wallets.shards import ShardStatus, ask_for_rebuild, shard_statuses

_SECONDS: Final = 60.0
_PAUSE: Final = 0.1


def shards() -> None:
    """Show each shard: epoch, mode, cursor, how far PostgreSQL is behind the journal."""
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
    app.command()(shards)
    app.command("rebuild-redis")(rebuild_redis)
