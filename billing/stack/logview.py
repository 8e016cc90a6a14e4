"""One readable view of many log files: new lines, each with the name of its process."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROTATE_BYTES = 50_000_000


@dataclass
class _Tail:
    path: Path
    offset: int
    rest: bytes = b""


@dataclass
class LogView:
    """Follows files and hands every finished new line to `show(name, line)`.

    A file past `ROTATE_BYTES` is moved to `<name>.1`; writers append, so they go on at the start.
    """

    show: Callable[[str, str], None]
    _tails: dict[str, _Tail] = field(default_factory=dict)

    def follow(self, name: str, path: Path) -> None:
        """Show what is written to this file from now on."""
        if name not in self._tails:
            self._tails[name] = _Tail(path, path.stat().st_size if path.exists() else 0)

    def pump(self) -> None:
        """Show what has come since the last call."""
        for name, tail in self._tails.items():
            for line in _new_lines(tail):
                self.show(name, line)
            if tail.offset > ROTATE_BYTES:
                _rotate(tail)


def _new_lines(tail: _Tail) -> list[str]:
    try:
        with tail.path.open("rb") as file:
            file.seek(tail.offset)
            new = file.read()
    except OSError:
        return []
    tail.offset += len(new)
    *lines, tail.rest = (tail.rest + new).split(b"\n")
    return [line.decode(errors="replace").rstrip() for line in lines if line.strip()]


def _rotate(tail: _Tail) -> None:
    shutil.copyfile(tail.path, tail.path.with_name(f"{tail.path.name}.1"))
    with tail.path.open("r+b") as file:
        file.truncate(0)
    tail.offset = 0


def last_lines(path: Path, count: int) -> str:
    """The last lines of a file, joined for use in a sentence."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    return " | ".join(line for line in lines[-count:] if line) or "it said nothing"
