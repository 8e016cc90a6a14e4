"""The services of the stack: their names, order, ports and command lines."""

import os
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from billing.settings import Settings
from billing.stack import dagster, ports
from billing.stack.errors import StackError
from billing.stack.process import Command
from billing.stack.service import (
    Service,
    accepts_connections,
    always,
    answers_http,
)

PROJECT = Path(__file__).resolve().parents[2]
MARK = "BILLING_SUPERVISED_IN"
"""An environment variable only our children have: it tells a left-over from a stranger."""

SERVERS = ("postgres", "redis", "limits")
APPLICATIONS = ("writer", "api", "pipeline", "dagster", "console")
AFTER_PIPELINE = ("daemon", "dagster")
NAMES = SERVERS + APPLICATIONS

_STOPPED_IN_ORDER = ("writer", "api")
"""The API answers its last requests when the writer has written them: it goes first."""

_NEEDS_DATABASE = frozenset(APPLICATIONS)
_NEEDS_REDIS = frozenset({"writer", "api", "console"})


@dataclass(frozen=True, slots=True)
class Port:
    """A port: the field of the settings, its environment variable, and what a person calls it."""

    setting: str
    variable: str
    title: str
    service: str | None = None
    """Whose port it is, if it is not the service of the same name."""
    default: int | None = None
    """For a port that only the stack opens without being told to."""

    def wanted(self, settings: Settings) -> int:
        """The port that is set, or else the default."""
        found: int | None = getattr(settings, self.setting)
        return self.default or 0 if found is None else found


PORTS = {
    "postgres": Port("postgres_port", "BILLING_POSTGRES_PORT", "PostgreSQL"),
    "redis": Port("redis_port", "BILLING_REDIS_PORT", "Redis"),
    "limits": Port("limits_redis_port", "BILLING_LIMITS_REDIS_PORT", "the Redis of limits"),
    "api": Port("api_port", "BILLING_API_PORT", "the API"),
    "dagster": Port("dagster_port", "BILLING_DAGSTER_PORT", "Dagster"),
    "console": Port("console_port", "BILLING_CONSOLE_PORT", "the console"),
    "api metrics": Port(
        "api_metrics_port", "BILLING_API_METRICS_PORT", "metrics of the API", "api", 9464
    ),
    "writer metrics": Port(
        "writer_metrics_port",
        "BILLING_WRITER_METRICS_PORT",
        "metrics of the writer",
        "writer",
        9465,
    ),
}


def select(only: str | None, settings: Settings) -> list[str]:
    """The services to run, in order: all or those named, less servers that have a URL.

    Raises:
        StackError: if a name is unknown, or a chosen one needs a server that nobody runs.
    """
    wanted = [name.strip() for name in only.split(",")] if only else list(NAMES)
    unknown = sorted(set(wanted) - set(NAMES))
    if unknown:
        raise StackError(f"There is no service {unknown[0]!r}: choose from {', '.join(NAMES)}.")
    given = {
        "postgres": settings.database_url,
        "redis": settings.redis_url,
        "limits": settings.limits_redis_url,
    }
    chosen = [name for name in NAMES if name in wanted and not given.get(name)]
    for server, variable, needs in (
        ("postgres", "DATABASE_URL", _NEEDS_DATABASE),
        ("redis", "REDIS_URL", _NEEDS_REDIS),
    ):
        waiting = [name for name in chosen if name in needs]
        if waiting and server not in chosen and not given[server]:
            raise StackError(f"{waiting[0]} needs {server}: add it to --only, or set {variable}.")
    if "dagster" in chosen and "pipeline" not in chosen:
        chosen.insert(chosen.index("dagster"), "pipeline")
    return chosen


