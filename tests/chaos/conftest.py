"""A stack of a test's own, which it may break."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.stack import Stack, kill_server, running_stack

__all__ = ["Stack", "kill_server"]


@pytest.fixture
def folder(server_dir: Path, tmp_path: Path) -> Path:
    """An empty folder with a short name, which every user may enter."""
    made = server_dir / tmp_path.name[-8:]
    made.mkdir()
    made.chmod(0o755)
    return made


@pytest.fixture
def stack(folder: Path) -> Iterator[Stack]:
    with running_stack(folder) as running:
        yield running
