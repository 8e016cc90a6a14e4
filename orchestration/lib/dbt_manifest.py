"""The dbt project as it was parsed: `manifest.json` for Dagster, and dbt's own file beside it."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from orchestration.lib.dbt_env import PROJECT_DIR, dbt_env

PARSED_FOR: Final = "postgresql:///billing"
"""The database that stands in what is parsed here; parsing needs none, but dbt wants its name."""


def dbt_executable() -> str:
    """The dbt of this Python's environment, wherever the shell looks for programs."""
    beside = Path(sys.executable).with_name("dbt")
    return str(beside) if beside.exists() else (shutil.which("dbt") or "dbt")


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
        env={**os.environ, **dbt_env(PARSED_FOR), "DBT_PROFILES_DIR": str(PROJECT_DIR)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"dbt cannot read {PROJECT_DIR}:\n{done.stdout}{done.stderr}")


def _newest_source() -> float:
    sources = (
        file
        for file in PROJECT_DIR.rglob("*")
        if file.suffix in {".sql", ".yml", ".md", ".csv"}
        and "target" not in file.relative_to(PROJECT_DIR).parts
    )
    return max(file.stat().st_mtime for file in sources)
