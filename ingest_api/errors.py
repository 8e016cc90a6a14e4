"""The one place where a failure becomes an HTTP answer."""

from collections.abc import Iterable, Mapping
from typing import Any, Final
from uuid import UUID

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException

from billing.errors import (
    BillingError,
    ConflictError,
    ErrorKind,
    FieldError,
    InvalidError,
    RateLimitedError,
    UnavailableError,
)
from billing.ids import new_id
from ingest_api.envelope import ErrorAnswer, FieldProblem, Meta, Problem
from ingest_api.field_errors import field_errors
from ingest_api.services import services_of

logger = structlog.get_logger(__name__)

STATUSES: Final[Mapping[ErrorKind, int]] = {
    ErrorKind.INVALID: 400,
    ErrorKind.UNAUTHENTICATED: 401,
    ErrorKind.FORBIDDEN: 403,
    ErrorKind.NOT_FOUND: 404,
    ErrorKind.CONFLICT: 409,
    ErrorKind.PRECONDITION: 409,
    ErrorKind.TOO_LARGE: 413,
    ErrorKind.TOO_SLOW: 408,
    ErrorKind.UNSUPPORTED: 415,
    ErrorKind.RATE_LIMITED: 429,
    ErrorKind.UNAVAILABLE: 503,
}

RETRY_AFTER_SECONDS: Final = 2

_ERROR: Final = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}}
"""By name: a model of its own for each status of each route would take seconds to build."""

RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    400: {"content": _ERROR, "description": "Wrong input; `fields` says what to correct."},
    401: {"content": _ERROR, "description": "No API key, or not a valid one."},
    403: {"content": _ERROR, "description": "The role of this key may not do this."},
    404: {"content": _ERROR, "description": "There is no such resource, or not for this key."},
    409: {"content": _ERROR, "description": "It contradicts what is there, or comes too late."},
    413: {"content": _ERROR, "description": "The body is too large."},
    429: {"content": _ERROR, "description": "Too many; `Retry-After` says when to come back."},
    500: {"content": _ERROR, "description": "Our mistake; quote `reference`."},
    503: {"content": _ERROR, "description": "A part we need is away; send it again."},
    "default": {"model": ErrorAnswer, "description": "Any other failure."},
}
"""Declared on every operation, so that the OpenAPI document shows them."""

_HTTP_CODES: Final = {404: "no_such_route", 405: "method_not_allowed", 413: "too_large"}

_RETRIABLE_STATES: Final = ("40001", "40P01", "53", "55P03", "57")
"""SQLSTATEs, or their classes: serialisation, deadlock, resources, lock timeout, intervention."""
_CONFLICT_STATES: Final = ("23505", "23P01", "23001", "23503")
"""Unique, exclusion, restrict and foreign key: another request was there first."""
_INVALID_STATES: Final = ("22", "23502", "23514")
"""A value that the database cannot or must not hold."""


def install_error_handlers(app: FastAPI) -> None:
    """Let every failure of the application leave in the envelope."""
    app.add_exception_handler(BillingError, _on_billing_error)
    app.add_exception_handler(RequestValidationError, _on_wrong_input)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(DBAPIError, _on_database_error)
    app.add_exception_handler(PoolTimeoutError, _on_database_error)
    app.add_exception_handler(Exception, _on_unexpected)


def reference_of(request: Request) -> UUID:
    """The id under which this request stands in our logs."""
    reference: UUID = request.scope.get("state", {}).get("request_id") or new_id()
    return reference


def error_response(request: Request, error: BillingError) -> JSONResponse:
    """An expected failure as an answer."""
    return _answer(
        request,
        STATUSES[error.kind],
        error.code,
        error.message,
        fields=error.fields,
        details=error.details,
        headers=headers_of(error),
    )


def headers_of(error: BillingError) -> dict[str, str]:
    """What the headers of an answer say of a failure."""
    if isinstance(error, RateLimitedError):
        return {
            "Retry-After": str(error.retry_after_seconds),
            "RateLimit-Limit": str(error.limit),
            "RateLimit-Remaining": "0",
            "RateLimit-Reset": str(error.retry_after_seconds),
        }
    if error.kind is ErrorKind.UNAVAILABLE:
        return {"Retry-After": str(RETRY_AFTER_SECONDS)}
    if error.kind is ErrorKind.UNAUTHENTICATED:
        return {"WWW-Authenticate": "Bearer"}
    return {}


def _answer(
    request: Request,
    status: int,
    code: str,
    message: str,
    *,
    fields: Iterable[FieldError] = (),
    details: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    answer = ErrorAnswer(
        error=Problem(
            code=code,
            message=message,
            fields=[FieldProblem(field=wrong.field, message=wrong.message) for wrong in fields],
            details=dict(details or {}),
            reference=reference_of(request),
        ),
        meta=Meta(timestamp=services_of(request).clock.now()),
    )
    return JSONResponse(answer.model_dump(mode="json"), status_code=status, headers=headers)


def _on_billing_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, BillingError)  # noqa: S101 - registered for this type
    return error_response(request, error)


def _on_wrong_input(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this type
    fields = field_errors(error.errors())
    return error_response(
        request, InvalidError("The request is not valid.", code="invalid_request", fields=fields)
    )


def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type
    if error.status_code == 400:
        unreadable = [FieldError("body", "is not JSON in UTF-8, or is nested too deeply")]
        return error_response(
            request, InvalidError(str(error.detail), code="unreadable_body", fields=unreadable)
        )
    code = _HTTP_CODES.get(error.status_code, "refused")
    message = {
        404: f"There is nothing at {request.url.path}.",
        405: f"{request.method} is not possible on {request.url.path}.",
    }.get(error.status_code, str(error.detail))
    return _answer(request, error.status_code, code, message, headers=error.headers)


def _on_database_error(request: Request, error: Exception) -> JSONResponse:
    """What the database refused after everything we check, and trouble with reaching it."""
    state = str(getattr(getattr(error, "orig", None), "sqlstate", None) or "")
    # Without the traceback: its message carries the values of the statement.
    logger.warning("database refused", sqlstate=state, reference=str(reference_of(request)))
    if state.startswith(_CONFLICT_STATES):
        expected: BillingError = ConflictError(
            "Another request changed this at the same time, or it is already there.",
            code="conflicting_write",
        )
    elif state.startswith(_INVALID_STATES) or _is_unstorable_text(error):
        expected = InvalidError("A value is not one the database can hold.", code="unstorable")
    elif not state or state.startswith(_RETRIABLE_STATES):
        expected = UnavailableError(
            "The database is busy or away, and nothing was changed. Try again.",
            code="database_away",
        )
    else:
        return _on_unexpected(request, error)
    return error_response(request, expected)


def _is_unstorable_text(error: Exception) -> bool:
    return isinstance(error, DBAPIError) and "NUL" in str(error.orig)


def _on_unexpected(request: Request, error: Exception) -> JSONResponse:
    """Say nothing of the inside; the reference finds the traceback in the log."""
    reference = reference_of(request)
    logger.error("unexpected failure", reference=str(reference), exc_info=error)
    response = _answer(
        request,
        500,
        "unexpected",
        "Something went wrong on our side. Quote the reference when you report it.",
    )
    response.headers["X-Request-Id"] = str(reference)
    return response
