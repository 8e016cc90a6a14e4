"""dbt in this process, as the pipeline runs it, on a test's database."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from orchestration.lib.dbt_run import DbtError, parsed_manifest, run_dbt

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest


class DbtProjectRunner:
    """Runs commands of the project."""

    def parse(self, database_url: str) -> "Manifest":
        """The manifest, parsed once a process; deprecation warnings are errors in this project."""
        return parsed_manifest(database_url)

    def build(
        self,
        database_url: str,
        select: Sequence[str],
        variables: dict[str, str] | None = None,
        *,
        unit_tests: bool = False,
    ) -> dict[str, str]:
        """Build what is selected, with its data tests; returns the status of each node by its id.

        Raises:
            AssertionError: with the messages of what failed.
        """
        arguments = ["build", "--select", *select, "--vars", json.dumps(variables or {})]
        if not unit_tests:
            arguments += ["--exclude-resource-type", "unit_test"]
        try:
            done: Any = run_dbt(database_url, arguments, log_level="none")
        except DbtError as error:
            raise AssertionError(str(error)) from error
        return {one.node.unique_id: str(one.status) for one in done.results}


@pytest.fixture(scope="session")
def dbt() -> DbtProjectRunner:
    """The project, ready to run on any database."""
    return DbtProjectRunner()
