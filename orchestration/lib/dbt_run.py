"""dbt in this process: the project is read once, and every build of it begins at once.

A program of its own would spend seconds on starting each time, and parse the whole project again:
what it has parsed counts for the same database and the same vars alone. Here only the names of the
relations are changed for another database, and vars are read while models run.
"""

import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import make_url

from orchestration.lib.dbt_env import PROJECT_DIR, dbt_env
from orchestration.lib.dbt_manifest import PARSED_FOR, ensure_manifest

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest
    from dbt_common.events.base_types import EventMsg

    Listener = Callable[[EventMsg], None]

_WELL: Final = frozenset({"success", "pass", "skipped", "warn"})


class DbtError(RuntimeError):
    """What dbt could not do, or which models and tests failed, with the database's words."""


def run_dbt(
    database_url: str,
    arguments: Sequence[str],
    *,
    log_level: str = "info",
    listener: "Listener | None" = None,
) -> Any:
    """Run a command of dbt on a database, and return what dbt returns. One at a time a process.

    Args:
        log_level: of what dbt writes to the standard output.
        listener: gets every event, in the thread that it happens in.

    Raises:
        DbtError: if it fails.
    """
    manifest = parsed_manifest(database_url)
    return _invoke(arguments, dbt_env(database_url), manifest, log_level, listener)


def parsed_manifest(database_url: str) -> "Manifest":
    """The project as dbt knows it, until it is asked for with another database."""
    manifest = _manifest()
    database = make_url(database_url).database or "postgres"
    for node in chain(manifest.nodes.values(), manifest.sources.values()):
        if node.relation_name is not None:
            written, wanted = f'"{node.database}".', f'"{database}".'
            node.relation_name = node.relation_name.replace(written, wanted, 1)
        node.database = database
    return manifest


@cache
def _manifest() -> "Manifest":
    parsed = ensure_manifest().with_name("partial_parse.msgpack")
    arguments = ["parse", "--partial-parse-file-path", str(parsed)]
    manifest: Manifest = _invoke(arguments, dbt_env(PARSED_FOR), None, "none", None)
    return manifest


def _invoke(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    manifest: "Manifest | None",
    log_level: str,
    listener: "Listener | None",
) -> Any:
    from dbt.cli.main import dbtRunner  # noqa: PLC0415 - seconds, for those who run dbt

    with (
        tempfile.TemporaryDirectory(prefix="billing-dbt-") as passing,
        _environment(environment),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        runner = dbtRunner(manifest=manifest, callbacks=[listener] if listener else [])
        done = runner.invoke(
            [
                *("--log-level", log_level, "--log-level-file", "none", "--no-use-colors"),
                *("--no-write-json", "--log-path", passing),
                *arguments,
                *("--project-dir", str(PROJECT_DIR), "--profiles-dir", str(PROJECT_DIR)),
                *("--target-path", passing),
            ]
        )
    if done.exception is not None:
        raise DbtError(str(done.exception)) from done.exception
    if not done.success:
        raise DbtError("dbt failed: " + "; ".join(_failures(done.result)))
    return done.result


def _failures(result: Any) -> Iterator[str]:
    for one in getattr(result, "results", []):
        if one.status not in _WELL:
            yield f"{one.node.name}: {one.message}"


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
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
