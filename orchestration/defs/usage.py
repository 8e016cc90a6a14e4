"""Usage by local day: whole days are replaced, so an amended or voided event leaves no trace."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
from dagster_dbt import DbtCliResource, dbt_assets

from orchestration.lib.dbt_project import build, ensure_manifest, project
from orchestration.lib.partitions import usage_days

STAGING = "path:models/staging"
USAGE = "int_usage__daily fct_usage_daily"


@dbt_assets(manifest=ensure_manifest(), project=project, select=STAGING, name="staging_views")
def staging_views(context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator[Any]:
    """Views that rename and cast, one per source table."""
    yield from build(context, dbt, {})


@dbt_assets(
    manifest=ensure_manifest(),
    project=project,
    select=USAGE,
    name="usage_models",
    partitions_def=usage_days,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def usage_models(context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator[Any]:
    """Usage of the days of this run's partitions."""
    days = context.partition_time_window
    variables = {
        "usage_day_from": days.start.date().isoformat(),
        "usage_day_to": days.end.date().isoformat(),
    }
    yield from build(context, dbt, variables)
