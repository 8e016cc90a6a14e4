"""One process the supervisor keeps alive: how it is run, and how one sees that it works."""

import http.client
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from billing.stack.ports import LOOPBACK
from billing.stack.process import Command
from billing.stack.server import EmbeddedServer

_PROBE_SECONDS = 3.0


def _nothing() -> None:
    """Nothing needs to be done."""


@dataclass(frozen=True, slots=True)
class Service:
    """A process to keep alive.

    Attributes:
        name: short, unique; the prefix of its lines in the log view.
        command: asked at every start, so that it may change between two.
        answers: whether it does its work now; must come back within seconds.
        prepare: brings about what must hold before a start; raises StackError if it cannot.
        after_start: done once it answers.
        settle_seconds: how long it must have lived before it is asked whether it answers.
        stop_signal: asks it to end.
        stop_seconds: how long it may take for that before it is killed.
        independent: nothing waits for it to end, so it is asked to before anything else.
    """

    name: str
    command: Callable[[], Command]
    answers: Callable[[], bool]
    prepare: Callable[[], None] = _nothing
    after_start: Callable[[], None] = _nothing
    settle_seconds: float = 0.0
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 15.0
    independent: bool = False

    @property
    def log(self) -> Path:
        """The file its output goes to."""
        return self.command().log


def service_of(name: str, server: EmbeddedServer) -> Service:
    """An embedded server as a service."""
    return Service(
        name,
        server.command,
        server.answers,
        server.prepare,
        server.after_start,
        stop_signal=server.stop_signal,
        stop_seconds=server.stop_seconds,
    )


def answers_http(port: int, path: str) -> Callable[[], bool]:
    """A check that a web server answers this path, with no error of its own."""

    def check() -> bool:
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=_PROBE_SECONDS)
        try:
            connection.request("GET", path)
            return connection.getresponse().status < http.HTTPStatus.INTERNAL_SERVER_ERROR
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return check


def accepts_connections(port: int) -> Callable[[], bool]:
    """A check that somebody listens on a port."""

    def check() -> bool:
        try:
            with socket.create_connection((LOOPBACK, port), timeout=_PROBE_SECONDS):
                return True
        except OSError:
            return False

    return check


def always() -> bool:
    """The check of a process that listens nowhere: that it lives is all one can see."""
    return True
