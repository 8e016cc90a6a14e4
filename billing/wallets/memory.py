"""How full the Redis that holds money is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_MACHINE_SHARE: Final = 2
"""Without a `maxmemory` of its own it may have half of the machine."""


@dataclass(frozen=True, slots=True)
class RedisMemory:
    """Bytes in use, and bytes there are."""

    used: int
    most: int

    def is_above(self, percent: int) -> bool:
        """Whether more than that part is in use; never, if it is not known how much there is."""
        return self.most > 0 and self.used * 100 > self.most * percent


def read_memory(info: Mapping[str, Any]) -> RedisMemory:
    """What `INFO memory` says."""
    most = int(info.get("maxmemory", 0)) or int(info.get("total_system_memory", 0)) // (
        _MACHINE_SHARE
    )
    return RedisMemory(int(info.get("used_memory", 0)), most)
