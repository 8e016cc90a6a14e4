"""The stack the demo runs on: one that is up already, or a child of ours."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import httpx

from billing.demo.client import DemoError
from billing.settings import Settings
from billing.stack.services import PROJECT, Surroundings
from billing.stack.state import StackState, read_state

_START_SECONDS: Final = 180.0
_STOP_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class RunningStack:
    """Where the parts are, and the process that holds them if it is ours."""

    database_url: str
    redis_url: str
    api_url: str
    console_url: str | None
    dagster_url: str | None
    environment: Mapping[str, str]
    """Of a process that is to work on this stack."""
    child: "subprocess.Popen[bytes] | None" = None

    def wait(self) -> None:
        """Stay until the stack ends or we are interrupted; at once, if it is not ours."""
        if self.child is not None:
            self.child.wait()


@contextmanager
def running_stack(settings: Settings) -> Iterator[RunningStack]:
    """The stack that answers now, or one that is started here and stopped at the end.

    Raises:
        DemoError: if one that is started does not become ready.
    """
    state = _answering(settings)
    if state is not None:
        yield _described(settings, state)
        return
    with interrupted_by_signals():
        child, log = _start(settings)
        try:
            yield _described(settings, _wait_until_ready(settings, child, log), child)
        finally:
            _stop(child)


@contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """Let SIGTERM and a hang-up end us as Ctrl-C does, so that the stack is stopped.

    SIGINT too: whatever a script runs in the background begins with it ignored.
    """

    def interrupt(number: int, _: object) -> NoReturn:
        signal.signal(number, signal.SIG_IGN)  # stopping is under way
        raise KeyboardInterrupt

    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # under nohup it stays ignored
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _answering(settings: Settings) -> StackState | None:
    state = read_state(settings.local_dir)
    if state is None or not state.ready or not state.api_url:
        return None
    try:
        healthy = httpx.get(f"{state.api_url}/health/live", timeout=5).is_success
    except httpx.TransportError:
        return None
    return state if healthy else None


def _start(settings: Settings) -> tuple["subprocess.Popen[bytes]", Path]:
    log = settings.local_dir / "logs" / "stack.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        child = subprocess.Popen(
            [sys.executable, "-c", "from billing.cli.main import app; app()", "stack"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=PROJECT,
            start_new_session=True,  # Ctrl-C reaches us alone; we stop it in good order
        )
    return child, log


def _wait_until_ready(
    settings: Settings, child: "subprocess.Popen[bytes]", log: Path
) -> StackState:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if child.poll() is not None:
            break
        state = read_state(settings.local_dir)
        if state is not None and state.pid == child.pid and state.ready:
            return state
        time.sleep(_POLL_SECONDS)
    said = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
    raise DemoError(f"The stack did not start. It said:\n{said}\n(all of it in {log})")


def _stop(child: "subprocess.Popen[bytes]") -> None:
    if child.poll() is not None:
        return
    child.send_signal(signal.SIGTERM)
    try:
        child.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _described(
    settings: Settings, state: StackState, child: "subprocess.Popen[bytes] | None" = None
) -> RunningStack:
    database_url = state.database_url or settings.require_database_url()
    redis_url = state.redis_url or settings.require_redis_url()
    around = Surroundings(settings.local_dir.absolute(), database_url, redis_url, ports={})
    return RunningStack(
        database_url=database_url,
        redis_url=redis_url,
        api_url=state.api_url or f"http://127.0.0.1:{settings.api_port}",
        console_url=state.console_url,
        dagster_url=state.dagster_url,
        environment=around.environment(),
        child=child,
    )
