"""Operating-system processes: start one apart from us, find those left behind, stop them.

Everything here reads `/proc`, so the embedded stack runs on Linux only.
"""

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from billing.stack.errors import StackError

_POLL_SECONDS = 0.05
_KILL_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Command:
    """One program to run: what, as whom, where, with which environment, logging to which file."""

    argv: Sequence[str]
    log: Path
    env: Mapping[str, str]
    cwd: Path = Path("/")
    user: str | None = None


def spawn(command: Command) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, its output going straight to its log file.

    A file, not a pipe: the program neither blocks nor dies when we do.

    Raises:
        StackError: if the program cannot be executed.
    """
    command.log.parent.mkdir(parents=True, exist_ok=True)
    extra_groups: list[int] | None = [] if command.user else None
    with command.log.open("ab") as log:
        try:
            return subprocess.Popen(
                list(command.argv),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=command.cwd,
                env=dict(command.env),
                user=command.user,
                extra_groups=extra_groups,
                start_new_session=True,
            )
        except OSError as error:
            raise StackError(f"{command.argv[0]} cannot be started: {error.strerror}.") from error


def stop(
    process: subprocess.Popen[bytes], first: signal.Signals = signal.SIGTERM, grace: float = 10.0
) -> None:
    """Ask a program to end, wait `grace` seconds, then kill what is left of its session."""
    if process.poll() is None:
        process.send_signal(first)
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    kill_all(in_session(process.pid), signal.SIGKILL)
    wait_until(lambda: not in_session(process.pid), _KILL_SECONDS)


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether the condition came true within so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def all_pids() -> list[int]:
    """Every process that `/proc` shows."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def is_running(pid: int) -> bool:
    """Whether the process exists and is more than a zombie nobody has collected."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state not in {"Z", "X"}


def in_directory(directory: Path) -> list[int]:
    """Processes whose working directory is this one, as a database server's all are."""
    wanted = str(directory.resolve())
    return [pid for pid in all_pids() if _cwd(pid) == wanted and is_running(pid)]


def in_session(leader: int) -> list[int]:
    """Processes of the session that `leader` opened, itself included."""
    return [pid for pid in all_pids() if _session(pid) == leader and is_running(pid)]


def with_environment(name: str, value: str) -> list[int]:
    """Processes started with exactly this environment variable, other than ourselves."""
    wanted = f"{name}={value}".encode()
    mine = os.getpid()
    return [
        pid for pid in all_pids() if pid != mine and wanted in _environment(pid) and is_running(pid)
    ]


def kill_all(pids: Iterable[int], how: signal.Signals) -> None:
    """Send a signal to each; one that has gone meanwhile is no error."""
    for pid in pids:
        try:
            os.kill(pid, how)
        except (ProcessLookupError, PermissionError):
            continue


def _cwd(pid: int) -> str | None:
    try:
        return str(Path(f"/proc/{pid}/cwd").readlink())
    except OSError:
        return None


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


@dataclass
class FileLock:
    """A lock that the kernel lets go when its holder dies, however it dies."""

    path: Path
    _file: IO[str] | None = field(default=None, init=False)

    def acquire(self) -> bool:
        """Take it, or say that somebody else holds it. Taking it twice is taking it once."""
        if self._file is not None:
            return True
        file = self.path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        self._file = file
        return True

    def release(self) -> None:
        """Let it go; nothing happens if we do not hold it."""
        if self._file is not None:
            self._file.close()
            self._file = None
