"""Whether this process lives, and whether it can do its work."""

from collections.abc import Iterable
from dataclasses import dataclass

import redis
from fastapi import APIRouter, Depends
from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from billing.db.migrate import head_revision
from billing.db.unit_of_work import read_only
from billing.errors import BillingError, UnavailableError
from billing.usage.tables import ShardMode, ShardState, WalletDrift
from billing.wallets.connect import open_any
from billing.wallets.keys import ShardKeys
from ingest_api.auth import public
from ingest_api.dependencies import CurrentServices, Envelope
from ingest_api.envelope import Answer, Attributes, Resource
from ingest_api.services import Services

router = APIRouter(prefix="/health", tags=["health"], dependencies=[Depends(public)])

WRITER_LAG_LIMIT_SECONDS = 30
"""A journal entry older than this that is not in PostgreSQL means the writer stands still."""
_REDIS_TIMEOUT_SECONDS = 2
_FROZEN = select(func.count()).select_from(WalletDrift).where(WalletDrift.settled_at.is_(None))


class LiveAttributes(Attributes):
    """The process answers."""

    live: bool = True


class ReadyAttributes(Attributes):
    """What the process depends on."""

    database: str
    migrations: str
    redis: str
    """`ok`, or `away` while every shard takes events in without it."""
    writer_lag_ms: int
    """Age of the oldest journal entry that is not in PostgreSQL yet."""
    direct_shards: list[int]
    """Those whose events go straight into PostgreSQL."""
    frozen_wallets: int
    """On which Redis and PostgreSQL do not agree; nothing is authorised from them."""


@dataclass(frozen=True, slots=True)
class _DatabaseState:
    revision: str | None
    shards: tuple[ShardState, ...]
    frozen_wallets: int

    @property
    def direct_shards(self) -> list[int]:
        return sorted(one.shard for one in self.shards if one.mode is ShardMode.DIRECT)


@router.get("/live", summary="Is the process alive?")
def live(reply: Envelope) -> Answer[LiveAttributes]:
    """Answers as long as the process does; asks nobody else."""
    return reply.one(Resource(id="live", type="health", attributes=LiveAttributes()))


@router.get("/ready", summary="Can the process do its work?")
def ready(services: CurrentServices, reply: Envelope) -> Answer[ReadyAttributes]:
    """Checks the database, its migrations, Redis and the writer; 503 names what is wrong."""
    database = _database_state(services)
    if database.revision != head_revision():
        raise _not_ready(
            "migrations", f"the schema is at {database.revision}, the code at {head_revision()}"
        )
    redis_state, lag_ms = "ok", 0
    try:
        lag_ms = _writer_lag_ms(services, database.shards)
    except redis.RedisError as error:
        if not database.shards or len(database.direct_shards) < len(database.shards):
            raise _not_ready("redis", "it cannot be reached") from error
        redis_state = "away"
    if lag_ms > WRITER_LAG_LIMIT_SECONDS * 1000:
        raise _not_ready("writer", f"the oldest entry has waited {lag_ms} ms")
    attributes = ReadyAttributes(
        database="ok",
        migrations=database.revision,
        redis=redis_state,
        writer_lag_ms=lag_ms,
        direct_shards=database.direct_shards,
        frozen_wallets=database.frozen_wallets,
    )
    return reply.one(Resource(id="ready", type="health", attributes=attributes))


def _database_state(services: Services) -> _DatabaseState:
    try:
        with read_only(services.engine) as session:
            revision = _revision(session)
            current = revision == head_revision()
            shards = tuple(session.scalars(select(ShardState))) if current else ()
            frozen = session.scalar(_FROZEN) if current else 0
            session.expunge_all()
    except SQLAlchemyError as error:
        raise _not_ready("database", "it cannot be reached") from error
    return _DatabaseState(revision, shards, frozen or 0)


def _revision(session: Session) -> str | None:
    if session.scalar(text("SELECT to_regclass('billing.alembic_version')")) is None:
        return None
    revision: str | None = session.scalar(text("SELECT version_num FROM billing.alembic_version"))
    return revision


def _writer_lag_ms(services: Services, shards: Iterable[ShardState]) -> int:
    now_ms = int(services.clock.now().timestamp() * 1000)
    lags = [0]
    try:
        with open_any(
            services.settings.require_redis_url(),
            socket_timeout=_REDIS_TIMEOUT_SECONDS,
            socket_connect_timeout=_REDIS_TIMEOUT_SECONDS,
        ) as client:
            client.ping()
            for shard in shards:
                stream = ShardKeys(shard.shard, shard.epoch).stream
                after = f"({shard.cursor_ms}-{shard.cursor_seq}"
                waiting = client.xrange(stream, min=after, count=1)
                lags.extend(now_ms - int(entry_id.split(b"-")[0]) for entry_id, _ in waiting)
    except UnavailableError as error:
        raise _not_ready("redis", error.message) from error
    return max(lags)


def _not_ready(part: str, why: str) -> BillingError:
    return UnavailableError(
        f"Not ready: {part}: {why}.", code="not_ready", details={"part": part, "why": why}
    )
