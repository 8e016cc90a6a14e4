"""What was used, by day."""

from datetime import date
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.usage.daily import DailyUsage, UsageFilter, list_daily_usage
from ingest_api.auth import needs
from ingest_api.dependencies import Envelope, ReadSession, SearchText
from ingest_api.envelope import (
    MAX_LIMIT,
    Amount,
    Attributes,
    ListAnswer,
    Resource,
    refer,
)

router = APIRouter(prefix="/usage", tags=["usage"])

Reader = Annotated[Actor, needs(Permission.USAGE_READ)]

_MOST_ROWS = 100_000


class DailyUsageAttributes(Attributes):
    """Events of one account, local day, type and set of dimensions."""

    usage_day: date
    event_type: str
    country: str
    channel: str
    status: str
    operator: str
    route: str
    traffic_type: str
    event_count: int
    quantity: Amount
    vendor_cost: Amount | None


def daily_usage_resource(row: DailyUsage) -> Resource[DailyUsageAttributes]:
    """A row of usage as the API shows it; its id is made of what it is about."""
    key = (
        row.account_id,
        row.usage_day,
        row.event_type,
        row.country,
        row.channel,
        row.status,
        row.operator,
        row.route,
        row.traffic_type,
    )
    return Resource(
        id=":".join(str(part) for part in key),
        type="daily_usage",
        attributes=DailyUsageAttributes.model_validate(row),
        relationships=refer(
            account=("account", row.account_id), customer=("customer", row.customer_id)
        ),
    )


def usage_filter(
    account_id: UUID | None = None,
    from_day: Annotated[date | None, Query(description="First local day.")] = None,
    to_day: Annotated[date | None, Query(description="First local day no longer wanted.")] = None,
    event_type: Annotated[SearchText | None, Query(description="Such as `otp.sms`.")] = None,
    country: SearchText | None = None,
    status: SearchText | None = None,
) -> UsageFilter:
    """What the query asks for."""
    return UsageFilter(account_id, from_day, to_day, event_type, country, status)


@router.get("/daily", summary="List daily usage")
def list_daily(
    session: ReadSession,
    actor: Reader,
    reply: Envelope,
    wanted: Annotated[UsageFilter, Depends(usage_filter)],
    limit: Annotated[int, Query(ge=1, le=5 * MAX_LIMIT)] = MAX_LIMIT,
    after: Annotated[
        int, Query(ge=0, le=_MOST_ROWS, description="`meta.page.next`: rows to pass over.")
    ] = 0,
) -> ListAnswer[DailyUsageAttributes]:
    """Usage as the pipeline last aggregated it, by day; empty before its first run."""
    rows = list_daily_usage(session, actor, wanted, limit=limit + 1, skip=after)
    return reply.page(rows, limit, daily_usage_resource, next_page=str(after + limit))
