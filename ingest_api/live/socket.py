"""One live connection, from the key to the last word."""

import asyncio
import contextlib
from enum import IntEnum
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.clock import Clock
from billing.errors import (
    BillingError,
    ErrorKind,
    InvalidError,
    NotFoundError,
    UnauthenticatedError,
    UnavailableError,
)
from billing.settings import Settings
from ingest_api.intake.directory import Directory
from ingest_api.limits.limiter import Limiter, What
from ingest_api.live.hub import READ_SECONDS, Hub, Watch
from ingest_api.live.messages import (
    Authenticate,
    Message,
    Ping,
    Subscribe,
    accounts_message,
    error_message,
    heartbeat_message,
    read_message,
)
from ingest_api.metrics.api import SOCKETS_CLOSED

logger = structlog.get_logger(__name__)

_WHO: Final = "Say who you are: send your API key."
_FIRST_WORD_SECONDS: Final = 10.0


class Close(IntEnum):
    """Why we close a connection."""

    NOT_VALID = 4400
    UNAUTHENTICATED = 4401
    FORBIDDEN = 4403
    NOT_FOUND = 4404
    TOO_LATE = 4408
    TOO_SLOW = 4413
    RATE_LIMITED = 4429
    TRY_LATER = 1013
    UNEXPECTED = 1011


_CODES: Final = {
    ErrorKind.INVALID: Close.NOT_VALID,
    ErrorKind.UNAUTHENTICATED: Close.UNAUTHENTICATED,
    ErrorKind.FORBIDDEN: Close.FORBIDDEN,
    ErrorKind.NOT_FOUND: Close.NOT_FOUND,
    ErrorKind.RATE_LIMITED: Close.RATE_LIMITED,
    ErrorKind.TOO_SLOW: Close.TOO_LATE,
}


class LiveSocket:
    """Serves one connection; `run` returns when it is over."""

    def __init__(
        self,
        socket: WebSocket,
        hub: Hub,
        directory: Directory,
        limiter: Limiter,
        clock: Clock,
        settings: Settings,
    ) -> None:
        self._heartbeat_seconds = settings.live_heartbeat_seconds
        self._send_seconds = settings.live_send_seconds
        self._cursor = ""
        self._socket = socket
        self._hub = hub
        self._directory = directory
        self._limiter = limiter
        self._clock = clock
        self._header = socket.headers.get("authorization")
        self._watch: Watch | None = None
        self._subscribed = asyncio.Event()
        self._send_lock = asyncio.Lock()

    async def run(self) -> BillingError | None:
        """Talk until one side ends it; returns why, if it was for something expected."""
        try:
            await self._socket.accept()
            await self._find_out_who()
            await self._serve()
        except WebSocketDisconnect:
            return None
        except BillingError as error:
            await self.end(_CODES.get(error.kind, Close.TRY_LATER), error)
            return error
        except TimeoutError:
            await self.end(Close.TOO_SLOW, None)
        except (SQLAlchemyError, OSError):
            away = UnavailableError("The accounts cannot be read now.", code="try_again")
            await self.end(Close.TRY_LATER, away)
        except Exception:
            logger.exception("live connection failed")
            await self.end(Close.UNEXPECTED, None)
        finally:
            if self._watch is not None:
                self._hub.forget(self._watch)
        return None

    async def _find_out_who(self) -> None:
        if self._header is None:
            try:
                async with asyncio.timeout(_FIRST_WORD_SECONDS):
                    message = await self._hear()
            except TimeoutError:
                raise UnauthenticatedError(_WHO) from None
            if not isinstance(message, Authenticate):
                raise UnauthenticatedError(_WHO)
            self._header = f"Bearer {message.key}"
        await self._enter()

    async def _enter(self) -> None:
        actor = await self._actor()
        await self._limiter.spend(actor, What.REQUESTS, 1)

    async def _actor(self) -> Actor:
        """Who it is, as of now: a key that was revoked ends the connection."""
        actor = await self._directory.actor(self._header)
        actor.require(Permission.WALLETS_READ)
        actor.require(Permission.USAGE_READ)
        return actor

    async def _serve(self) -> None:
        """Listen and speak at once, until one of both ends."""
        tasks = {asyncio.create_task(self._listen()), asyncio.create_task(self._tell())}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    async def _listen(self) -> None:
        while True:
            await self._answer(await self._hear())

    async def _hear(self) -> Message:
        received = await self._socket.receive()
        if received["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(received.get("code", 1005))
        return read_message(received.get("text") or received.get("bytes") or "")

    async def _answer(self, message: Message) -> None:
        match message:
            case Subscribe():
                await self._subscribe(message)
            case Ping():
                await self._beat()
            case Authenticate():
                raise InvalidError("You have said who you are.", code="already_authenticated")

    async def _subscribe(self, message: Subscribe) -> None:
        actor = await self._actor()
        await self._limiter.spend(actor, What.REQUESTS, 1)
        for account_id in message.accounts:
            found = await self._directory.account(
                actor, str(account_id), self._clock.now(), by_alias=False
            )
            if found is None:
                raise NotFoundError(
                    f"There is no account {account_id}.", details={"account_id": str(account_id)}
                )
        after = message.after if isinstance(message.after, str) else None
        # nobody else may speak until the snapshot is out: changes come behind it
        async with self._send_lock:
            begun = await self._hub.watch(set(message.accounts), after)
            before, self._watch = self._watch, begun.watch
            if before is not None:
                self._hub.forget(before)
                before.wake.set()
            self._cursor = begun.cursor
            told = accounts_message("snapshot", begun.cursor, begun.accounts, resumed=begun.goes_on)
            await self._send_now(told)
        self._subscribed.set()

    async def _tell(self) -> None:
        """Pass changes on, and a heartbeat when there are none."""
        try:
            async with asyncio.timeout(_FIRST_WORD_SECONDS):
                await self._subscribed.wait()
        except TimeoutError:
            raise InvalidError("Subscribe to accounts.", code="nothing_subscribed") from None
        while True:
            watch = self._watch
            assert watch is not None  # noqa: S101 - something is subscribed
            try:
                async with asyncio.timeout(self._heartbeat_seconds):
                    await watch.wake.wait()
            except TimeoutError:
                await self._actor()
                await self._beat()
                continue
            async with self._send_lock:
                if watch is self._watch:
                    changed, self._cursor = watch.take(), self._hub.cursor
                    await self._send_now(accounts_message("changes", self._cursor, changed))
            await asyncio.sleep(READ_SECONDS)

    async def _beat(self) -> None:
        async with self._send_lock:
            if self._watch is not None and not self._watch.changed:
                self._cursor = self._hub.cursor
            await self._send_now(heartbeat_message(self._cursor, self._clock.now()))

    async def _send_now(self, text: str) -> None:
        async with asyncio.timeout(self._send_seconds):
            await self._socket.send_text(text)

    async def end(self, code: Close, error: BillingError | None) -> None:
        """Say why, and close."""
        SOCKETS_CLOSED.labels(str(code.value)).inc()
        if self._socket.client_state is not WebSocketState.CONNECTED:
            return
        with contextlib.suppress(TimeoutError, RuntimeError, WebSocketDisconnect, OSError):
            async with asyncio.timeout(1):
                if error is not None:
                    await self._socket.send_text(error_message(error))
                reason = error.code if error else code.name.lower()
                await self._socket.close(code.value, reason)
