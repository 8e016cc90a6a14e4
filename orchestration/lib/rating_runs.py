"""Opening and closing a rating run: the record that makes a rating repeatable."""

import hashlib
from datetime import date
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from billing.clock import Clock
from billing.commands import canonical_json
from billing.errors import NotFoundError
from billing.invoices.tables import RatingRun, RatingRunCutoff
from billing.usage.tables import ShardState

_LINES = text(
    """
    SELECT line_ref, quantity::text, amount_minor, tier_breakdown
    FROM marts.fct_invoice_lines WHERE rating_run_id = :run ORDER BY line_ref
    """
)


def open_rating_run(
    session: Session, invoice_month: date, triggered_by: str, clock: Clock
) -> RatingRun:
    """Record a new run, with how far each shard had accepted events at this moment."""
    now = clock.now()
    run = RatingRun(
        invoice_month=invoice_month,
        event_time_to=now,
        started_at=now,
        triggered_by=triggered_by,
    )
    session.add(run)
    session.flush()
    session.add_all(
        RatingRunCutoff(rating_run_id=run.id, shard=shard.shard, accept_seq=shard.accept_seq)
        for shard in session.scalars(select(ShardState))
    )
    return run


def rating_run_of(session: Session, invoice_month: date, triggered_by: str) -> UUID:
    """The run that was opened for a month by that trigger.

    Raises:
        NotFoundError: if none was: rating starts with opening a run.
    """
    found = session.scalar(
        select(RatingRun.id)
        .filter_by(invoice_month=invoice_month, triggered_by=triggered_by)
        .order_by(RatingRun.id.desc())
        .limit(1)
    )
    if found is None:
        raise NotFoundError(
            f"No rating run of {invoice_month:%Y-%m} was opened by {triggered_by}; "
            "close the month as a whole."
        )
    return found


def finish_rating_run(session: Session, rating_run_id: UUID, clock: Clock) -> RatingRun:
    """Note what a run made, as a hash that two equal runs share."""
    rows = session.execute(_LINES, {"run": rating_run_id}).all()
    run = session.get_one(RatingRun, rating_run_id)
    run.finished_at = clock.now()
    run.line_count = len(rows)
    said = canonical_json([list(row) for row in rows])
    run.lines_hash = hashlib.sha256(said.encode()).hexdigest()
    return run
