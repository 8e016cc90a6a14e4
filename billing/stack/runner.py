"""One run of the stack, from taking its lock to the last process stopped."""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from billing.db import migrate
from billing.settings import Settings
from billing.stack import dagster, process, services
from billing.stack.errors import StackError
from billing.stack.paths import make_dir
from billing.stack.ports import LOOPBACK
from billing.stack.postgres import EmbeddedPostgres
from billing.stack.redis import EmbeddedLimitsRedis, EmbeddedRedis
from billing.stack.server import EmbeddedServer
from billing.stack.service import service_of
from billing.stack.state import (
    StackState,
    read_state,
    remove_state,
    stack_lock,
    write_state,
)
from billing.stack.supervisor import StopRequestedError, Supervisor

_LEFTOVER_SECONDS = 15.0
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Screen(Protocol):
    """Where a person sees what happens."""

    def line(self, name: str, text: str) -> None:
        """A line that a process wrote."""

    def event(self, name: str, text: str) -> None:
        """Something that happened to a process, or to the stack."""

    def ready(self, state: StackState) -> None:
        """Everything answers."""


@dataclass
class StackRunner:
    """Starts the chosen services, watches over them, stops them.

    Raises:
        StackError: from `run`, for everything a person can mend.
    """

    settings: Settings
    screen: Screen
    only: str | None = None
    _servers: dict[str, EmbeddedServer] = field(default_factory=dict, init=False)

    @property
    def local_dir(self) -> Path:
        """The folder of this stack."""
        return self.settings.local_dir.absolute()

    def run(self) -> None:
        """Run until a signal asks for the end."""
        names = services.select(self.only, self.settings)
        make_dir(self.local_dir)
        lock = stack_lock(self.local_dir)
        if not lock.acquire():
            raise StackError(_already_running(read_state(self.local_dir)))
        supervisor = Supervisor(self.screen.line, self.screen.event)
        try:
            with _stops_on_signal(supervisor):
                self._run(names, supervisor)
        except StopRequestedError:
            self.screen.event("stack", "stopped before it was ready")
        finally:
            lock.release()

    def _run(self, names: Sequence[str], supervisor: Supervisor) -> None:
        self._end_leftovers()
        remove_state(self.local_dir)
        try:
            self._recover_servers(names)
            ports = services.choose_ports(names, self.settings, self._tell)
            state = self._start(names, ports, supervisor)
            self.screen.ready(state)
            supervisor.run()
        finally:
            supervisor.stop()
            for server in self._servers.values():
                server.stop()
            remove_state(self.local_dir)

    def _start(
        self, names: Sequence[str], ports: dict[str, int], supervisor: Supervisor
    ) -> StackState:
        for name, server in self._servers.items():
            server.port = ports[name]
        supervisor.start(service_of(name, server) for name, server in self._servers.items())
        state = self._state(ports)
        write_state(self.local_dir, state)
        if state.database_url:
            self._tell("bringing the database to the newest schema")
            migrate.upgrade(state.database_url)
            self._start_applications(names, ports, state, supervisor)
        state = replace(state, ready=True, processes=supervisor.pids())
        write_state(self.local_dir, state)
        return state

    def _start_applications(
        self,
        names: Sequence[str],
        ports: dict[str, int],
        state: StackState,
        supervisor: Supervisor,
    ) -> None:
        if state.database_url is None:
            return
        around = services.Surroundings(
            self.local_dir,
            state.database_url,
            state.redis_url,
            dict(ports),
            state.limits_redis_url,
        )
        if "pipeline" in names:
            dagster.write_home(around.dagster_home, LOOPBACK, ports["pipeline"])
            dagster.ensure_schema(state.database_url)
        made = services.applications(names, around)
        # Dagster's first process creates its tables; two at once would get in each other's way
        later = [one for one in made if one.name in services.AFTER_PIPELINE]
        supervisor.start(one for one in made if one not in later)
        supervisor.start(later)

    def _recover_servers(self, names: Sequence[str]) -> None:
        """Make the embedded servers, their folders owned, before ports are looked at."""
        logs = self.local_dir / "logs"
        make_dir(logs)
        if "postgres" in names:
            port = self.settings.postgres_port
            self._servers["postgres"] = EmbeddedPostgres(
                self.local_dir / "postgres", port, log=logs / "postgres.log"
            )
        if "redis" in names:
            port = self.settings.redis_port
            self._servers["redis"] = EmbeddedRedis(
                self.local_dir / "redis", port, log=logs / "redis.log"
            )
        if "limits" in names:
            port = self.settings.limits_redis_port
            self._servers["limits"] = EmbeddedLimitsRedis(
                self.local_dir / "limits", port, log=logs / "limits.log"
            )
        for server in self._servers.values():
            server.recover()

    def _state(self, ports: dict[str, int]) -> StackState:
        def web(name: str) -> str | None:
            return f"http://127.0.0.1:{ports[name]}" if name in ports else None

        def server(name: str, given: str | None) -> str | None:
            return self._servers[name].url if name in self._servers else given

        return StackState(
            pid=os.getpid(),
            ready=False,
            logs=str(self.local_dir / "logs"),
            database_url=server("postgres", self.settings.database_url),
            redis_url=server("redis", self.settings.redis_url),
            limits_redis_url=server("limits", self.settings.limits_redis_url),
            api_url=web("api"),
            console_url=web("console"),
            dagster_url=web("dagster"),
        )

    def _end_leftovers(self) -> None:
        """End the processes of a supervisor that died here; they carry our mark."""
        left = process.with_environment(services.MARK, str(self.local_dir))
        if not left:
            return
        self._tell(f"ending {len(left)} processes that an earlier run left behind")
        process.kill_all(left, signal.SIGTERM)

        def gone() -> bool:
            return not process.with_environment(services.MARK, str(self.local_dir))

        if not process.wait_until(gone, _LEFTOVER_SECONDS):
            left = process.with_environment(services.MARK, str(self.local_dir))
            process.kill_all(left, signal.SIGKILL)
            process.wait_until(gone, _LEFTOVER_SECONDS)

    def _tell(self, sentence: str) -> None:
        self.screen.event("stack", sentence)


def _already_running(state: StackState | None) -> str:
    where = ", ".join(f"{name} {url}" for name, url in state.urls()) if state else "starting up"
    who = f" (process {state.pid})" if state else ""
    return f"The stack already runs{who}: {where}."


@contextmanager
def _stops_on_signal(supervisor: Supervisor) -> Iterator[None]:
    before = {
        number: signal.signal(number, lambda *_: supervisor.request_stop())
        for number in _STOP_SIGNALS
        # under nohup a hang-up is ignored, and stays so
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
