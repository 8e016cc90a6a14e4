"""A stack of a test's own, which it may break."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.stack import Stack, kill_server, running_stack

__all__ = ["Stack", "kill_server"]


@pytest.fixture
def folder(server_dir: Path) -> Path:
    """An empty folder with a short name, which every user may enter."""
    made = Path(tempfile.mkdtemp(dir=server_dir))
    made.chmod(0o755)
    return made


@pytest.fixture
def stack(folder: Path) -> Iterator[Stack]:
    with running_stack(folder) as running:
        yield running
