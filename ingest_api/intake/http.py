"""Reading requests and writing answers by hand: the two hot routes cannot afford a framework."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from time import perf_counter
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog
from psycopg import Error as PostgresError
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError
from starlette.types import Receive, Scope, Send

from billing.clock import Clock
from billing.errors import BillingError, TooSlowError, UnavailableError, UnsupportedError
from billing.failpoints import failpoint
from billing.ids import new_id
from ingest_api.envelope import API_VERSION
from ingest_api.errors import STATUSES, headers_of
from ingest_api.intake.request_body import BODY_SECONDS, ENCODINGS, expected_bytes, read_body
from ingest_api.metrics.api import meter

logger = structlog.get_logger(__name__)

NO_CONTENT: Final = 204

_JSON: Final = (b"content-type", b"application/json")
_encoder: Final = msgspec.json.Encoder()

Handler = Callable[[Mapping[str, str], bytes], Awaitable["Answer"]]
Reconsider = Callable[[Scope, BillingError], Awaitable[BillingError]]


class Answer(msgspec.Struct):
    """What a handler gives back: an HTTP status, the data, and what is said about it.

    With the status `NO_CONTENT` neither data nor meta is sent.
    """

    data: Any
    status: int = 200
    meta: dict[str, Any] = {}
    headers: list[tuple[bytes, bytes]] = []


class Route:
    """An ASGI application of one POST route.

    Args:
        handle: gets the headers and the whole body, decompressed.
        path: by which it is known in the metrics.
        body_seconds: how long a body may take to arrive.
        room: keeps room for a body of so many bytes while the request is worked on.
        reconsider: is told of a failure, and gives the one to answer with.
    """

    def __init__(
        self,
        handle: Handler,
        clock: Clock,
        path: str,
        *,
        room: Callable[[int], AbstractContextManager[None]],
        body_seconds: float = BODY_SECONDS,
        reconsider: Reconsider | None = None,
    ) -> None:
        self._reconsider = reconsider
        self._room = room
        self._meter = meter("POST", path)
        self._handle = handle
        self._clock = clock
        self._body_seconds = body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        began = perf_counter()
        # of several with one name, the first
        headers = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in reversed(scope["headers"])
        }
        extra: list[tuple[bytes, bytes]] = []
        try:
            answer = await self._answer(headers, receive)
            status, content = answer.status, self._success(answer)
            extra = answer.headers
        except BillingError as failure:
            error = await self._reconsider(scope, failure) if self._reconsider else failure
            status, content = STATUSES[error.kind], self._error(scope, error)
            extra = _error_headers(error)
        except Exception:
            logger.exception("unexpected failure", reference=_reference(scope))
            unexpected = BillingError("Something went wrong on our side.", code="unexpected")
            status, content = 500, self._error(scope, unexpected)
        self._meter.count(status, perf_counter() - began)
        failpoint("api.before_answer")
        described = [_JSON, (b"content-length", b"%d" % len(content))] if content else []
        described += extra
        await send({"type": "http.response.start", "status": status, "headers": described})
        failpoint("api.amid_answer")
        await send({"type": "http.response.body", "body": content})

    async def _answer(self, headers: Mapping[str, str], receive: Receive) -> Answer:
        try:
            with self._room(expected_bytes(headers)):
                body = await read_body(headers, receive, seconds=self._body_seconds)
                return await self._handle(headers, body)
        except (SQLAlchemyError, PostgresError, RedisError, OSError) as error:
            logger.warning("a store is away", reason=str(error).partition("\n")[0])
            raise UnavailableError(
                "A part we need is away. Send the same again.", code="try_again"
            ) from error

    def _meta(self, more: dict[str, Any] | None = None) -> dict[str, Any]:
        said = {"timestamp": self._clock.now(), "version": API_VERSION}
        return {**said, **more} if more else said

    def _success(self, answer: Answer) -> bytes:
        if answer.status == NO_CONTENT:
            return b""
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


def _error_headers(error: BillingError) -> list[tuple[bytes, bytes]]:
    if isinstance(error, UnsupportedError) and error.code == "unsupported_encoding":
        return [(b"accept-encoding", ENCODINGS.encode())]
    if isinstance(error, TooSlowError):  # what else may still come belongs to nothing
        return [(b"connection", b"close")]
    return [(name.lower().encode(), value.encode()) for name, value in headers_of(error).items()]
