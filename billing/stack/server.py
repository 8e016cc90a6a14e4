"""What the embedded servers have in common: a data folder, its lock, one process, one port."""

import signal
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from billing.stack import process
from billing.stack.errors import StackError
from billing.stack.process import Command, FileLock

READY_SECONDS = 60.0
_LOG_LINES_SHOWN = 4


class EmbeddedServer(ABC):
    """A server program on 127.0.0.1 whose data stay in a folder between runs.

    `start` and `stop` run it from here; the supervisor calls `prepare`, `command`, `answers` and
    `after_start` itself, so that both ways are one.
    """

    title: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]
    stop_seconds: ClassVar[float] = 30.0

    def __init__(self, data_dir: Path, port: int, log: Path | None) -> None:
        self.data_dir = data_dir.absolute()
        self.port = port
        self.log = log or self.data_dir.with_name(f"{self.data_dir.name}.log")
        self.lock = FileLock(self.data_dir.with_name(f"{self.data_dir.name}.lock"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """How to reach the server."""

    @abstractmethod
    def recover(self) -> None:
        """Own the data folder and end a server that lost its owner there; needs no port.

        Raises:
            StackError: if the folder cannot be had; the message says what to do.
        """

    @abstractmethod
    def prepare(self) -> None:
        """Bring about everything that must hold before the program is started.

        Raises:
            StackError: if it cannot be; the message says what to do.
        """

    @abstractmethod
    def command(self) -> Command:
        """How the server program is run, in the foreground."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether the port is answered by the server of this very data folder."""

    def after_start(self) -> None:
        """Do what remains to be done once the server answers: nothing, for most."""
        return

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs under us."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def is_running(self) -> bool:
        """Whether the server we started is there and is the one that answers."""
        return self.pid is not None and self.answers()

    def start(self) -> None:
        """Start the server, recover what a crash left, and come back when it answers.

        Raises:
            StackError: if the folder is in use, read-only or of another version, the port is
                taken, or the server gives up; the message says what to do.
        """
        try:
            self.prepare()
            running = self._process = process.spawn(self.command())
            process.wait_until(lambda: running.poll() is not None or self.answers(), READY_SECONDS)
            self._require_running()
            self.after_start()
        except BaseException:
            self.stop()
            raise

    def _require_running(self) -> None:
        if not self.is_running():
            raise StackError(self.why_it_failed())

    def stop(self) -> None:
        """Stop cleanly and give the folder free; nothing happens when it does not run."""
        if self._process is not None:
            process.stop(self._process, self.stop_signal, self.stop_seconds)
            self._process = None
        self.lock.release()

    def take_lock(self) -> None:
        """Make the data folder ours alone.

        Raises:
            StackError: if another living process holds it.
        """
        if not self.lock.acquire():
            raise StackError(
                f"The {self.title} data in {self.data_dir} is in use by another process: "
                "stop that one first."
            )

    def why_it_failed(self) -> str:
        """A sentence about a server that did not come up, with its own last words."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        said = " | ".join(lines[-_LOG_LINES_SHOWN:]) or "it said nothing"
        return f"{self.title} did not start on port {self.port}: {said} (all in {self.log})."
