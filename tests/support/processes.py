"""Real processes for tests: the writer and the API, started, killed and started again."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from billing.stack import ports

ROOT = Path(__file__).parents[2]


@dataclass
class Program:
    """One of our programs, in a session of its own."""

    name: str
    argv: list[str]
    environment: Mapping[str, str]
    log: Path
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Run it, unless it runs."""
        if self._process is None or self._process.poll() is not None:
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", *self.argv],
                    cwd=ROOT,
                    env={**_inherited(), **self.environment},
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )

    def kill(self) -> None:
        """End it without a warning."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self, seconds: float = 15) -> int | None:
        """End it cleanly and give its exit code."""
        if self._process is None:
            return None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
        return self._process.returncode


def _inherited() -> dict[str, str]:
    """Our environment, with compiled modules kept: a killed program is back sooner."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(Path(tempfile.gettempdir()) / "billing-pycache")}


def writer_program(database_url: str, redis_url: str, log: Path) -> Program:
    """The ledger writer."""
    environment = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
    return Program("writer", ["ingest_api.writer"], environment, log)


def api_program(database_url: str, redis_url: str, log: Path, *app: str) -> tuple[Program, int]:
    """The API on a free port; `app` names another application than the whole one."""
    port = ports.any_free()
    environment = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
    argv = ["uvicorn", *(app or ("ingest_api.main:app",)), "--host", "127.0.0.1"]
    argv += ["--port", str(port), "--no-access-log"]
    return Program("api", argv, environment, log), port


def wait_for_port(port: int, seconds: float = 90) -> None:
    """Come back when somebody listens there."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


@contextmanager
def running(database_url: str, redis_url: str, log_dir: Path, key: str) -> Iterator[httpx.Client]:
    """A client of an API with its writer, both running for the length of a `with` block."""
    writer = writer_program(database_url, redis_url, log_dir / "writer.log")
    api, port = api_program(database_url, redis_url, log_dir / "api.log")
    writer.start()
    api.start()
    try:
        wait_for_port(port)
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}",
            headers={"Authorization": f"Bearer {key}"},
            timeout=30,
        ) as client:
            yield client
    finally:
        api.stop()
        writer.stop()
