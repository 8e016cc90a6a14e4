"""Keeps processes alive: starts them in order, restarts what dies, stops them in reverse."""

import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from billing.stack import process
from billing.stack.errors import StackError
from billing.stack.logview import LogView, last_lines
from billing.stack.service import Service

_POLL_SECONDS = 0.2
_HEALTHY_SECONDS = 60.0
"""A process that lived this long starts its back-off anew."""

_FIRST_DELAY = 0.5
_LONGEST_DELAY = 30.0
_TRIES_AT_START = 3


class StopRequestedError(Exception):
    """Somebody asked the supervisor to stop while it was still starting."""


@dataclass
class _Watched:
    service: Service
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    restart_at: float = 0.0
    deaths: int = 0
    ready: bool = False

    def exited(self) -> int | None:
        return self.process.poll() if self.process else None


@dataclass
class Supervisor:
    """Runs services until `request_stop` is called, from a signal handler for instance.

    Args:
        show: gets (name, line) for each line a service writes.
        announce: gets (name, sentence) for what happens to a service.
        ready_seconds: how long services may take to answer at the start.
    """

    show: Callable[[str, str], None]
    announce: Callable[[str, str], None]
    ready_seconds: float = 120.0
    _watched: list[_Watched] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _logs: LogView = field(init=False)

    def __post_init__(self) -> None:
        self._logs = LogView(self.show)

    def request_stop(self) -> None:
        """Make `start` and `run` come to an end soon."""
        self._stopping.set()

    def pids(self) -> dict[str, int]:
        """The process id of each service that runs now."""
        return {
            one.service.name: one.process.pid
            for one in self._watched
            if one.process and one.exited() is None
        }

    def start(self, services: Iterable[Service]) -> None:
        """Start these and come back when all of them answer.

        Raises:
            StackError: if one cannot be started, keeps dying, or does not answer in time.
            StopRequestedError: if we were asked to stop meanwhile.
        """
        added = [_Watched(service) for service in services]
        for one in added:
            self._watched.append(one)
            self._spawn(one)
        deadline = time.monotonic() + self.ready_seconds
        while waiting := [one for one in added if not one.ready]:
            self._logs.pump()
            for one in waiting:
                self._look_after(one)
                if one.deaths >= _TRIES_AT_START:
                    raise StackError(_last_words(one.service, "does not stay up"))
            if time.monotonic() > deadline:
                raise StackError(_last_words(waiting[0].service, "does not answer"))
            if self._stopping.wait(_POLL_SECONDS):
                raise StopRequestedError

    def run(self) -> None:
        """Watch over everything that was started until a stop is requested."""
        while not self._stopping.wait(_POLL_SECONDS):
            self._logs.pump()
            for one in self._watched:
                try:
                    self._look_after(one)
                except StackError as error:
                    self.announce(one.service.name, error.message)
                    _postpone(one)
        self._logs.pump()

    def stop(self) -> None:
        """Stop everything, last started first; what is independent ends meanwhile."""
        for one in self._watched:
            if one.service.independent and one.process and one.exited() is None:
                one.process.send_signal(one.service.stop_signal)
        for one in reversed(self._watched):
            if one.process is not None:
                if one.exited() is None:
                    self.announce(one.service.name, "stopping")
                process.stop(one.process, one.service.stop_signal, one.service.stop_seconds)
                one.process = None
            self._logs.pump()
        self._watched.clear()

    def _look_after(self, one: _Watched) -> None:
        """Notice a death, restart when its time has come, notice that it answers."""
        code = one.exited()
        now = time.monotonic()
        if one.process is None:
            if now >= one.restart_at:
                self._spawn(one)
        elif code is not None:
            process.stop(one.process)  # what it left of its session
            one.process = None
            if now - one.started_at > _HEALTHY_SECONDS:
                one.deaths = 0
            _postpone(one)
            delay = one.restart_at - time.monotonic()
            self.announce(one.service.name, f"{_how(code)}; restarting in {delay:.1f} s")
        elif not one.ready and now - one.started_at > one.service.settle_seconds:
            if not one.service.answers():
                return
            one.service.after_start()
            one.ready = True
            self.announce(one.service.name, "ready")

    def _spawn(self, one: _Watched) -> None:
        one.service.prepare()
        command = one.service.command()
        self._logs.follow(one.service.name, command.log)
        one.process = process.spawn(command)
        one.started_at = time.monotonic()
        one.ready = False


def _postpone(one: _Watched) -> None:
    """Set the time of the next start: twice as far away after each death."""
    delay = min(_FIRST_DELAY * 2**one.deaths, _LONGEST_DELAY)
    one.deaths += 1
    one.restart_at = time.monotonic() + delay


def _how(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"ended with code {code}"


def _last_words(service: Service, what: str) -> str:
    said = last_lines(service.log, 4)
    return f"{service.name} {what}: {said} (all of it in {service.log})."
