"""The error tree of the domain.

An error carries a stable `code`, a `kind` that the API maps to an HTTP status in one place, a
sentence for a person, and optional errors per field. HTTP itself is unknown here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class ErrorKind(StrEnum):
    """What went wrong, from the caller's point of view."""

    INVALID = "invalid"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    PRECONDITION = "precondition"
    TOO_LARGE = "too_large"
    TOO_SLOW = "too_slow"
    UNSUPPORTED = "unsupported"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong field: its path (`charges.0.rates.1.unit_price`) and what to do about it."""

    field: str
    message: str


class BillingError(Exception):
    """Base of every expected failure."""

    kind = ErrorKind.INVALID
    code = "invalid"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        fields: Sequence[FieldError] = (),
        details: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.fields = tuple(fields)
        self.details = dict(details or {})


class InvalidError(BillingError):
    """The input is wrong and will stay wrong."""

    kind = ErrorKind.INVALID
    code = "invalid"


class UnauthenticatedError(BillingError):
    """Nobody we know is asking."""

    kind = ErrorKind.UNAUTHENTICATED
    code = "unauthenticated"


class ForbiddenError(BillingError):
    """We know who is asking, and they may not."""

    kind = ErrorKind.FORBIDDEN
    code = "forbidden"


class NotFoundError(BillingError):
    """There is no such thing, or not for this actor."""

    kind = ErrorKind.NOT_FOUND
    code = "not_found"


class ConflictError(BillingError):
    """It contradicts what is already there."""

    kind = ErrorKind.CONFLICT
    code = "conflict"


class PreconditionError(BillingError):
    """Right in itself, but not in this state."""

    kind = ErrorKind.PRECONDITION
    code = "precondition"


class TooLargeError(BillingError):
    """More than one request may carry."""

    kind = ErrorKind.TOO_LARGE
    code = "too_large"


class TooSlowError(BillingError):
    """The request did not arrive in the time it may take."""

    kind = ErrorKind.TOO_SLOW
    code = "too_slow"


class UnsupportedError(BillingError):
    """Written in a format that nobody here reads."""

    kind = ErrorKind.UNSUPPORTED
    code = "unsupported"


class RateLimitedError(BillingError):
    """More than the caller may have; the same request may be sent again after a while.

    Args:
        limit: how many a minute.
        retry_after_seconds: when it may be tried again.
    """

    kind = ErrorKind.RATE_LIMITED
    code = "rate_limited"

    def __init__(self, message: str, *, limit: int, retry_after_seconds: int) -> None:
        super().__init__(
            message,
            details={"limit_per_minute": limit, "retry_after_seconds": retry_after_seconds},
        )
        self.limit = limit
        self.retry_after_seconds = retry_after_seconds


class UnavailableError(BillingError):
    """A part we need is away; the same request may be sent again."""

    kind = ErrorKind.UNAVAILABLE
    code = "unavailable"


def not_found(what: str, identifier: object) -> NotFoundError:
    """The usual sentence for a missing resource."""
    return NotFoundError(f"There is no {what} {identifier}.", details={what: str(identifier)})
