"""Reconciliations: what gateways list and what we have, matched or named."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Query

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.db.unit_of_work import read_only
from billing.payments.reconciliation import (
    BeginReconciliation,
    DifferenceKind,
    ReconciliationDifference,
    ReconciliationRun,
    differences_of,
    get_run,
    list_runs,
)
from ingest_api.auth import needs
from ingest_api.dependencies import CurrentServices, Envelope, IdempotencyKey, Paging, ReadSession
from ingest_api.envelope import Answer, Attributes, ListAnswer, Resource, refer
from ingest_api.resources.payments import collector_of
from invoicing.reconcile import reconcile

router = APIRouter(prefix="/reconciliations", tags=["payments"])

Reader = Annotated[Actor, needs(Permission.PAYMENTS_READ, staff_only=True)]
Writer = Annotated[Actor, needs(Permission.PAYMENTS_WRITE, staff_only=True)]


class RunAttributes(Attributes):
    """One comparison of a gateway with our books; `since` is in it, `until` is not."""

    gateway: str
    since: datetime
    until: datetime
    movements: int
    matched: int
    caught_up: int
    differing: int
    error: str | None
    started_at: datetime
    finished_at: datetime


class DifferenceAttributes(Attributes):
    """A movement of money that is not the same on both sides; amounts are minor units."""

    kind: DifferenceKind
    provider_payment_id: str
    refund_id: str | None
    their_currency: str | None
    their_amount_minor: int | None
    our_currency: str | None
    our_amount_minor: int | None


def run_resource(row: ReconciliationRun) -> Resource[RunAttributes]:
    """A run as the API shows it."""
    return Resource(
        id=str(row.id), type="reconciliation", attributes=RunAttributes.model_validate(row)
    )


def difference_resource(row: ReconciliationDifference) -> Resource[DifferenceAttributes]:
    """A difference as the API shows it."""
    return Resource(
        id=str(row.id),
        type="reconciliation_difference",
        attributes=DifferenceAttributes.model_validate(row),
        relationships=refer(
            reconciliation=("reconciliation", row.run_id), payment=("payment", row.payment_id)
        ),
    )


@router.get("", summary="List reconciliations")
def list_all(
    session: ReadSession,
    actor: Reader,
    reply: Envelope,
    page: Paging,
    gateway: Annotated[str | None, Query(pattern=r"^[a-z][a-z0-9_-]{0,31}$")] = None,
) -> ListAnswer[RunAttributes]:
    """Reconciliations, newest first."""
    rows = list_runs(session, actor, gateway=gateway, **page.fetch)
    return reply.page(rows, page.limit, run_resource)


@router.post("", status_code=201, summary="Reconcile a gateway")
def create(
    services: CurrentServices,
    actor: Writer,
    reply: Envelope,
    body: Annotated[BeginReconciliation, Body(examples=[{"gateway": "razorpay", "days": 35}])],
    idempotency_key: IdempotencyKey = None,
) -> Answer[RunAttributes]:
    """Compare now; what the gateway had not told us is caught up with first."""
    run_id = reconcile(
        collector_of(services),
        body.gateway,
        days=body.days,
        actor=actor,
        idempotency_key=idempotency_key,
    )
    with read_only(services.engine) as session:
        return reply.one(run_resource(get_run(session, actor, run_id)))


@router.get("/{reconciliation_id}", summary="Get a reconciliation")
def get(
    session: ReadSession, actor: Reader, reply: Envelope, reconciliation_id: UUID
) -> Answer[RunAttributes]:
    """One reconciliation."""
    return reply.one(run_resource(get_run(session, actor, reconciliation_id)))


@router.get("/{reconciliation_id}/differences", summary="List what differed")
def differences(
    session: ReadSession, actor: Reader, reply: Envelope, reconciliation_id: UUID
) -> ListAnswer[DifferenceAttributes]:
    """Every movement that was not the same on both sides."""
    run = get_run(session, actor, reconciliation_id)
    return reply.all(differences_of(session, run), difference_resource)
