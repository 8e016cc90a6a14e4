"""The aggregate turnover of our PANs: it decides whether documents need an IRN (Rule 48(4)).

What counts is the highest turnover of any financial year before the document's, from 2017-18 on:
once above the limit, always above it.
"""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from pydantic import Field
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Context, Request, command
from billing.db.recall import recall
from billing.fields import ExactDecimal
from billing.invoices.beside import Turnover
from billing.tax.fiscal import financial_year


class RecordTurnover(Request):
    """What a PAN turned over in a financial year, in all States together."""

    pan: str = Field(pattern=r"^[A-Z]{5}[0-9]{4}[A-Z]$")
    financial_year: str = Field(pattern=r"^20[0-9]{2}-[0-9]{2}$")
    crore: ExactDecimal = Field(ge=0, le=Decimal(100000000), max_digits=20, decimal_places=7)
    """In crore rupees (10 million)."""


@command("turnover.record", Permission.INVOICES_WRITE)
def record_turnover(ctx: Context, request: RecordTurnover) -> Turnover:
    """Record a turnover; a later figure of the same year takes the place of an earlier one."""
    row = ctx.session.get(Turnover, (request.pan, request.financial_year), with_for_update=True)
    if row is None:
        row = Turnover(pan=request.pan, financial_year=request.financial_year)
        ctx.session.add(row)
    row.crore = request.crore
    row.recorded_by = ctx.actor.name
    row.recorded_at = ctx.clock.now()
    return row


def highest_turnover(session: Session, gstin: str, day: date) -> Decimal:
    """The highest turnover of the GSTIN's PAN in a year before that of the day, in crore; 0 if
    none is on record."""
    pan, year = gstin[2:12], financial_year(day)
    highest = recall(
        session,
        ("turnover", pan, year),
        lambda: session.scalar(
            select(func.max(Turnover.crore)).where(
                Turnover.pan == pan, Turnover.financial_year < year
            )
        ),
    )
    return Decimal(highest or 0)


def list_turnovers(session: Session, actor: Actor) -> Sequence[Turnover]:
    """All turnovers on record."""
    actor.require(Permission.INVOICES_READ)
    return session.scalars(select(Turnover).order_by(Turnover.pan, Turnover.financial_year)).all()
