"""API keys: issued once, shown once, revoked at once."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body
from pydantic import Field

from billing.access.actor import Actor
from billing.access.roles import Permission, Role
from billing.access.service import (
    MOST_PER_LIMIT,
    CreateApiKey,
    LimitApiKey,
    RevokeApiKey,
    create_api_key,
    limit_api_key,
    list_api_keys,
    revoke_api_key,
)
from billing.access.tables import ApiKey
from billing.commands import Request
from ingest_api.auth import needs
from ingest_api.dependencies import Commands, CurrentServices, Envelope, ReadSession
from ingest_api.envelope import Answer, Attributes, ListAnswer, Resource, refer

router = APIRouter(prefix="/api-keys", tags=["access"])

Keeper = Annotated[Actor, needs(Permission.ACCESS_WRITE)]


class ApiKeyAttributes(Attributes):
    """A credential, without its secret."""

    name: str
    prefix: str
    role: Role
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    events_per_second: int | None
    """None: what every key may."""
    requests_per_minute: int | None


class Limits(Request):
    """How much a key may send and ask; null is what every key may."""

    events_per_second: int | None = Field(ge=1, le=MOST_PER_LIMIT)
    requests_per_minute: int | None = Field(ge=1, le=MOST_PER_LIMIT)


class IssuedKeyAttributes(ApiKeyAttributes):
    """A new credential."""

    key: str | None = Field(
        description="The text to send. It is shown in this answer only: repeated with the same "
        "idempotency key it is null, and a lost key is replaced by a new one."
    )


def api_key_resource(row: ApiKey) -> Resource[ApiKeyAttributes]:
    """A key as the API shows it."""
    return Resource(
        id=str(row.id),
        type="api_key",
        attributes=ApiKeyAttributes.model_validate(row),
        relationships=refer(customer=("customer", row.customer_id)),
    )


@router.get("", summary="List API keys")
def list_all(session: ReadSession, actor: Keeper, reply: Envelope) -> ListAnswer[ApiKeyAttributes]:
    """All keys, the newest first; never their secrets."""
    return reply.all(list_api_keys(session, actor), api_key_resource)


@router.post("", status_code=201, summary="Issue an API key")
def create(
    ctx: Commands,
    services: CurrentServices,
    _: Keeper,
    reply: Envelope,
    body: Annotated[CreateApiKey, Body(examples=[{"name": "otpless-core", "role": "sender"}])],
) -> Answer[IssuedKeyAttributes]:
    """Issue a key for a person or a service; its text is in this answer and nowhere else."""
    row, text = create_api_key(ctx, body, services.settings)
    attributes = IssuedKeyAttributes(**ApiKeyAttributes.model_validate(row).model_dump(), key=text)
    return reply.one(
        Resource(
            id=str(row.id),
            type="api_key",
            attributes=attributes,
            relationships=refer(customer=("customer", row.customer_id)),
        )
    )


@router.put("/{api_key_id}/limits", summary="Limit an API key")
def limit(
    ctx: Commands,
    _: Keeper,
    reply: Envelope,
    api_key_id: UUID,
    body: Annotated[
        Limits, Body(examples=[{"events_per_second": 2000, "requests_per_minute": None}])
    ],
) -> Answer[ApiKeyAttributes]:
    """Set how many events and requests a key may send; they hold within seconds."""
    request = LimitApiKey(api_key_id=api_key_id, **body.model_dump())
    return reply.one(api_key_resource(limit_api_key(ctx, request)))


@router.post("/{api_key_id}/revoke", summary="Revoke an API key")
def revoke(ctx: Commands, _: Keeper, reply: Envelope, api_key_id: UUID) -> Answer[ApiKeyAttributes]:
    """End a key at once."""
    return reply.one(api_key_resource(revoke_api_key(ctx, RevokeApiKey(api_key_id=api_key_id))))
