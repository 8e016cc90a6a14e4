"""The dbt project as Dagster sees it: its manifest, and how a build of it is run."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import DbtCliResource, DbtProject
from dbt.version import __version__ as dbt_version
from packaging.version import Version

from billing.settings import Settings
from orchestration.lib.dbt_env import PROJECT_DIR, dbt_env

project = DbtProject(project_dir=PROJECT_DIR, profiles_dir=PROJECT_DIR)


def dbt_executable() -> str:
    """The dbt of this Python's environment, wherever the shell looks for programs."""
    beside = Path(sys.executable).with_name("dbt")
    return str(beside) if beside.exists() else (shutil.which("dbt") or "dbt")


class Dbt(DbtCliResource):
    """The dbt of this environment, whose version is known without starting it.

    The resource would run `dbt --version` for every asset, which takes longer than most models.
    """

    @cached_property
    def _cli_version(self) -> Version:
        return Version(dbt_version)


def ensure_manifest() -> Path:
    """Parse the project if that was never done or a file of it is newer; needs no database.

    Of several processes that start at once one parses, and the others wait until it is done.
    """
    manifest = PROJECT_DIR / "target" / "manifest.json"
    manifest.parent.mkdir(exist_ok=True)
    with (manifest.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not manifest.exists() or manifest.stat().st_mtime < _newest_source():
            _parse()
    return manifest


def _parse() -> None:
    done = subprocess.run(
        [dbt_executable(), "parse"],
        cwd=PROJECT_DIR,
        env={**os.environ, "DBT_PROFILES_DIR": str(PROJECT_DIR)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"dbt cannot read {PROJECT_DIR}:\n{done.stdout}{done.stderr}")


def build(
    context: dg.AssetExecutionContext, dbt: DbtCliResource, variables: dict[str, str]
) -> Iterator[Any]:
    """Build the models of the running asset, with their data tests as asset checks."""
    os.environ.update(dbt_env(Settings.load().require_database_url()))
    arguments = ["build", "--exclude-resource-type", "unit_test", "--vars", json.dumps(variables)]
    yield from dbt.cli(arguments, context=context).stream()


def _newest_source() -> float:
    sources = (
        file
        for file in PROJECT_DIR.rglob("*")
        if file.suffix in {".sql", ".yml", ".md", ".csv"}
        and "target" not in file.relative_to(PROJECT_DIR).parts
    )
    return max(file.stat().st_mtime for file in sources)
