"""All live connections of a process."""

import asyncio
from typing import Final

from sqlalchemy import Engine
from starlette.websockets import WebSocket

from billing.clock import Clock
from billing.errors import RateLimitedError, UnauthenticatedError, UnavailableError
from billing.settings import Settings
from ingest_api.limits.requests import RequestLimits
from ingest_api.live.hub import Hub
from ingest_api.live.socket import Close, LiveSocket
from ingest_api.metrics.api import SOCKETS

LIVE_PATH: Final = "/api/v1/live"


class LiveView:
    """Lets connections in, as many as there is room for."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        requests: RequestLimits,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._hub = Hub(engine, settings.require_database_url(), clock)
        self._requests = requests
        self._clock = clock
        self._open: set[asyncio.Task[object]] = set()

    async def serve(self, socket: WebSocket) -> None:
        """Serve one connection to its end."""
        one = LiveSocket(
            socket,
            self._hub,
            self._requests.directory,
            self._requests.limiter,
            self._clock,
            self._settings,
        )
        if len(self._open) >= self._settings.most_live_connections:
            await socket.accept()
            full = UnavailableError("There are too many live connections.", code="busy")
            await one.end(Close.TRY_LATER, full)
            return
        task = asyncio.create_task(one.run())
        self._open.add(task)
        SOCKETS.set(len(self._open))
        try:
            error = await task
        finally:
            self._open.discard(task)
            SOCKETS.set(len(self._open))
        if isinstance(error, UnauthenticatedError):
            counted = await self._requests.count_stranger(socket.scope, error)
            if isinstance(counted, RateLimitedError):
                await asyncio.sleep(1)  # whoever guesses keys does so slowly

    async def stop(self) -> None:
        """End what is left; the server has said goodbye to the clients."""
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._hub.stop()
