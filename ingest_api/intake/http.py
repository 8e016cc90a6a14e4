"""Reading requests and writing answers by hand: the two hot routes cannot afford a framework."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog
from psycopg import Error as PostgresError
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from billing.clock import Clock
from billing.errors import BillingError, InvalidError, TooLargeError, UnavailableError
from billing.ids import new_id
from billing.usage.body import MAX_BYTES
from ingest_api.envelope import API_VERSION
from ingest_api.errors import RETRY_AFTER_SECONDS, STATUSES

logger = structlog.get_logger(__name__)

_BODY_SECONDS: Final = 10.0
_encoder: Final = msgspec.json.Encoder()

Handler = Callable[[Headers, bytes], Awaitable["Answer"]]


class Answer(msgspec.Struct):
    """What a handler gives back: an HTTP status, the data, and what is said about it."""

    data: Any
    status: int = 200
    meta: dict[str, Any] = {}
    headers: list[tuple[bytes, bytes]] = []


class Route:
    """An ASGI application of one POST route.

    Args:
        handle: gets the headers and the whole body.
    """

    def __init__(self, handle: Handler, clock: Clock) -> None:
        self._handle = handle
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = Headers(scope=scope)
        extra: list[tuple[bytes, bytes]] = []
        try:
            answer = await self._answer(headers, receive)
            status, content = answer.status, self._success(answer)
            extra = answer.headers
        except BillingError as error:
            status, content = STATUSES[error.kind], self._error(scope, error)
            if isinstance(error, UnavailableError):
                extra = [(b"retry-after", str(RETRY_AFTER_SECONDS).encode())]
        except Exception:
            logger.exception("unexpected failure", reference=_reference(scope))
            unexpected = BillingError("Something went wrong on our side.", code="unexpected")
            status, content = 500, self._error(scope, unexpected)
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    (b"content-type", b"application/json"),
                    (b"content-length", str(len(content)).encode()),
                    *extra,
                ],
            }
        )
        await send({"type": "http.response.body", "body": content})

    async def _answer(self, headers: Headers, receive: Receive) -> Answer:
        body = await _read(headers, receive)
        try:
            return await self._handle(headers, body)
        except (SQLAlchemyError, PostgresError, RedisError, OSError) as error:
            logger.warning("a store is away", reason=str(error).partition("\n")[0])
            raise UnavailableError(
                "A part we need is away. Send the same again.", code="try_again"
            ) from error

    def _meta(self, more: dict[str, Any] | None = None) -> dict[str, Any]:
        return {"timestamp": self._clock.now(), "version": API_VERSION, **(more or {})}

    def _success(self, answer: Answer) -> bytes:
        return _encoder.encode(
            {"status": "success", "data": answer.data, "meta": self._meta(answer.meta)}
        )

    def _error(self, scope: Scope, error: BillingError) -> bytes:
        return _encoder.encode(
            {
                "status": "error",
                "error": {
                    "code": error.code,
                    "message": error.message,
                    "fields": error.fields,
                    "details": error.details,
                    "reference": _reference(scope),
                },
                "meta": self._meta(),
            }
        )


def _reference(scope: Scope) -> str:
    found = scope.get("state", {}).get("request_id")
    return str(found if isinstance(found, UUID) else new_id())


async def _read(headers: Headers, receive: Receive) -> bytes:
    """The whole body, unless it is too long, compressed or too slow."""
    if headers.get("content-encoding", "identity") != "identity":
        raise InvalidError("Send the body uncompressed.", code="unsupported_encoding")
    declared = headers.get("content-length", "0")
    if not declared.isdecimal() or int(declared) > MAX_BYTES:
        raise _too_large()
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise InvalidError("The body ended too early.", code="incomplete_body")
                part = message.get("body", b"")
                size += len(part)
                if size > MAX_BYTES:
                    raise _too_large()
                parts.append(part)
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError:
        raise InvalidError("The body came too slowly.", code="body_too_slow") from None


def _too_large() -> TooLargeError:
    return TooLargeError(f"A request may have {MAX_BYTES} bytes; send smaller batches.")
