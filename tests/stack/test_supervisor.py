"""The supervisor, watching small stand-in services."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from billing.stack import process
from billing.stack.errors import StackError
from billing.stack.process import Command
from billing.stack.service import Service, always
from billing.stack.supervisor import StopRequestedError, Supervisor

SLEEP = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEP
WITH_CHILD = (
    "import subprocess, sys; subprocess.Popen([sys.executable, '-c', "
    "'import time; time.sleep(600)']); " + SLEEP
)


class Watch:
    """A supervisor, and what it said."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.events: list[tuple[str, str]] = []
        self.supervisor = Supervisor(self._line, self._event, ready_seconds=30)
        self._thread = threading.Thread(target=self.supervisor.run)

    def run(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self.supervisor.request_stop()
        if self._thread.ident is not None:
            self._thread.join()
        self.supervisor.stop()

    def _line(self, name: str, text: str) -> None:
        self.lines.append((name, text))

    def _event(self, name: str, text: str) -> None:
        self.events.append((name, text))


@pytest.fixture
def watch() -> Iterator[Watch]:
    made = Watch()
    yield made
    made.end()


@pytest.fixture
def service(tmp_path: Path) -> Callable[..., Service]:
    def make(name: str, code: str, **more: object) -> Service:
        command = Command([sys.executable, "-c", code], tmp_path / f"{name}.log", dict(os.environ))
        return Service(name, lambda: command, **{"answers": always, **more})  # type: ignore[arg-type]

    return make


def eventually(condition: Callable[[], bool]) -> None:
    assert process.wait_until(condition, 30)


def test_a_killed_service_comes_back(watch: Watch, service: Callable[..., Service]) -> None:
    watch.supervisor.start([service("one", SLEEP), service("two", SLEEP)])
    watch.run()
    before = watch.supervisor.pids()
    os.kill(before["one"], signal.SIGKILL)
    eventually(lambda: watch.supervisor.pids().get("one") not in {None, before["one"]})
    eventually(lambda: watch.events.count(("one", "ready")) == 2)
    assert watch.supervisor.pids()["two"] == before["two"]
    assert any("killed by signal 9" in text for name, text in watch.events if name == "one")


def test_everything_is_stopped_last_started_first(
    watch: Watch, service: Callable[..., Service]
) -> None:
    watch.supervisor.start([service("first", SLEEP)])
    watch.supervisor.start([service("second", SLEEP)])
    pids = list(watch.supervisor.pids().values())
    watch.end()
    assert [name for name, text in watch.events if text == "stopping"] == ["second", "first"]
    assert not any(process.is_running(pid) for pid in pids)


def test_what_ignores_the_request_to_stop_is_killed(
    watch: Watch, service: Callable[..., Service]
) -> None:
    watch.supervisor.start([service("deaf", STUBBORN, stop_seconds=0.2)])
    pid = watch.supervisor.pids()["deaf"]
    eventually(lambda: _said(watch, "deaf"))
    watch.end()
    assert not process.is_running(pid)


def _said(watch: Watch, name: str) -> bool:
    watch.supervisor._logs.pump()
    return (name, "up") in watch.lines


def test_the_children_of_a_service_go_with_it(
    watch: Watch, service: Callable[..., Service]
) -> None:
    watch.supervisor.start([service("family", WITH_CHILD)])
    leader = watch.supervisor.pids()["family"]
    eventually(lambda: len(process.in_session(leader)) == 2)
    watch.end()
    assert process.in_session(leader) == []


def test_a_service_that_cannot_start_is_reported_with_its_last_words(
    watch: Watch, service: Callable[..., Service]
) -> None:
    broken = service("broken", "raise SystemExit('no such table')", settle_seconds=5)
    with pytest.raises(StackError, match=r"broken does not stay up: .*no such table"):
        watch.supervisor.start([broken])


def test_a_service_that_never_answers_is_reported(service: Callable[..., Service]) -> None:
    watch = Watch()
    watch.supervisor.ready_seconds = 0.5
    try:
        with pytest.raises(StackError, match="mute does not answer"):
            watch.supervisor.start([service("mute", SLEEP, answers=lambda: False)])
    finally:
        watch.end()


def test_a_request_to_stop_ends_the_start(watch: Watch, service: Callable[..., Service]) -> None:
    watch.supervisor.request_stop()
    with pytest.raises(StopRequestedError):
        watch.supervisor.start([service("mute", SLEEP, answers=lambda: False)])


def test_lines_are_shown_with_the_name_of_their_service(
    watch: Watch, service: Callable[..., Service]
) -> None:
    watch.supervisor.start([service("one", SLEEP), service("two", SLEEP)])
    watch.run()
    eventually(lambda: {("one", "up"), ("two", "up")} <= set(watch.lines))


def test_the_wait_before_a_restart_grows(
    watch: Watch, service: Callable[..., Service], tmp_path: Path
) -> None:
    started = tmp_path / "started"
    code = f"open({str(started)!r}, 'a').write('x'); import time; time.sleep(0.3)"
    watch.supervisor.start([service("weak", code)])
    watch.run()
    eventually(lambda: sum("restarting in" in text for _, text in watch.events) >= 3)
    waits = [text.partition("restarting in ")[2] for _, text in watch.events if "resta" in text]
    assert waits[:3] == ["0.5 s", "1.0 s", "2.0 s"]
    assert len(started.read_text()) >= 3
