"""What the machine tells about itself: a reference spin, and what processes used."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from billing.stack import process

_TICKS = os.sysconf("SC_CLK_TCK")


def spin_ms() -> float:
    """Milliseconds for a fixed bit of arithmetic, best of three; more: disturbed."""
    return min(_spin() for _ in range(3)) * 1000


def _spin() -> float:
    start = time.perf_counter()
    total = 0
    for number in range(400_000):
        total += number * number
    return time.perf_counter() - start


@dataclass(frozen=True, slots=True)
class Usage:
    """What a group of processes used since it started."""

    cpu_seconds: float
    rss_mb: float


def usage_of(leader: int) -> Usage:
    """Of a process, its session and its children; PostgreSQL's open sessions of their own."""
    seconds, rss = 0.0, 0.0
    session = set(process.in_session(leader))
    for pid in process.all_pids():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            if pid not in session and int(fields[1]) != leader:
                continue
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        # utime, stime, and those of children that were waited for
        seconds += sum(int(fields[index]) for index in (11, 12, 13, 14)) / _TICKS
        for line in status.splitlines():
            if line.startswith("VmRSS:"):
                rss += int(line.split()[1]) / 1024
    return Usage(seconds, rss)


def own_cpu_seconds() -> float:
    """Of this process."""
    times = os.times()
    return times.user + times.system
