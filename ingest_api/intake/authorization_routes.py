"""One authorisation: what became of its hold, and letting it go."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Request

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.wallets.holds import HoldState
from ingest_api.auth import needs
from ingest_api.dependencies import Envelope
from ingest_api.envelope import Amount, Answer, Attributes, Resource, refer
from ingest_api.intake.authorizations import Authorizations

router = APIRouter(prefix="/authorizations", tags=["authorizations"])

Sender = Annotated[Actor, needs(Permission.USAGE_SEND)]
Name = Annotated[
    str,
    Path(
        pattern=r"^[0-9a-f-]{36}:[A-Za-z0-9_.-]{1,64}$",
        description="The id that the answer gave: the account's id, a colon, and your own.",
    ),
]


class AuthorizationAttributes(Attributes):
    """What is held, or was: it ends once, and is forgotten some minutes later."""

    state: HoldState
    price: Amount
    currency: str
    created_at: datetime
    expires_at: datetime
    resolved_at: datetime | None


@router.get("/{authorization_id}", summary="Show an authorisation")
async def show(
    request: Request, actor: Sender, reply: Envelope, authorization_id: Name
) -> Answer[AuthorizationAttributes]:
    """An authorisation that holds money, or did until a few minutes ago."""
    return reply.one(_resource(await _authorizations(request).find(actor, authorization_id)))


@router.post("/{authorization_id}/release", summary="Release an authorisation")
async def release(
    request: Request, actor: Sender, reply: Envelope, authorization_id: Name
) -> Answer[AuthorizationAttributes]:
    """Free what is held, when the message is not sent after all. Repeating it changes nothing."""
    return reply.one(_resource(await _authorizations(request).release(actor, authorization_id)))


def _authorizations(request: Request) -> Authorizations:
    found: Authorizations = request.app.state.intake.authorizations
    return found


def _resource(found: dict[str, Any]) -> Resource[AuthorizationAttributes]:
    account_id: UUID = found.pop("account_id")
    return Resource(
        id=found.pop("id"),
        type="authorization",
        attributes=AuthorizationAttributes(**found),
        relationships=refer(account=("account", account_id)),
    )
