"""`stack.json`: what a running stack tells the other commands, and whether it still runs."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from billing.stack.process import FileLock


@dataclass(frozen=True, slots=True)
class StackState:
    """Where everything of one running stack is. A URL is None when that part is not run."""

    pid: int
    ready: bool
    logs: str
    database_url: str | None = None
    redis_url: str | None = None
    limits_redis_url: str | None = None
    api_url: str | None = None
    console_url: str | None = None
    dagster_url: str | None = None
    processes: Mapping[str, int] = field(default_factory=dict)

    def urls(self) -> list[tuple[str, str]]:
        """The parts that run, with what a person calls them, passwords left out."""
        parts = (
            ("console", self.console_url),
            ("API", self.api_url),
            ("Dagster", self.dagster_url),
            ("PostgreSQL", self.database_url),
            ("Redis", self.redis_url),
        )
        return [(name, without_password(url)) for name, url in parts if url]


def without_password(url: str) -> str:
    """A URL fit to be shown."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    who, _, where = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{who.partition(':')[0]}:***@{where}"))


def state_file(local_dir: Path) -> Path:
    """Where the state of the stack in this folder is."""
    return local_dir / "stack.json"


def stack_lock(local_dir: Path) -> FileLock:
    """The lock a running stack holds."""
    return FileLock(local_dir / "stack.lock")


def write_state(local_dir: Path, state: StackState) -> None:
    """Replace the state in one step; it may hold a password, so only its owner can read it."""
    unfinished = local_dir / f"stack.json.{os.getpid()}"
    unfinished.touch(mode=0o600)
    unfinished.write_text(json.dumps(asdict(state), indent=2) + "\n")
    unfinished.replace(state_file(local_dir))


def read_state(local_dir: Path) -> StackState | None:
    """What the stack in this folder said last, or None."""
    try:
        return StackState(**json.loads(state_file(local_dir).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def remove_state(local_dir: Path) -> None:
    """Say that nothing runs any more."""
    state_file(local_dir).unlink(missing_ok=True)
