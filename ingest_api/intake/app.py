"""The hot path as a whole: what it holds, its two routes, and its beginning and end."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Final

from redis.asyncio import Redis
from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import Scope

from billing.clock import Clock, SystemClock
from billing.db.engine import open_engine
from billing.errors import BillingError, UnavailableError
from billing.logs import configure_logs
from billing.settings import Settings
from billing.wallets.connect import open_async
from billing.wallets.redis_port import AsyncHoldsPort, AsyncRedisPort
from ingest_api.intake import http
from ingest_api.intake.admission import ShardIntake
from ingest_api.intake.authorizations import Authorizations, starting
from ingest_api.intake.conflicts import ConflictLog
from ingest_api.intake.directory import Directory
from ingest_api.intake.events import Events
from ingest_api.intake.holds import HoldDesk
from ingest_api.intake.listener import Listener
from ingest_api.intake.postgres import IntakeDatabase
from ingest_api.intake.pressure import Pressure
from ingest_api.limits.limiter import Limiter
from ingest_api.limits.requests import RequestLimits
from ingest_api.metrics.api import LIMITED

EVENTS_PATH: Final = "/api/v1/events"
AUTHORIZATIONS_PATH: Final = "/api/v1/authorizations"

_REDIS_SECONDS: Final = 3


class Intake:
    """The two hot routes; they answer between `start` and `stop`."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._events: Events | None = None
        self._pressure: Pressure | None = None
        self._conflicts: ConflictLog | None = None
        self._authorizations: Authorizations | None = None
        self._engine: Engine | None = None
        self._redis: Redis | None = None
        self._listener: Listener | None = None
        self._databases: list[IntakeDatabase] = []
        self._lines: list[AsyncRedisPort | AsyncHoldsPort] = []
        self._limiter: Limiter | None = None
        self._request_limits: RequestLimits | None = None

    @property
    def routes(self) -> list[Route]:
        """Routes that are ASGI applications; put them before those of a framework."""
        return [
            Route(EVENTS_PATH, self._route(EVENTS_PATH, self._on_events), methods=["POST"]),
            Route(
                AUTHORIZATIONS_PATH,
                self._route(AUTHORIZATIONS_PATH, self._on_authorization),
                methods=["POST"],
            ),
        ]

    def _route(self, path: str, handle: http.Handler) -> http.Route:
        return http.Route(handle, self._clock, path, reconsider=self._reconsider, room=self.room)

    def room(self, size: int) -> AbstractContextManager[None]:
        """Room for a body of so many bytes while its request is worked on."""
        return self._pressure.body(size) if self._pressure else nullcontext()

    @property
    def request_limits(self) -> RequestLimits:
        """Who may ask how much, for other doors than the two routes.

        Raises:
            UnavailableError: before `start`.
        """
        if self._request_limits is None:
            raise UnavailableError("The intake is starting.", code="try_again")
        return self._request_limits

    @property
    def authorizations(self) -> Authorizations:
        """Who answers authorisations.

        Raises:
            UnavailableError: before `start`.
        """
        if self._authorizations is None:
            raise starting()
        return self._authorizations

    async def let_in(self, scope: Scope) -> None:
        """Count a request to another route.

        Raises:
            RateLimitedError: if it is one too many.
        """
        if self._request_limits is not None:
            await self._request_limits.let_in(scope)

    async def _reconsider(self, scope: Scope, error: BillingError) -> BillingError:
        limits = self._request_limits
        return await limits.count_stranger(scope, error) if limits else error

    async def start(self) -> None:
        """Connect; what is away is waited for in the background."""
        settings = self._settings
        database_url = settings.require_database_url()
        self._engine = engine = open_engine(database_url, application="billing-intake")
        self._redis = redis = open_async(
            settings.require_redis_url(),
            socket_timeout=_REDIS_SECONDS,
            socket_connect_timeout=_REDIS_SECONDS,
        )
        directory = Directory(engine, settings, self._clock)
        shards = range(settings.shard_count)
        self._limiter = limiter = Limiter(settings, lambda what: LIMITED.labels(what.value).inc())
        self._request_limits = RequestLimits(limiter, directory, settings)
        self._listener = listener = Listener(
            database_url, settings.shard_count, directory.forget, settings.journal_after_ms / 1000
        )
        directory.is_away = lambda: listener.is_away
        listener.start()
        self._databases = [IntakeDatabase(engine, settings, self._clock) for _ in shards]
        self._pressure = pressure = Pressure(settings, redis, listener.marks, self._clock)
        pressure.start()
        self._conflicts = conflicts = ConflictLog(engine, self._clock)
        intakes = [self._shard(shard, redis, listener) for shard in shards]
        self._events = Events(
            directory,
            intakes,
            self._clock,
            limiter,
            conflicts,
            pressure,
        )
        desks = [self._desk(intake, redis, listener) for intake in intakes]
        self._authorizations = Authorizations(
            directory,
            desks,
            self._clock,
            limiter,
            settings.hold_seconds,
        )

    def _shard(self, shard: int, redis: "Redis", listener: Listener) -> ShardIntake:
        port = AsyncRedisPort(redis)
        self._lines.append(port)
        return ShardIntake(
            shard,
            port,
            self._databases[shard],
            listener.marks[shard],
            self._clock,
            look_now=listener.look_now,
            journal_answers=self._settings.journal_answers,
            direct_after=2 * self._settings.direct_after_seconds,
        )

    def _desk(self, intake: ShardIntake, redis: "Redis", listener: Listener) -> HoldDesk:
        port = AsyncHoldsPort(redis)
        self._lines.append(port)
        shard = intake.shard
        return HoldDesk(
            shard,
            port,
            self._databases[shard],
            listener.marks[shard],
            self._clock,
            look_now=listener.look_now,
            consider=intake.consider,
        )

    async def stop(self) -> None:
        """Let go of everything."""
        if self._conflicts is not None:
            await self._conflicts.stop()
        if self._pressure is not None:
            await self._pressure.stop()
        if self._listener is not None:
            await self._listener.stop()
        for line in self._lines:
            await line.close()
        if self._redis is not None:
            await self._redis.aclose()
        if self._limiter is not None:
            await self._limiter.close()
        for database in self._databases:
            await database.close()
        if self._engine is not None:
            await asyncio.to_thread(self._engine.dispose)

    async def _on_events(self, headers: Mapping[str, str], body: bytes) -> http.Answer:
        if self._events is None:
            raise UnavailableError("The intake is starting.", code="try_again")
        return await self._events.handle(headers, body)

    async def _on_authorization(self, headers: Mapping[str, str], body: bytes) -> http.Answer:
        return await self.authorizations.handle(headers, body)


def create_intake_app(settings: Settings | None = None, clock: Clock | None = None) -> Starlette:
    """The hot routes alone: `uvicorn --factory ingest_api.intake.app:create_intake_app`."""
    intake = Intake(settings or Settings.load(), clock)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        configure_logs()
        await intake.start()
        try:
            yield
        finally:
            await intake.stop()

    return Starlette(routes=intake.routes, lifespan=lifespan)
