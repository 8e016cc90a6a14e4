"""Exchange rates into rupees."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Body, Query

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.errors import NotFoundError
from billing.fx.service import RecordFxRate, list_rates, rate_on, record_rate
from billing.fx.tables import FxRate
from ingest_api.auth import needs
from ingest_api.dependencies import Commands, Envelope, ReadSession
from ingest_api.envelope import Amount, Answer, Attributes, ListAnswer, Resource

router = APIRouter(prefix="/fx-rates", tags=["exchange rates"])

Reader = Annotated[Actor, needs(Permission.INVOICES_READ)]
Writer = Annotated[Actor, needs(Permission.INVOICES_WRITE)]

CurrencyCode = Annotated[str, Query(pattern=r"^[A-Z]{3}$")]


class FxRateAttributes(Attributes):
    """Rupees for one unit of a currency, as published for a day."""

    currency: str
    rate_date: date
    inr_per_unit: Amount
    source: str


def fx_rate_resource(row: FxRate) -> Resource[FxRateAttributes]:
    """A rate as the API shows it."""
    return Resource(
        id=f"{row.currency}:{row.rate_date}",
        type="fx_rate",
        attributes=FxRateAttributes.model_validate(row),
    )


_NEW_RATE = {
    "currency": "USD",
    "rate_date": "2026-08-03",
    "inr_per_unit": "87.3150",
    "source": "RBI reference rate",
}


@router.get("", summary="List exchange rates")
def list_all(
    session: ReadSession,
    actor: Reader,
    reply: Envelope,
    currency: CurrencyCode | None = None,
) -> ListAnswer[FxRateAttributes]:
    """The last 400 rates, the newest day first."""
    return reply.all(list_rates(session, actor, currency=currency), fx_rate_resource)


@router.post("", status_code=201, summary="Record an exchange rate")
def record(
    ctx: Commands,
    _: Writer,
    reply: Envelope,
    body: Annotated[RecordFxRate, Body(examples=[_NEW_RATE])],
) -> Answer[FxRateAttributes]:
    """Record a published rate; it is never changed afterwards."""
    return reply.one(fx_rate_resource(record_rate(ctx, body)))


@router.get("/on", summary="The rate for a day")
def on_day(
    session: ReadSession,
    _: Reader,
    reply: Envelope,
    currency: CurrencyCode,
    day: date,
) -> Answer[FxRateAttributes]:
    """The last rate published on or before a day."""
    rate = rate_on(session, currency, day)
    if rate is None:
        raise NotFoundError(f"There is no {currency} rate on or before {day}; record one.")
    return reply.one(fx_rate_resource(rate))