def choose_ports(
    names: Collection[str], settings: Settings, tell: Callable[[str], None]
) -> dict[str, int]:
    """A free port for each chosen service that listens.

    A port set in the environment is taken as it is; a default that is in use gives way to the
    next free one, which is told.

    Raises:
        StackError: if a port set in the environment is in use.
    """
    chosen: dict[str, int] = {}
    for name, port in PORTS.items():
        if (port.service or name) not in names:
            continue
        wanted = port.wanted(settings)
        if port.setting in settings.model_fields_set:
            ports.require_free(wanted, port.title, f"choose another with {port.variable}")
            chosen[name] = wanted
            continue
        chosen[name] = ports.first_free(wanted, set(chosen.values()))
        if chosen[name] != wanted:
            tell(f"Port {wanted} for {port.title} is in use; taking {chosen[name]}.")
    if "pipeline" in names:
        chosen["pipeline"] = ports.any_free()
    return chosen


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every application process is told."""

    local_dir: Path
    database_url: str
    redis_url: str | None
    ports: Mapping[str, int]
    limits_redis_url: str | None = None

    @property
    def dagster_home(self) -> Path:
        """Where Dagster keeps its files."""
        return self.local_dir / "dagster"

    def environment(self) -> dict[str, str]:
        """The environment of an application process: ours, and where its neighbours are."""
        told = {
            MARK: str(self.local_dir),
            "DATABASE_URL": self.database_url,
            "BILLING_LOCAL_DIR": str(self.local_dir),
            "DAGSTER_HOME": str(self.dagster_home),
            "DAGSTER_POSTGRES_URL": dagster.storage_url(self.database_url),
            "DAGSTER_DISABLE_TELEMETRY": "yes",
            "PYTHONUNBUFFERED": "1",
            "NO_COLOR": "1",
            "TZ": "UTC",
        }
        if self.redis_url:
            told["REDIS_URL"] = self.redis_url
        if self.limits_redis_url:
            told["BILLING_LIMITS_REDIS_URL"] = self.limits_redis_url
        for name, port in PORTS.items():
            if name in self.ports:
                told[port.variable] = str(self.ports[name])
        return {**os.environ, **told}


def applications(names: Collection[str], around: Surroundings) -> list[Service]:
    """The application services among these names, in their order of start.

    Dagster is three processes: one holds the definitions and runs the jobs ("pipeline"), its
    daemon ("daemon") and its web server ("dagster") ask that one.
    """
    made: list[Service] = []
    for name in APPLICATIONS:
        if name in names:
            made += _MAKERS[name](around)
    return made


def _service(
    name: str, around: Surroundings, arguments: list[str], answers: Callable[[], bool]
) -> Service:
    def command() -> Command:
        argv = [sys.executable, *arguments]
        log = around.local_dir / "logs" / f"{name}.log"
        return Command(argv, log, around.environment(), cwd=PROJECT)

    settle = 1.0 if answers is always else 0.0
    independent = name not in _STOPPED_IN_ORDER
    return Service(name, command, answers, settle_seconds=settle, independent=independent)


def _writer(around: Surroundings) -> list[Service]:
    return [_service("writer", around, ["-m", "ingest_api.writer"], always)]


def _api(around: Surroundings) -> list[Service]:
    port = around.ports["api"]
    arguments = ["-m", "uvicorn", "ingest_api.main:app", "--host", ports.LOOPBACK]
    arguments += ["--port", str(port), "--no-access-log", "--timeout-graceful-shutdown", "10"]
    arguments += ["--ws-max-size", "65536"]
    arguments += ["--no-proxy-headers"]  # whom to believe is BILLING_TRUSTED_PROXIES
    return [_service("api", around, arguments, answers_http(port, "/health/live"))]


def _pipeline(around: Surroundings) -> list[Service]:
    port = around.ports["pipeline"]
    code = ["-m", "dagster", "api", "grpc", "-m", "orchestration.definitions"]
    code += ["-h", ports.LOOPBACK, "-p", str(port), "--location-name", "orchestration"]
    code += ["--use-python-environment-entry-point", "--inject-env-vars-from-instance"]
    code += ["--log-level", "warning"]
    workspace = ["-w", str(dagster.workspace_file(around.dagster_home))]
    daemon = ["-m", "dagster._daemon", "run", *workspace, "--log-level", "warning"]
    return [
        _service("pipeline", around, code, accepts_connections(port)),
        _service("daemon", around, daemon, always),
    ]


def _dagster(around: Surroundings) -> list[Service]:
    port = around.ports["dagster"]
    workspace = ["-w", str(dagster.workspace_file(around.dagster_home))]
    web = ["-m", "dagster_webserver", "-h", ports.LOOPBACK, "-p", str(port)]
    web += [*workspace, "--dagster-log-level", "warning"]
    return [_service("dagster", around, web, answers_http(port, "/server_info"))]


def _console(around: Surroundings) -> list[Service]:
    port = around.ports["console"]
    arguments = ["-m", "streamlit", "run", "console/app.py", "--server.headless", "true"]
    arguments += ["--server.address", ports.LOOPBACK, "--server.port", str(port)]
    arguments += ["--server.fileWatcherType", "none", "--browser.gatherUsageStats", "false"]
    return [_service("console", around, arguments, answers_http(port, "/_stcore/health"))]


_MAKERS: Mapping[str, Callable[[Surroundings], list[Service]]] = {
    "writer": _writer,
    "api": _api,
    "pipeline": _pipeline,
    "dagster": _dagster,
    "console": _console,
}
