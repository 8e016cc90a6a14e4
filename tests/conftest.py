"""Fixtures that every test may ask for."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from ingest_api.collector import calm_collector

# No test is timed: how long a draw or an example takes is the business of whoever shares the CPU.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

os.environ.setdefault("BILLING_PDF_WORKERS", "0")
"""Starting a worker takes a second; its own tests start theirs."""

pytest_plugins = [
    "tests.support.postgres",
    "tests.support.redis",
    "tests.support.clock",
    "tests.support.dbt",
]


_MEMORY = Path("/dev/shm")
_ENOUGH_BYTES = 4 * 1024**3


def _fastest() -> Path | None:
    """Where files are made in memory, if there is room: a test's database is 700 small ones."""
    if not os.access(_MEMORY, os.W_OK):
        return None
    return _MEMORY if shutil.disk_usage(_MEMORY).free >= _ENOUGH_BYTES else None


@pytest.fixture(scope="session")
def server_dir() -> Iterator[Path]:
    """A short folder of this run for servers, which PostgreSQL's own user can enter too."""
    path = Path(tempfile.mkdtemp(prefix="billing-test-", dir=_fastest()))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(autouse=True, scope="module")
def ended_by_sigterm() -> None:
    """Let programs that tests start be ended by SIGTERM.

    Dagster gives SIGTERM the handler of SIGINT; where that one is ignored, as in everything a shell
    runs in the background, whatever is started later would ignore both.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the modules that are given the most time: nothing long is left for the end."""
    most: dict[Path, float] = {}
    for item in items:
        marker = item.get_closest_marker("timeout")
        seconds = float(marker.args[0]) if marker else 0.0
        most[item.path] = max(most.get(item.path, 0.0), seconds)
    items.sort(key=lambda item: -most[item.path])


def pytest_collection_finish() -> None:
    """Leave what was imported out of the garbage collector's rounds: it is there to the end."""
    calm_collector()
