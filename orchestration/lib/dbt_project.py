"""The dbt project as Dagster sees it, and how the models of an asset are built."""

import json
from collections.abc import Iterator
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DbtProject
from dagster_dbt.asset_utils import get_updated_cli_invocation_params_for_context
from dagster_dbt.core.dbt_cli_event import DbtCoreCliEventMessage
from dbt_common.events.base_types import EventMsg
from dbt_common.events.functions import msg_to_dict

from billing.settings import Settings
from orchestration.lib.database import Database
from orchestration.lib.dbt_env import PROJECT_DIR
from orchestration.lib.dbt_run import DbtError, run_dbt

project = DbtProject(project_dir=PROJECT_DIR, profiles_dir=PROJECT_DIR)


def build(
    context: dg.AssetExecutionContext, database: Database, variables: dict[str, str]
) -> Iterator[Any]:
    """Build the models of the running asset, with their data tests as asset checks.

    One build at a time: two that replace the same days would both add their rows.

    Raises:
        DbtError: if a model or a test that must pass fails; what was built is told before.
    """
    chosen = get_updated_cli_invocation_params_for_context(context, {}, DagsterDbtTranslator())
    arguments = ["build", "--exclude-resource-type", "unit_test", "--vars", json.dumps(variables)]
    arguments += chosen.selection_args
    if chosen.indirect_selection:
        arguments += ["--indirect-selection", chosen.indirect_selection]
    told: list[DbtCoreCliEventMessage] = []

    def listen(message: EventMsg) -> None:
        if message.info.name in {"LogModelResult", "LogTestResult"}:
            told.append(DbtCoreCliEventMessage(msg_to_dict(message), {}))

    failure: DbtError | None = None
    try:
        with database.alone("build"):
            run_dbt(Settings.load().require_database_url(), arguments, listener=listen)
    except DbtError as error:
        failure = error
    for event in told:
        yield from event.to_default_asset_events(
            chosen.manifest, chosen.dagster_dbt_translator, context, project=project
        )
    if failure is not None:
        raise failure
