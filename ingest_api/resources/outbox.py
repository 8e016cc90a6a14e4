"""What happened: a feed that others follow."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.outbox.service import list_outbox
from billing.outbox.tables import OutboxEntry
from ingest_api.auth import needs
from ingest_api.dependencies import Envelope, ReadSession
from ingest_api.envelope import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    Attributes,
    ListAnswer,
    Resource,
    refer,
)

router = APIRouter(prefix="/outbox", tags=["outbox"])

Reader = Annotated[Actor, needs(Permission.WALLETS_READ)]


class OutboxAttributes(Attributes):
    """One thing that happened, such as `wallet.low` or `account.suspended`."""

    topic: str
    entity_type: str
    entity_id: UUID
    payload: dict[str, Any]
    created_at: datetime


@router.get("", summary="Follow what happens")
def list_all(
    session: ReadSession,
    actor: Reader,
    reply: Envelope,
    account_id: Annotated[UUID | None, Query(description="Only of this account.")] = None,
    topic: Annotated[
        str | None, Query(pattern=r"^[a-z_.]{1,64}$", description="Only of this kind.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    after: Annotated[int | None, Query(ge=0, lt=2**63, description="`meta.page.next`.")] = None,
) -> ListAnswer[OutboxAttributes]:
    """Wallets that run low, are used up or recover; accounts that change their state; in order.

    Ask again with the last id as `after`: nothing is missed and nothing comes twice.
    """
    rows = list_outbox(
        session, actor, account_id=account_id, topic=topic, limit=limit + 1, after=after
    )
    return reply.page(rows, limit, outbox_resource)


def outbox_resource(row: OutboxEntry) -> Resource[OutboxAttributes]:
    """An entry as the API shows it."""
    return Resource(
        id=str(row.seq),
        type="outbox_entry",
        attributes=OutboxAttributes.model_validate(row),
        relationships=refer(account=("account", row.account_id)),
    )
