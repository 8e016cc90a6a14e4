"""What surrounds every request: its id, the size of its body, the headers of its answer."""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractContextManager
from time import perf_counter
from typing import Final

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from billing.errors import BillingError, TooLargeError
from billing.ids import new_id
from ingest_api.errors import error_response
from ingest_api.metrics.api import meter

MAX_BODY_BYTES: Final = 4 * 1024 * 1024
"""A plan version with five thousand rates has about one megabyte."""

_PRIVATE: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}


class Gateway:
    """ASGI middleware around the whole application.

    Bodies are read whole before the application sees them, so that too large a one is refused in
    the envelope, whether or not it declared its length.

    Args:
        let_in: raises a BillingError if a request to anything else is not let in.
        room: keeps room for a body of so many bytes while the request is worked on.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        let_in: Callable[[Scope], Awaitable[None]],
        room: Callable[[int], AbstractContextManager[None]],
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self._app = app
        self._let_in = let_in
        self._room = room
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = new_id()
        scope.setdefault("state", {})["request_id"] = request_id
        began = perf_counter()

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = str(request_id)
                for name, value in _PRIVATE.items():
                    headers.setdefault(name, value)
                _count(scope, message["status"], began)
            await send(message)

        try:
            await self._let_in(scope)
            with self._room(self._expected_bytes(scope)):
                body = await self._read(scope, receive)
                await self._app(scope, _replay(body, receive), send_with_headers)
        except BillingError as error:
            await error_response(Request(scope), error)(scope, receive, send_with_headers)
        except Exception:
            _count(scope, 500, began)  # it is answered outside of us
            raise

    def _expected_bytes(self, scope: Scope) -> int:
        """How much memory the body may take."""
        headers = Headers(scope=scope)
        declared = headers.get("content-length", "0")
        if "transfer-encoding" in headers or not declared.isdecimal():
            return self._max_body_bytes
        return min(int(declared[:20]), self._max_body_bytes)

    async def _read(self, scope: Scope, receive: Receive) -> list[Message]:
        """The messages that carry the body."""
        too_large = TooLargeError(f"A request body may have {self._max_body_bytes} bytes.")
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isdecimal() or int(declared[:20]) > self._max_body_bytes:
            raise too_large
        messages: list[Message] = []
        size = 0
        while True:
            message = await receive()
            messages.append(message)
            size += len(message.get("body", b""))
            if size > self._max_body_bytes:
                raise too_large
            if message["type"] != "http.request" or not message.get("more_body", False):
                return messages


def _count(scope: Scope, status: int, began: float) -> None:
    route = getattr(scope.get("route"), "path_format", None)
    meter(scope["method"], route).count(status, perf_counter() - began)


def _replay(messages: Iterable[Message], receive: Receive) -> Receive:
    waiting = deque(messages)

    async def again() -> Message:
        return waiting.popleft() if waiting else await receive()

    return again
