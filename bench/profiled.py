"""`python -m bench.profiled FILE MODULE ARGUMENTS…`: a module under cProfile, ended by SIGTERM."""

import cProfile
import runpy
import signal
import sys
from types import FrameType


def _end(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)


def main() -> None:
    """Run the module; its profile is written also when a signal ends it."""
    _, file, module, *arguments = sys.argv
    sys.argv = [module, *arguments]
    signal.signal(signal.SIGTERM, _end)
    profile = cProfile.Profile()
    profile.enable()
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        profile.disable()
        profile.dump_stats(file)


if __name__ == "__main__":
    main()
