"""What surrounds every request: its id, the size of its body, the headers of its answer."""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from billing.errors import BillingError, TooLargeError
from billing.ids import new_id
from ingest_api.errors import error_response

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
        hot_routes: by path, applications that POST requests are handed to at once; they read and
            limit the body themselves.
        refusal: says why a request to anything else is not let in, or None.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hot_routes: Mapping[str, ASGIApp],
        refusal: Callable[[Scope], Awaitable[BillingError | None]],
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self._app = app
        self._hot_routes = hot_routes
        self._refusal = refusal
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = new_id()
        scope.setdefault("state", {})["request_id"] = request_id
        if scope["method"] == "POST" and scope["path"] in self._hot_routes:
            await self._hot_routes[scope["path"]](scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = str(request_id)
                for name, value in _PRIVATE.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = await self._refusal(scope)
        body = None if refusal else await self._read(scope, receive)
        if body is None:
            too_large = TooLargeError(f"A request body may have {self._max_body_bytes} bytes.")
            refused = error_response(Request(scope), refusal or too_large)
            await refused(scope, receive, send_with_headers)
            return
        await self._app(scope, _replay(body, receive), send_with_headers)

    async def _read(self, scope: Scope, receive: Receive) -> list[Message] | None:
        """The messages that carry the body, or None if it is too large."""
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isdecimal() or int(declared) > self._max_body_bytes:
            return None
        messages: list[Message] = []
        size = 0
        while True:
            message = await receive()
            messages.append(message)
            size += len(message.get("body", b""))
            if size > self._max_body_bytes:
                return None
            if message["type"] != "http.request" or not message.get("more_body", False):
                return messages


def _replay(messages: Iterable[Message], receive: Receive) -> Receive:
    waiting = deque(messages)

    async def again() -> Message:
        return waiting.popleft() if waiting else await receive()

    return again
