"""The Lua scripts of the wallet path, and calling them by their digest."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import NoScriptError

_FOLDER = Path(__file__).parent

FENCED: Final = -3


@dataclass(frozen=True)
class Script:
    """A script by its name."""

    name: str
    shared: tuple[str, ...] = ()
    """Files that go before it, with functions that several scripts use."""

    @cached_property
    def text(self) -> str:
        """Its source."""
        names = (*self.shared, self.name)
        return "\n".join((_FOLDER / f"{name}.lua").read_text() for name in names)

    @cached_property
    def sha(self) -> str:
        """The digest under which Redis keeps it."""
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    def call(self, redis: "Redis", keys: list[str], args: list[Any]) -> Any:
        """Run it; a server that does not know it gets the text, and keeps it.

        Not by SCRIPT LOAD: in a cluster that goes to all nodes, and needs all of them.
        """
        try:
            return redis.evalsha(self.sha, len(keys), *keys, *args)
        except NoScriptError:
            return redis.eval(self.text, len(keys), *keys, *args)

    async def call_async(self, redis: "AsyncRedis", keys: list[str], args: list[Any]) -> Any:
        """The same, without blocking."""
        try:
            return await redis.evalsha(self.sha, len(keys), *keys, *args)
        except NoScriptError:
            return await redis.eval(self.text, len(keys), *keys, *args)


ADMIT: Final = Script("admit", shared=("price", "resolve", "moved"))
ARRIVE: Final = Script("arrive", shared=("resolve", "witness"))
ADJUST: Final = Script("adjust")
BASE: Final = Script("base")
COMPENSATE: Final = Script("compensate")
DEPART: Final = Script("depart", shared=("witness",))
HOLDS: Final = Script("holds", shared=("resolve", "moved"))
LEAVE: Final = Script("leave")
LOAD: Final = Script("load")
NEWS: Final = Script("news", shared=("resolve", "witness"))
READ: Final = Script("read")
AUDIT: Final = Script("audit")
REMEMBER: Final = Script("remember")
SHOW: Final = Script("show")
