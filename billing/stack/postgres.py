"""PostgreSQL from its wheel, run by calling the bundled programs."""

import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import psycopg
from psycopg import sql

from billing.stack import ports, process
from billing.stack.errors import StackError
from billing.stack.paths import PostgresPlace, make_private_dir, place_postgres
from billing.stack.process import Command
from billing.stack.server import EmbeddedServer

SUPERUSER = "postgres"
RECOVERY_SECONDS = 10.0

_SETTINGS: Mapping[str, str] = {
    "listen_addresses": ports.LOOPBACK,
    "unix_socket_directories": "",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",
    "synchronous_commit": "on",
    "wal_compression": "off",
    "shared_buffers": "256MB",
    "max_connections": "200",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
}


class EmbeddedPostgres(EmbeddedServer):
    """One PostgreSQL server on 127.0.0.1, its data kept in a folder between runs.

    Anybody on this machine may connect (trust): it holds a developer's or a demo's data.

    Args:
        data_dir: the wished folder; see `place_postgres` for when another one is used.
        port: the TCP port.
        database: created at the first start, and named by `url`.
        log: where the server's messages go; beside the data folder by default.
        settings: configuration parameters that override ours.
    """

    title = "PostgreSQL"
    stop_signal = signal.SIGINT  # "fast": roll back what is open, write everything, go

    def __init__(
        self,
        data_dir: Path,
        port: int,
        *,
        database: str = "billing",
        log: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(data_dir, port, log)
        self.database = database
        self._settings = {**_SETTINGS, **(settings or {})}
        self._place: PostgresPlace | None = None

    @property
    def place(self) -> PostgresPlace:
        """As whom the server runs, and where its programs and data really are."""
        if self._place is None:
            self._place = place_postgres(self.data_dir)
        return self._place

    @property
    def url(self) -> str:
        """How to reach the database of the application."""
        return self.url_of(self.database)

    def url_of(self, database: str) -> str:
        """How to reach any database of this server."""
        return f"postgresql://{SUPERUSER}@{ports.LOOPBACK}:{self.port}/{database}"

    def recover(self) -> None:
        """Own the folder, and end a left-over server in it."""
        make_private_dir(self.place.data, self.place.user)
        self.take_lock()
        self._stop_leftover()

    def prepare(self) -> None:
        """Recover, find the port free, create the cluster unless it is there."""
        self.recover()
        place = self.place
        ports.require_free(self.port, "PostgreSQL", "choose another with BILLING_POSTGRES_PORT")
        if not (place.data / "PG_VERSION").exists():
            self._initialise()
        self._check_version()

    def command(self) -> Command:
        """How the server program is run, in the foreground."""
        argv = [str(self.place.programs / "bin" / "postgres"), "-D", str(self.place.data)]
        for name, value in {**self._settings, "port": str(self.port)}.items():
            argv += ["-c", f"{name}={value}"]
        return Command(argv, self.log, _environment(), user=self.place.user)

    def answers(self) -> bool:
        """Whether this port is answered by the server of this data folder."""
        try:
            with psycopg.connect(self.url_of("postgres"), connect_timeout=2) as connection:
                row = connection.execute("show data_directory").fetchone()
        except psycopg.Error:
            return False
        return row is not None and Path(row[0]).resolve() == self.place.data.resolve()

    def after_start(self) -> None:
        """Create the database of the application unless it is there."""
        with psycopg.connect(self.url_of("postgres"), autocommit=True) as connection:
            query = "select 1 from pg_database where datname = %s"
            if connection.execute(query, [self.database]).fetchone() is None:
                connection.execute(
                    sql.SQL("create database {}").format(sql.Identifier(self.database))
                )

    def _stop_leftover(self) -> None:
        """End a server whose owner died, so that its data can be opened again.

        We hold the lock of this folder, so whatever still works in it has lost its owner.
        """
        pid_file = self.place.data / "postmaster.pid"
        workers = process.in_directory(self.place.data)
        if not workers:
            pid_file.unlink(missing_ok=True)  # its process id may by now be a stranger's
            return
        postmaster = _pid_in(pid_file)
        if postmaster in workers:
            process.kill_all([postmaster], self.stop_signal)
        # without a postmaster its children notice within moments and go by themselves
        limit = self.stop_seconds if postmaster in workers else RECOVERY_SECONDS
        if not process.wait_until(lambda: not process.in_directory(self.place.data), limit):
            left = ", ".join(str(pid) for pid in process.in_directory(self.place.data))
            raise StackError(
                f"An earlier PostgreSQL still works in {self.data_dir} (processes {left}): "
                "wait for it or end them."
            )

    def _initialise(self) -> None:
        if any(self.place.data.iterdir()):
            raise StackError(
                f"{self.data_dir} holds other files and no PostgreSQL data: "
                "empty it or set BILLING_LOCAL_DIR to another folder."
            )
        argv = [str(self.place.programs / "bin" / "initdb"), "-D", str(self.place.data)]
        argv += ["-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]
        argv += ["--data-checksums", "--no-instructions"]
        done = process.spawn(Command(argv, self.log, _environment(), user=self.place.user))
        if done.wait() != 0:
            raise StackError(self.why_it_failed())

    def _check_version(self) -> None:
        found = (self.place.data / "PG_VERSION").read_text().strip()
        ours = _major_version(self.place.programs)
        if found != ours:
            raise StackError(
                f"{self.data_dir} was written by PostgreSQL {found}, and this is {ours}: "
                f"dump it with the old version and restore, or set BILLING_LOCAL_DIR elsewhere."
            )


def _major_version(programs: Path) -> str:
    output = subprocess.run(
        [str(programs / "bin" / "postgres"), "--version"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return output.split()[-1].partition(".")[0]


def _environment() -> dict[str, str]:
    """A bare environment: nothing of ours (`PG*`, secrets) reaches the server."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def _pid_in(file: Path) -> int:
    """The process id in a postmaster.pid; 0 when it cannot be read."""
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        try:
            return int(file.read_text().splitlines()[0])
        except FileNotFoundError:
            return 0
        except (IndexError, ValueError):
            time.sleep(0.05)  # being written just now
    return 0
