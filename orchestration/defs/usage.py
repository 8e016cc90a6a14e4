"""Usage by account and local day, replaced whole: an amended or voided event leaves no trace."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
from dagster_dbt import dbt_assets

from orchestration.lib.archives import restore_usage_days
from orchestration.lib.database import Database
from orchestration.lib.dbt_manifest import ensure_manifest
from orchestration.lib.dbt_project import build, project
from orchestration.lib.partitions import usage_days

STAGING = "path:models/staging int_usage__accepted"
USAGE = "int_usage__daily fct_usage_daily"
ACCEPTED = "usage/accepted"
"""The tag of a run that is about what was accepted since the one before; see `usage_accepted` of
the dbt project. A run without it recomputes its days for all accounts."""


@dbt_assets(manifest=ensure_manifest(), project=project, select=STAGING, name="staging_views")
def staging_views(context: dg.AssetExecutionContext, database: Database) -> Iterator[Any]:
    """Views that rename and cast, one per source table."""
    yield from build(context, database, {})


@dbt_assets(
    manifest=ensure_manifest(),
    project=project,
    select=USAGE,
    name="usage_models",
    partitions_def=usage_days,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def usage_models(context: dg.AssetExecutionContext, database: Database) -> Iterator[Any]:
    """Usage of the days of this run's partitions; archived ones are brought back first."""
    days = context.partition_time_window
    first, end = days.start.date(), days.end.date()
    restore_usage_days(context, database, first, end)
    variables = {
        "usage_day_from": first.isoformat(),
        "usage_day_to": end.isoformat(),
        "usage_accepted": context.run.tags.get(ACCEPTED, ""),
    }
    yield from build(context, database, variables)
