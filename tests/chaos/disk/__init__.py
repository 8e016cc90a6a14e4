"""A disk that a test makes slow, full, or lose power: `disk.c` in front of a server."""

import hashlib
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from billing.stack.postgres import EmbeddedPostgres
from billing.stack.process import Command
from billing.stack.redis import EmbeddedRedis

_SOURCE = Path(__file__).with_name("disk.c")


def _library() -> Path:
    """The compiled library, kept between runs under the digest of its source."""
    digest = hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:16]
    library = Path(tempfile.gettempdir()) / f"billing-disk-{os.getuid()}-{digest}.so"
    if not library.exists():
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise RuntimeError("A C compiler is needed: run scripts/setup.sh --test.")
        made = library.with_suffix(f".{os.getpid()}")
        argv = [compiler, "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(made)]
        subprocess.run([*argv, str(_SOURCE), "-ldl"], check=True)
        made.chmod(0o755)
        made.rename(library)
    return library


@dataclass(frozen=True)
class Disk:
    """One disk, under one server.

    Args:
        folder: where its state is kept; every user may enter it.
        notes: whether it remembers what was synced, for `lose_power`.
    """

    folder: Path
    notes: bool = False

    def __post_init__(self) -> None:
        self.synced.mkdir(parents=True, exist_ok=True)
        self.synced.chmod(0o777)
        self.set()

    @property
    def synced(self) -> Path:
        """How long each file was when it was last synced."""
        return self.folder / "synced"

    def set(self, *, sync_us: int = 0, full: bool = False) -> None:
        """Make it slow or full from now on, or neither."""
        with (self.folder / "control").open("r+b" if self._control.exists() else "w+b") as control:
            control.write(struct.pack("=ii", sync_us, full))

    def lose_power(self, folder: Path) -> int:
        """Cut what was not synced off the append-only files there; how many bytes that was.

        The server must be dead.
        """
        lost = 0
        for file in folder.glob("*.incr.aof"):
            note = self.synced / file.name
            kept = int(note.read_text()) if note.exists() else 0
            lost += file.stat().st_size - kept
            os.truncate(file, kept)
        return lost

    @property
    def _control(self) -> Path:
        return self.folder / "control"

    def under(self, command: Command) -> Command:
        """The same command with this disk in front of it."""
        environment: Mapping[str, str] = {
            **command.env,
            "LD_PRELOAD": str(_library()),
            "DISK_CONTROL": str(self._control),
            **({"DISK_SYNCED": str(self.synced)} if self.notes else {}),
        }
        return replace(command, env=environment)


class RedisOnDisk(EmbeddedRedis):
    """Redis on a disk of its own."""

    disk: Disk

    def command(self) -> Command:
        """As ever, with the disk in front."""
        return self.disk.under(super().command())


class PostgresOnDisk(EmbeddedPostgres):
    """PostgreSQL on a disk of its own."""

    disk: Disk

    def command(self) -> Command:
        """As ever, with the disk in front."""
        return self.disk.under(super().command())
