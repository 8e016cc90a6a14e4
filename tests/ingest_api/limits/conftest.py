"""A Redis of limits for tests, which they may stop and start."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from billing.stack import ports
from billing.stack.redis import EmbeddedLimitsRedis


@pytest.fixture
def limits_redis(server_dir: Path) -> Iterator[EmbeddedLimitsRedis]:
    """A running server of the test's own."""
    folder = Path(tempfile.mkdtemp(dir=server_dir))
    server = EmbeddedLimitsRedis(folder / "limits", ports.any_free())
    server.start()
    try:
        yield server
    finally:
        server.stop()
