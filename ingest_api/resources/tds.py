"""Tax deducted at source: what is still to be proven, and certificates."""

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Query

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.payments.tds import (
    RecordCertificate,
    TdsCertificate,
    list_open_deductions,
    record_certificate,
)
from ingest_api.auth import needs
from ingest_api.dependencies import Commands, Envelope, ReadSession
from ingest_api.envelope import Answer, Attributes, ListAnswer, Resource, refer
from ingest_api.resources.payments import SettlementLineAttributes, line_resource

router = APIRouter(prefix="/tds", tags=["payments"])

Reader = Annotated[Actor, needs(Permission.PAYMENTS_READ)]
Writer = Annotated[Actor, needs(Permission.PAYMENTS_WRITE)]

_NEW = {
    "customer_id": "019aa000-0000-7000-8000-000000000001",
    "number": "QVCAXYZ",
    "form": "131",
    "amount_minor": 20000,
    "issued_on": "2026-11-15",
    "settlement_line_ids": ["019aa000-0000-7000-8000-000000000021"],
}


class CertificateAttributes(Attributes):
    """A certificate; the amount is in minor units."""

    number: str
    form: str
    amount_minor: int
    issued_on: date
    note: str
    recorded_at: datetime


@router.get("/receivables", summary="List deductions without a certificate")
def receivables(
    session: ReadSession,
    actor: Reader,
    reply: Envelope,
    customer_id: Annotated[UUID | None, Query()] = None,
) -> ListAnswer[SettlementLineAttributes]:
    """What customers deducted and have not proven yet, oldest first."""
    return reply.all(list_open_deductions(session, actor, customer_id), line_resource)


@router.post("/certificates", status_code=201, summary="Record a certificate of tax deducted")
def record(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    body: Annotated[RecordCertificate, Body(examples=[_NEW])],
) -> Answer[CertificateAttributes]:
    """Match a certificate to the settlement lines it proves; their sum must be its amount."""
    return reply.one(_resource(record_certificate(ctx, body)))


def _resource(row: TdsCertificate) -> Resource[CertificateAttributes]:
    return Resource(
        id=str(row.id),
        type="tds_certificate",
        attributes=CertificateAttributes.model_validate(row),
        relationships=refer(customer=("customer", row.customer_id)),
    )
