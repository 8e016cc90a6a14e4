"""dbt in this process, on a test's database, with artefacts of this test run only."""

import json
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orchestration.lib.dbt_env import PROJECT_DIR, dbt_env

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest


class DbtProjectRunner:
    """Runs commands of the project."""

    def __init__(self, target_dir: Path) -> None:
        self.target_dir = target_dir
        self._manifests: dict[str, Manifest] = {}

    def parse(self, database_url: str) -> "Manifest":
        """The manifest, parsed once a database, whose name stands in it.

        Deprecation warnings are errors in this project.
        """
        if database_url not in self._manifests:
            parsed = self._invoke(["parse"], dbt_env(database_url), None)
            self._manifests[database_url] = parsed
        return self._manifests[database_url]

    def build(
        self,
        database_url: str,
        select: Sequence[str],
        variables: dict[str, str] | None = None,
        *,
        unit_tests: bool = False,
    ) -> None:
        """Build what is selected, with its data tests.

        Raises:
            AssertionError: with the messages of what failed.
        """
        arguments = ["build", "--select", *select, "--vars", json.dumps(variables or {})]
        if not unit_tests:
            arguments += ["--exclude-resource-type", "unit_test"]
        self._invoke(arguments, dbt_env(database_url), self.parse(database_url))

    def _invoke(
        self, arguments: Sequence[str], environment: dict[str, str], manifest: "Manifest | None"
    ) -> Any:
        from dbt.cli.main import dbtRunner  # a second, which tests without dbt need not spend

        folders = ["--project-dir", str(PROJECT_DIR), "--profiles-dir", str(PROJECT_DIR)]
        paths = ["--target-path", str(self.target_dir), "--log-path", str(self.target_dir)]
        with _environment(environment), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            runner = dbtRunner(manifest=manifest)
            result = runner.invoke(["--log-level", "none", *arguments, *folders, *paths])
        if result.exception is not None:
            raise AssertionError(str(result.exception)) from result.exception
        if not result.success:
            failed = [
                f"{one.node.name}: {one.message}"
                for one in getattr(result.result, "results", [])
                if one.status not in {"success", "pass", "skipped"}
            ]
            raise AssertionError("dbt failed: " + "; ".join(failed))
        return result.result


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@pytest.fixture(scope="session")
def dbt(tmp_path_factory: pytest.TempPathFactory) -> DbtProjectRunner:
    """The project, ready to run on any database."""
    return DbtProjectRunner(tmp_path_factory.mktemp("dbt-target"))
