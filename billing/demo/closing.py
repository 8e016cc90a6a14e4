"""Closing months with the pipeline, as its schedule does, so that Dagster shows the runs."""

import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from billing.demo.client import DemoError

_LINES_TOLD: Final = 60
_ATTEMPTS: Final = 3
_PAUSE_SECONDS: Final = 5.0


class Closer:
    """A process of the pipeline that closes one month after the other: starting it takes longer.

    Args:
        project: the folder that holds `orchestration`.
        environment: of the process.
    """

    def __init__(self, project: Path, environment: Mapping[str, str]) -> None:
        self._project = project
        self._environment = environment
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if error is not None:
            process.terminate()
        process.communicate()  # it ends with its input

    def close(self, month: date) -> None:
        """Close a month, and wait until that is done.

        A run that fails is made again: a server may have been killed under it, and a month that is
        closed twice is the same as before.

        Raises:
            DemoError: with the end of its output, if it keeps failing.
        """
        for number in range(_ATTEMPTS):
            if number:
                time.sleep(_PAUSE_SECONDS)
            failure = self._attempt(f"{month:%Y-%m}")
            if failure is None:
                return
        raise DemoError(
            f"Closing {month:%Y-%m} failed {_ATTEMPTS} times; the last time:\n{failure}"
        )

    def _attempt(self, name: str) -> str | None:
        """What it said at last, if it failed."""
        if self._process is None:
            self._process = self._started()
        said: deque[str] = deque(maxlen=_LINES_TOLD)
        if self._process.stdin and self._process.stdout:
            with suppress(BrokenPipeError):  # it has ended: what it said tells why
                self._process.stdin.write(f"{name}\n")
                self._process.stdin.flush()
            for line in self._process.stdout:
                if line == f"closed {name}\n":
                    return None
                said.append(line)
        self._process.communicate()
        self._process = None
        return "".join(said)

    def _started(self) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "orchestration.run", "close-month", "-"],
            cwd=self._project,
            env=dict(self._environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
