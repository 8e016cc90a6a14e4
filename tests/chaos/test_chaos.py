"""Everything is broken in every way we know while events are sent: nothing answered is lost.

`CHAOS_FAULTS` and `CHAOS_SEED` as for `make chaos`, which prints the report.
"""

import ast
import os
from pathlib import Path

import pytest

from tests.architecture.source import modules, tree
from tests.chaos.faults import FAILPOINTS, FAULTS
from tests.chaos.run import plan, run_chaos

SEED = int(os.environ.get("CHAOS_SEED", "1"))
COUNT = int(os.environ.get("CHAOS_FAULTS", "6"))
"""`.ci/run` injects 60."""


@pytest.mark.timeout(max(600, COUNT * 10))
def test_no_fault_loses_or_doubles_what_was_answered(folder: Path) -> None:
    report = run_chaos(folder, COUNT, SEED)

    assert report.verdict is not None
    assert report.verdict.is_good, f"\n{report}"
    assert report.events > COUNT
    assert len(set(report.faults)) == min(COUNT, len(FAULTS) + len(FAILPOINTS))


def test_every_run_of_this_length_dies_at_every_failpoint() -> None:
    for seed in range(20):
        kinds = set(plan(60, seed))
        assert kinds == {*FAULTS, *(f"killed at {name}" for name in FAILPOINTS)}


def test_every_place_named_in_the_source_is_one_where_something_dies_here() -> None:
    named = {
        call.args[0].value
        for _, file in modules("billing", "ingest_api", "invoicing")
        for call in ast.walk(tree(file))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "failpoint"
        and isinstance(call.args[0], ast.Constant)
    }
    assert named == FAILPOINTS.keys()
