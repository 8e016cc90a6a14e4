"""A rating run of one month, and the lines it left, as rating reads and writes them."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from billing.invoices.tables import RatingRun, RatingRunCutoff
from billing.usage.tables import ShardState

RATING_MODELS = ["+fct_invoice_lines", "+fct_unrated_usage", "fct_invoice_usage"]


def open_run(session: Session, invoice_month: date) -> RatingRun:
    """A rating run that reads everything accepted by now."""
    now = datetime(2026, 12, 1, tzinfo=UTC)
    run = RatingRun(
        invoice_month=invoice_month, event_time_to=now, started_at=now, triggered_by="test"
    )
    session.add(run)
    session.flush()
    session.add_all(
        RatingRunCutoff(rating_run_id=run.id, shard=state.shard, accept_seq=state.accept_seq)
        for state in session.scalars(select(ShardState))
    )
    session.flush()
    return run


def rating_vars(run: RatingRun) -> dict[str, str]:
    """The vars of the dbt run that rates it."""
    return {"invoice_month": run.invoice_month.isoformat(), "rating_run_id": str(run.id)}


def lines_of(session: Session, *account_ids: UUID) -> list[dict[str, Any]]:
    """The mart's lines of these accounts (of all, if none is named) in `line_ref` order."""
    rows = session.execute(
        text('SELECT * FROM marts.fct_invoice_lines ORDER BY line_ref COLLATE "C"')
    ).mappings()
    return [dict(row) for row in rows if not account_ids or row["account_id"] in account_ids]


def unrated_of(session: Session, *account_ids: UUID) -> list[tuple[UUID, str, int, Decimal]]:
    """What these accounts used that no rate matched: account, charge, events, quantity."""
    rows = session.execute(
        text(
            "SELECT account_id, charge_code, sum(event_count)::bigint, sum(quantity) "
            "FROM marts.fct_unrated_usage GROUP BY account_id, charge_code ORDER BY 1, 2"
        )
    )
    return [
        (row[0], row[1], row[2], row[3]) for row in rows if not account_ids or row[0] in account_ids
    ]
