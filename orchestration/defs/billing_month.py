"""Closing a month: periods, a rating run with its cut-offs, rated lines, drafts, revenue."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import dagster as dg
from dagster_dbt import (
    DagsterDbtTranslator,
    DbtProject,
    dbt_assets,
    get_asset_key_for_model,
)

from billing.clock import SystemClock
from billing.periods import month_of
from billing.subscriptions.periods import make_periods
from invoicing.assemble import draft_invoices
from orchestration.defs.usage import STAGING, USAGE, staging_views
from orchestration.lib.archives import restore_invoice_month
from orchestration.lib.database import Database
from orchestration.lib.dbt_manifest import ensure_manifest
from orchestration.lib.dbt_project import build, project
from orchestration.lib.partitions import billing_months, month_of_key
from orchestration.lib.rating_runs import finish_rating_run, open_rating_run, rating_run_of
from orchestration.lib.rerating import drafted_between, rate_again, touched_since

HISTORY = (
    "path:models/marts/revenue path:models/intermediate/revenue "
    "path:models/intermediate/wallets fct_wallet_movements"
)
RATING = "fqn:*", f"{STAGING} {USAGE} {HISTORY}"
"""The models that rate a month: which, and which of them not."""
ONE_AT_A_TIME = dg.BackfillPolicy.multi_run(max_partitions_per_run=1)

RATING_RUNS = dg.AssetKey(["billing", "rating_runs"])
BILLING_PERIODS = dg.AssetKey(["billing", "billing_periods"])
EARLIER_MONTHS = dg.AssetKey(["billing", "earlier_months"])


class AfterTheRun(DagsterDbtTranslator):
    """Lets rating begin only when its run is open and earlier months are up to date.

    dbt knows the tables, not who fills them.
    """

    def get_asset_spec(
        self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None
    ) -> dg.AssetSpec:
        """A model with the run and the periods among what it waits for."""
        spec = super().get_asset_spec(manifest, unique_id, project)
        if ".int_rating__" not in unique_id:
            return spec
        return spec.merge_attributes(deps=[RATING_RUNS, BILLING_PERIODS, EARLIER_MONTHS])


def trigger_of(context: dg.AssetExecutionContext) -> str:
    """How a rating run names the pipeline run that opened it."""
    return f"dagster:{context.run.run_id}"


@dg.asset(
    key=BILLING_PERIODS,
    partitions_def=billing_months,
    backfill_policy=ONE_AT_A_TIME,
    group_name="billing",
)
def billing_periods(
    context: dg.AssetExecutionContext, database: Database
) -> dg.MaterializeResult[None]:
    """Every period of every subscription that begins before the month is over, or as it is.

    Prices in advance are billed for the one that follows the month's own.
    """
    month = month_of(month_of_key(context.partition_key))
    with database.writing() as session:
        made = make_periods(session, month.end + timedelta(days=1))
    return dg.MaterializeResult(metadata={"periods made": made})


@dg.asset(
    key=RATING_RUNS,
    deps=[BILLING_PERIODS],
    partitions_def=billing_months,
    backfill_policy=ONE_AT_A_TIME,
    group_name="billing",
)
def rating_runs(
    context: dg.AssetExecutionContext, database: Database
) -> dg.MaterializeResult[None]:
    """A run for the month, and how far every shard had accepted events when it began."""
    month = month_of_key(context.partition_key)
    with database.writing() as session:
        run = open_rating_run(session, month, trigger_of(context), SystemClock())
    return dg.MaterializeResult(metadata={"rating run": str(run.id)})


@dg.asset(
    key=EARLIER_MONTHS,
    deps=[RATING_RUNS],
    partitions_def=billing_months,
    backfill_policy=ONE_AT_A_TIME,
    group_name="billing",
)
def earlier_months(
    context: dg.AssetExecutionContext, database: Database
) -> dg.MaterializeResult[None]:
    """Months before that usage came to, changed in or left since they were rated: rated again.

    It comes before the month itself, whose drafts bill what issued invoices came to more, and
    whose prices in advance rest on what was drafted before; and after the checks of the books,
    which the month's run waits for.
    """
    month, clock = month_of_key(context.partition_key), SystemClock()
    with database.reading() as session:
        touched = touched_since(session, month)
        drafted = drafted_between(session, touched[0], month) if touched else {}
    differing = 0
    for earlier in sorted({*touched, *drafted}):
        if earlier in touched:
            report = rate_again(context, database, earlier, RATING, trigger_of(context), clock)
            differing += len(report.issued_differs)
        else:  # drafts that nobody has issued yet bill the months before them
            with database.writing() as session:
                draft_invoices(session, earlier, drafted[earlier], clock)
    names = ", ".join(f"{earlier:%Y-%m}" for earlier in touched) or "none"
    return dg.MaterializeResult(
        metadata={"rated again": names, "issued, would differ now": differing}
    )


@dbt_assets(
    manifest=ensure_manifest(),
    project=project,
    select=RATING[0],
    exclude=RATING[1],
    name="rating_models",
    partitions_def=billing_months,
    backfill_policy=ONE_AT_A_TIME,
    dagster_dbt_translator=AfterTheRun(),
)
def rating_models(context: dg.AssetExecutionContext, database: Database) -> Iterator[Any]:
    """The lines of the month, as of the run's cut-offs; archived events are brought back first."""
    month = month_of_key(context.partition_key)
    restore_invoice_month(context, database, month)
    with database.reading() as session:
        run_id = rating_run_of(session, month, trigger_of(context))
    variables = {"invoice_month": month.isoformat(), "rating_run_id": str(run_id)}
    yield from build(context, database, variables)


@dg.asset(
    key=["billing", "invoice_drafts"],
    deps=[
        get_asset_key_for_model([rating_models], "fct_invoice_lines"),
        get_asset_key_for_model([rating_models], "fct_invoice_usage"),
        get_asset_key_for_model([rating_models], "fct_unrated_usage"),
    ],
    partitions_def=billing_months,
    backfill_policy=ONE_AT_A_TIME,
    group_name="billing",
)
def invoice_drafts(
    context: dg.AssetExecutionContext, database: Database
) -> dg.MaterializeResult[None]:
    """Drafts that agree with the lines; what is issued stays as it is."""
    month, clock = month_of_key(context.partition_key), SystemClock()
    with database.writing() as session:
        run_id = rating_run_of(session, month, trigger_of(context))
        run = finish_rating_run(session, run_id, clock)
        report = draft_invoices(session, month, run_id, clock)
        return dg.MaterializeResult(
            metadata={
                "lines": run.line_count,
                "lines hash": run.lines_hash,
                "created": len(report.created),
                "updated": len(report.updated),
                "unchanged": len(report.unchanged),
                "removed": len(report.removed),
                "parked": len(report.parked),
                "issued, kept": len(report.issued_kept),
                "issued, would differ now": len(report.issued_differs),
            }
        )


@dbt_assets(manifest=ensure_manifest(), project=project, select=HISTORY, name="history_models")
def history_models(context: dg.AssetExecutionContext, database: Database) -> Iterator[Any]:
    """Facts over the whole history: MRR and its movements, movements of wallets."""
    yield from build(context, database, {})


ASSETS = [
    staging_views,
    billing_periods,
    rating_runs,
    earlier_months,
    rating_models,
    invoice_drafts,
    history_models,
]
