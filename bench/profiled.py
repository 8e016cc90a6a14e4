"""`python -m bench.profiled FILE MODULE ARGUMENTS…`: a module, looked at a hundred times a second.

A sampler costs next to nothing and sees every thread, those that wait for the interpreter's lock
included; a tracing profiler would slow down what is measured and see one thread.
"""

import runpy
import signal
import sys
import threading
from collections import Counter
from pathlib import Path
from types import FrameType

_EVERY_SECONDS = 0.01
_SHOWN = 60


class Sampler:
    """Counts where the threads are: innermost functions, and all functions on the stack."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._inner: Counter[tuple[str, str]] = Counter()
        self._outer: Counter[tuple[str, str]] = Counter()
        self._samples = 0

    def start(self) -> None:
        """Look from now on."""
        self._thread.start()

    def write(self, file: Path) -> None:
        """Stop looking and tell, most first."""
        self._stop.set()
        self._thread.join()
        lines = [f"{self._samples} samples"]
        for title, counted in (("innermost", self._inner), ("anywhere", self._outer)):
            lines.append(f"\n{title}")
            lines += [
                f"{count:7} {thread:24} {where}"
                for (thread, where), count in counted.most_common(_SHOWN)
            ]
        file.write_text("\n".join(lines) + "\n")

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_SECONDS):
            self._samples += 1
            names = {one.ident: one.name for one in threading.enumerate()}
            for ident, frame in sys._current_frames().items():  # noqa: SLF001 - the way to look
                if ident != self._thread.ident:
                    self._note(names.get(ident, "?").partition("_")[0], frame)

    def _note(self, thread: str, frame: FrameType) -> None:
        self._inner[thread, _where(frame)] += 1
        seen: set[str] = set()
        one: FrameType | None = frame
        while one is not None:
            seen.add(_where(one))
            one = one.f_back
        self._outer.update((thread, where) for where in seen)


def _where(frame: FrameType) -> str:
    code = frame.f_code
    return f"{'/'.join(code.co_filename.split('/')[-3:])}:{code.co_name}"


def _end(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)


def main() -> None:
    """Run the module; what was seen is written also when a signal ends it."""
    _, file, module, *arguments = sys.argv
    sys.argv = [module, *arguments]
    signal.signal(signal.SIGTERM, _end)
    sampler = Sampler()
    sampler.start()
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        sampler.write(Path(file))


if __name__ == "__main__":
    main()
