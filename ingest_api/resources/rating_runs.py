"""Rating runs: when usage was priced, and how far it was read."""

from datetime import date, datetime
from typing import Annotated

from fastapi import APIRouter, Query

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.invoices.repository import list_rating_runs
from billing.invoices.tables import RatingRun
from ingest_api.auth import needs
from ingest_api.dependencies import Envelope, ReadSession
from ingest_api.envelope import DEFAULT_LIMIT, MAX_LIMIT, Attributes, ListAnswer, Resource

router = APIRouter(prefix="/rating-runs", tags=["rating"])

Reader = Annotated[Actor, needs(Permission.INVOICES_READ, staff_only=True)]


class RatingRunAttributes(Attributes):
    """One rating of one invoice month; equal `lines_hash` means equal lines."""

    invoice_month: date
    event_time_to: datetime
    started_at: datetime
    finished_at: datetime | None
    triggered_by: str
    line_count: int | None
    lines_hash: str | None


def rating_run_resource(row: RatingRun) -> Resource[RatingRunAttributes]:
    """A run as the API shows it."""
    attributes = RatingRunAttributes.model_validate(row)
    return Resource(id=str(row.id), type="rating_run", attributes=attributes)


@router.get("", summary="List rating runs")
def list_all(
    session: ReadSession,
    actor: Reader,
    reply: Envelope,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
) -> ListAnswer[RatingRunAttributes]:
    """The last runs, the newest first."""
    return reply.all(list_rating_runs(session, actor, limit=limit), rating_run_resource)
