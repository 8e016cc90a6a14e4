"""Months that were rated before and of which usage came, changed or went since."""

import json
from datetime import date
from uuid import UUID

import dagster as dg
from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.clock import Clock
from billing.settings import Settings
from invoicing.assemble import DraftReport, draft_invoices
from orchestration.lib.archives import restore_invoice_month
from orchestration.lib.database import Database
from orchestration.lib.dbt_run import run_dbt
from orchestration.lib.rating_runs import finish_rating_run, open_rating_run

_RATED = text(
    """
    SELECT run.invoice_month, run.id, min(period.starts_at) AS starts_at,
        max(period.ends_at) AS ends_at
    FROM (
        SELECT DISTINCT ON (invoice_month) invoice_month, id
        FROM billing.rating_runs
        WHERE finished_at IS NOT NULL AND invoice_month < :month
        ORDER BY invoice_month, id DESC
    ) run
    JOIN billing.billing_periods period ON period.invoice_month = run.invoice_month
    GROUP BY run.invoice_month, run.id
    ORDER BY run.invoice_month
    """
)

_TOUCHED = text(
    """
    SELECT EXISTS (
        SELECT FROM usage.shard_state state
        LEFT JOIN billing.rating_run_cutoffs cutoff
            ON cutoff.shard = state.shard AND cutoff.rating_run_id = :run
        WHERE state.accept_seq > coalesce(cutoff.accept_seq, 0)
            AND (
                EXISTS (
                    SELECT FROM usage.raw_events event
                    WHERE event.shard = state.shard
                        AND event.accept_seq > coalesce(cutoff.accept_seq, 0)
                        AND event.occurred_at >= :starts_at AND event.occurred_at < :ends_at
                ) OR EXISTS (
                    SELECT FROM usage.superseded_events replaced
                    WHERE replaced.shard = state.shard
                        AND replaced.superseded_by > coalesce(cutoff.accept_seq, 0)
                        AND replaced.occurred_at >= :starts_at
                        AND replaced.occurred_at < :ends_at
                )
            )
    )
    """
)


_DRAFTED = text(
    """
    SELECT run.invoice_month, run.id
    FROM (
        SELECT DISTINCT ON (invoice_month) invoice_month, id
        FROM billing.rating_runs
        WHERE finished_at IS NOT NULL AND invoice_month > :first AND invoice_month < :month
        ORDER BY invoice_month, id DESC
    ) run
    WHERE EXISTS (
        SELECT FROM billing.invoices
        WHERE invoice_month = run.invoice_month AND origin = 'rated' AND status = 'draft'
    ) AND NOT EXISTS (
        -- a build that was broken off left lines of its own; the month is closed again first
        SELECT FROM marts.fct_invoice_lines
        WHERE invoice_month = run.invoice_month AND rating_run_id <> run.id
    )
    """
)


def touched_since(session: Session, month: date) -> list[date]:
    """The months before one whose usage is not what their last rating run read, oldest first."""
    return [
        row.invoice_month
        for row in session.execute(_RATED, {"month": month}).all()
        if session.scalar(
            _TOUCHED, {"run": row.id, "starts_at": row.starts_at, "ends_at": row.ends_at}
        )
    ]


def drafted_between(session: Session, first: date, month: date) -> dict[date, UUID]:
    """Months after one and before another that have drafts, and the runs these agree with."""
    rows = session.execute(_DRAFTED, {"first": first, "month": month})
    return {row.invoice_month: row.id for row in rows}


def rate_again(
    context: dg.AssetExecutionContext,
    database: Database,
    month: date,
    models: tuple[str, str],
    trigger: str,
    clock: Clock,
) -> DraftReport:
    """Rate a month with what is there by now: its drafts follow, what is issued is compared.

    Args:
        models: which of the project, and which of them not, as dbt selects them.
    """
    restore_invoice_month(context, database, month)
    with database.writing() as session:
        run_id = open_rating_run(session, month, trigger, clock).id
    variables = json.dumps({"invoice_month": month.isoformat(), "rating_run_id": str(run_id)})
    chosen, without = models
    arguments = ["build", "--exclude-resource-type", "unit_test", "--vars", variables]
    arguments += ["--select", *chosen.split(), "--exclude", *without.split()]
    with database.alone("build"):
        run_dbt(Settings.load().require_database_url(), arguments)
    with database.writing() as session:
        finish_rating_run(session, run_id, clock)
        return draft_invoices(session, month, run_id, clock)
