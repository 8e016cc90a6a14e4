"""The garbage collector, told what kind of processes these are.

API and writer make many short-lived objects on top of a large heap that never changes: modules,
routes, models. Walked through again and again, that heap costs a quarter of the time and the worst
latencies. So what is there after the start is left out, and the rest is looked at less often:
nearly all of it goes by reference counting.
"""

import gc
from typing import Final

_YOUNG: Final = 20_000
_MIDDLE: Final = 20
_OLD: Final = 50


def calm_collector() -> None:
    """Call it once everything is loaded."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
