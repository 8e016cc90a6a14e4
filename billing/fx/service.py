"""Recording exchange rates, and finding the one for a day."""

from collections.abc import Sequence
from datetime import date

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Context, Request, command
from billing.errors import ConflictError, FieldError, InvalidError, PreconditionError
from billing.fields import ExactDecimal
from billing.fx.tables import FxRate
from billing.money import CURRENCIES


class RecordFxRate(Request):
    """Rupees for one unit of a currency, as published for a day."""

    currency: str
    rate_date: date
    inr_per_unit: ExactDecimal = Field(gt=0, max_digits=20, decimal_places=12)
    source: str = Field(min_length=1, max_length=100, pattern=r"^[^\x00]*$")


@command("fx_rate.record", Permission.INVOICES_WRITE)
def record_rate(ctx: Context, request: RecordFxRate) -> FxRate:
    """Record a published rate; it is never changed afterwards, documents rest on it."""
    if request.currency not in CURRENCIES or request.currency == "INR":
        raise InvalidError(
            "No rate is needed for this currency.", fields=[FieldError("currency", "USD or IDR")]
        )
    if ctx.session.get(FxRate, (request.currency, request.rate_date)) is not None:
        raise ConflictError(
            f"The {request.currency} rate of {request.rate_date} is on record.",
            code="fx_rate_exists",
        )
    rate = FxRate(**request.model_dump())
    ctx.session.add(rate)
    return rate


def rate_on(session: Session, currency: str, day: date) -> FxRate | None:
    """The last rate published on or before a day, if any."""
    return session.scalars(
        select(FxRate)
        .where(FxRate.currency == currency, FxRate.rate_date <= day)
        .order_by(FxRate.rate_date.desc())
        .limit(1)
    ).one_or_none()


def require_rate(session: Session, currency: str, day: date) -> FxRate:
    """The last rate published on or before a day.

    Raises:
        PreconditionError: if none is on record.
    """
    rate = rate_on(session, currency, day)
    if rate is None:
        raise PreconditionError(
            f"No {currency} exchange rate on or before {day} is on record; record one with "
            "POST /api/v1/fx-rates.",
            code="no_fx_rate",
        )
    return rate


def list_rates(
    session: Session, actor: Actor, *, currency: str | None = None, limit: int = 400
) -> Sequence[FxRate]:
    """Rates, the newest day first."""
    actor.require(Permission.INVOICES_READ)
    query = select(FxRate).order_by(FxRate.rate_date.desc(), FxRate.currency).limit(limit)
    if currency is not None:
        query = query.where(FxRate.currency == currency)
    return session.scalars(query).all()
