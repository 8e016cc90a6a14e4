"""Named places where a test makes a process die, wait or fail.

Off unless the environment says otherwise when the process starts:

    FAILPOINTS="writer.before_commit=kill@3;mirror.before_adjust=sleep:2000"

Each part is `name=action`, and `@n` lets the action wait for the n-th time the place is reached;
it then happens once. Actions: `kill` (SIGKILL to ourselves, as a crash does), `sleep:MILLISECONDS`,
`raise` (an OSError, as a connection that broke does).
"""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

VARIABLE: Final = "FAILPOINTS"


@dataclass
class _Armed:
    act: Callable[[], None]
    left: int


def parse(text: str) -> dict[str, _Armed]:
    """What the variable asks for, by the names of the places.

    Raises:
        ValueError: if it cannot be understood.
    """
    armed = {}
    for part in filter(None, text.split(";")):
        name, equals, action = part.strip().partition("=")
        what, _, times = action.partition("@")
        if not equals or (times and not times.isdecimal()):
            raise ValueError(f"{VARIABLE}: {part!r} is not name=action or name=action@n")
        armed[name] = _Armed(_action(name, what), int(times or 1))
    return armed


def _action(name: str, what: str) -> Callable[[], None]:
    verb, _, argument = what.partition(":")
    if what == "kill":
        return lambda: os.kill(os.getpid(), signal.SIGKILL)
    if what == "raise":
        return lambda: _fail(name)
    if verb == "sleep":
        milliseconds = int(argument)
        return lambda: time.sleep(milliseconds / 1000)
    raise ValueError(f"{VARIABLE}: {what!r} is none of kill, sleep:MILLISECONDS, raise")


def _fail(name: str) -> None:
    raise OSError(f"failpoint {name}")


_armed: dict[str, _Armed] = parse(os.environ.get(VARIABLE, ""))


def failpoint(name: str) -> None:
    """Do here what the environment asks for; nothing, when it asks for nothing."""
    if _armed and name in _armed:
        armed = _armed[name]
        armed.left -= 1
        if armed.left == 0:
            armed.act()
