"""API keys: issuing, revoking, and telling who stands behind one.

A key reads `otpb_<prefix>_<secret>`. The prefix finds the row; the secret is 256 random bits that
are shown once and stored only as an HMAC under the installation's pepper.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pydantic import AwareDatetime, Field
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.limits import limits_of
from billing.access.roles import Permission, Role
from billing.access.tables import ApiKey
from billing.clock import Clock
from billing.commands import Context, Request, command
from billing.customers.tables import Customer
from billing.db.locks import lock_for_transaction
from billing.errors import (
    ConflictError,
    FieldError,
    InvalidError,
    UnauthenticatedError,
    not_found,
)
from billing.settings import Settings

_SCHEME = "otpb"
_PREFIX_BYTES = 6
_SECRET_BYTES = 32
MOST_PER_LIMIT = 10_000_000


class CreateApiKey(Request):
    """A key for a person or a service; `customer_id` confines it to one customer's data."""

    name: str = Field(min_length=1, max_length=100)
    role: Role
    customer_id: UUID | None = None
    expires_at: AwareDatetime | None = None
    events_per_second: int | None = Field(default=None, ge=1, le=MOST_PER_LIMIT)
    requests_per_minute: int | None = Field(default=None, ge=1, le=MOST_PER_LIMIT)


class LimitApiKey(Request):
    """Set how much a key may send and ask; null is what every key may."""

    api_key_id: UUID
    events_per_second: int | None = Field(ge=1, le=MOST_PER_LIMIT)
    requests_per_minute: int | None = Field(ge=1, le=MOST_PER_LIMIT)


class RevokeApiKey(Request):
    """End a key at once."""

    api_key_id: UUID


@dataclass(frozen=True, slots=True)
class KeySecret:
    """The text of a new key, before anything of it is stored."""

    prefix: str
    secret: str

    @property
    def text(self) -> str:
        """What the holder sends."""
        return f"{_SCHEME}_{self.prefix}_{self.secret}"


def new_secret() -> KeySecret:
    """A fresh random key text."""
    return KeySecret(secrets.token_hex(_PREFIX_BYTES), secrets.token_hex(_SECRET_BYTES))


def create_api_key(
    ctx: Context, request: CreateApiKey, settings: Settings
) -> tuple[ApiKey, str | None]:
    """Issue a key, and return it with its text.

    The text exists only in this answer: repeated with the same idempotency key, the answer is the
    same key without its text.
    """
    secret = new_secret()
    key = _create_api_key(ctx, request, stored=_Stored(secret.prefix, _hmac(secret, settings)))
    return key, secret.text if key.prefix == secret.prefix else None


@dataclass(frozen=True, slots=True)
class _Stored:
    prefix: str
    secret_hmac: bytes


@command("api_key.create", Permission.ACCESS_WRITE, unhashed=("stored",))
def _create_api_key(ctx: Context, request: CreateApiKey, *, stored: _Stored) -> ApiKey:
    if (request.role is Role.CUSTOMER) != (request.customer_id is not None):
        raise InvalidError(
            "A customer's key names its customer, and no other key does.",
            fields=[FieldError("customer_id", "set it exactly for the role customer")],
        )
    if request.customer_id and ctx.session.get(Customer, request.customer_id) is None:
        raise not_found("customer", request.customer_id)
    _require_same_holder(ctx.session, request)
    key = ApiKey(
        prefix=stored.prefix,
        secret_hmac=stored.secret_hmac,
        name=request.name,
        role=request.role,
        customer_id=request.customer_id,
        created_at=ctx.clock.now(),
        expires_at=request.expires_at,
        events_per_second=request.events_per_second,
        requests_per_minute=request.requests_per_minute,
    )
    ctx.session.add(key)
    return key


def _require_same_holder(session: Session, request: CreateApiKey) -> None:
    """A name stands for one holder, over all its keys: repeated requests are known by it.

    Otherwise the idempotency key of one customer could answer with what another had asked for.
    """
    lock_for_transaction(session, f"api_key:{request.name}")
    others = select(ApiKey).where(
        ApiKey.name == request.name,
        or_(
            ApiKey.role != request.role,
            ApiKey.customer_id.is_distinct_from(request.customer_id),
        ),
    )
    if session.scalars(others.limit(1)).first() is not None:
        raise ConflictError(
            f"The name {request.name} belongs to another holder; choose another.",
            code="name_taken",
        )


@command("api_key.limit", Permission.ACCESS_WRITE)
def limit_api_key(ctx: Context, request: LimitApiKey) -> ApiKey:
    """Set the limits of a key; they hold within seconds."""
    key = ctx.session.get(ApiKey, request.api_key_id, with_for_update=True)
    if key is None:
        raise not_found("API key", request.api_key_id)
    key.events_per_second = request.events_per_second
    key.requests_per_minute = request.requests_per_minute
    return key


@command("api_key.revoke", Permission.ACCESS_WRITE)
def revoke_api_key(ctx: Context, request: RevokeApiKey) -> ApiKey:
    """End a key; revoking it again changes nothing."""
    key = ctx.session.get(ApiKey, request.api_key_id, with_for_update=True)
    if key is None:
        raise not_found("API key", request.api_key_id)
    key.revoked_at = key.revoked_at or ctx.clock.now()
    return key


def list_api_keys(session: Session, actor: Actor) -> Sequence[ApiKey]:
    """All keys, newest first; never their secrets."""
    actor.require(Permission.ACCESS_WRITE)
    return session.scalars(select(ApiKey).order_by(ApiKey.id.desc())).all()


def authenticate(session: Session, key_text: str, settings: Settings, clock: Clock) -> Actor:
    """Who stands behind a key.

    Raises:
        UnauthenticatedError: if the key is unknown, wrong, expired or revoked; which of these is
            not said, because the difference helps only whoever guesses.
    """
    scheme, _, rest = key_text.partition("_")
    prefix, _, secret = rest.partition("_")
    row = session.scalars(select(ApiKey).filter_by(prefix=prefix)).one_or_none()
    expected = row.secret_hmac if row else bytes(32)
    given = _hmac(KeySecret(prefix, secret), settings)
    matches = hmac.compare_digest(expected, given)
    if row is None or not matches or scheme != _SCHEME or not _is_in_force(row, clock.now()):
        raise UnauthenticatedError("The API key is not valid. Ask for a new one.")
    return Actor(
        name=f"key:{row.name}",
        role=row.role,
        customer_id=row.customer_id,
        limits=limits_of(session, row, settings, clock.now()),
    )


def _is_in_force(key: ApiKey, now: datetime) -> bool:
    return key.revoked_at is None and (key.expires_at is None or now < key.expires_at)


def _hmac(secret: KeySecret, settings: Settings) -> bytes:
    pepper = settings.secret_pepper.get_secret_value().encode()
    return hmac.new(pepper, f"{secret.prefix}_{secret.secret}".encode(), hashlib.sha256).digest()
