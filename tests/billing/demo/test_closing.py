"""Closing the demo's months although something is killed meanwhile."""

import os
from datetime import date
from pathlib import Path

import pytest

from billing.demo import closing
from billing.demo.client import DemoError
from billing.demo.closing import Closer

RUN = """
import sys
from pathlib import Path

for line in sys.stdin:
    left = int(Path("falls").read_text())
    Path("falls").write_text(str(left - 1))
    if left > 0:
        sys.exit("the server closed the connection")
    print(f"closed {line.strip()}", flush=True)
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pipeline that falls as many times as its file says."""
    monkeypatch.setattr(closing, "_PAUSE_SECONDS", 0.0)
    (tmp_path / "orchestration").mkdir()
    (tmp_path / "orchestration" / "run.py").write_text(RUN)
    return tmp_path


def test_a_run_that_was_cut_off_is_made_again(project: Path) -> None:
    (project / "falls").write_text("2")
    with Closer(project, os.environ) as closer:
        closer.close(date(2026, 8, 1))
        closer.close(date(2026, 9, 1))
    assert (project / "falls").read_text() == "-2"


def test_what_keeps_failing_is_told_with_what_it_said(project: Path) -> None:
    (project / "falls").write_text("9")
    with (
        pytest.raises(DemoError, match=r"Closing 2026-08 failed 3 times; .*\nthe server closed"),
        Closer(project, os.environ) as closer,
    ):
        closer.close(date(2026, 8, 1))
