"""The rated lines an invoice is made from, with the columns of the mart's contract."""

from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session
from sqlalchemy.sql import bindparam

from bench.marts import RATED_MARTS
from billing.customers.tables import Account
from billing.ids import new_id
from billing.invoices.tables import RatingRun, RatingRunCutoff
from tests.support.factories.parties import LONG_AGO

_LINE = text(
    """
    INSERT INTO marts.fct_invoice_lines
        (line_ref, rating_run_id, invoice_month, account_id, customer_id, charge_code, item_code,
         sac, description, period_start, period_end, quantity, event_count, unit, unit_price,
         currency, amount, amount_minor, is_recurring, tier_breakdown)
    VALUES (:line_ref, :run, :month, :account, :customer, :charge_code, :charge_code, '998413',
            :description, :start, :end, :quantity, 1, 'message', :unit_price, :currency, 0,
            :amount_minor, false, :tiers)
    """
).bindparams(bindparam("tiers", type_=JSONB))


def create_marts(session: Session) -> None:
    """Make the tables the pipeline would have made."""
    session.execute(text(RATED_MARTS))


def make_rating_run(session: Session, month: date, accept_seq: int = 0) -> RatingRun:
    """A finished run over a month, which read shard 0 up to `accept_seq`."""
    start = LONG_AGO
    run = RatingRun(invoice_month=month, event_time_to=start, started_at=start, triggered_by="test")
    session.add(run)
    session.flush()
    session.add(RatingRunCutoff(rating_run_id=run.id, shard=0, accept_seq=accept_seq))
    return run


def make_rated_line(
    session: Session,
    run_id: UUID,
    account: Account,
    *,
    amount_minor: int,
    charge_code: str = "sms",
    line_ref: str | None = None,
    month: date = date(2026, 6, 1),
    period_end: date = date(2026, 7, 1),
    quantity: Decimal = Decimal(1000),
    unit_price: Decimal | None = Decimal("0.12"),
    tiers: list[dict[str, Any]] | None = None,
) -> str:
    """One rated line; returns its reference."""
    reference = line_ref or str(new_id())
    session.execute(
        _LINE,
        {
            "line_ref": reference,
            "charge_code": charge_code,
            "run": run_id,
            "month": month,
            "account": account.id,
            "customer": account.customer_id,
            "description": "SMS to India",
            "start": month,
            "end": period_end,
            "quantity": quantity,
            "unit_price": unit_price,
            "currency": account.currency,
            "amount_minor": amount_minor,
            "tiers": tiers or [],
        },
    )
    return reference
