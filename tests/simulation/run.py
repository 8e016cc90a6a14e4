"""Many seeds, over all processors."""

import multiprocessing
import os
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.simulation.world import World

_SEEDS = Path(__file__).with_name("seeds.txt")


@dataclass
class Report:
    """What came of some seeds."""

    seeds: int = 0
    seconds: float = 0.0
    events: int = 0
    faults: int = 0
    failures: dict[int, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"seed {seed}: {why}" for seed, why in sorted(self.failures.items())]
        lines.append(
            f"{self.seeds} seeds in {self.seconds:.0f} s: {self.events} events, "
            f"{self.faults} faults, {len(self.failures)} failures"
        )
        if self.failures:
            lines.append(f"put these seeds into {_SEEDS.name}, and mend what they found")
        return "\n".join(lines)


def known_seeds() -> list[int]:
    """Those that once found something."""
    lines = _SEEDS.read_text().splitlines()
    return [int(line.split()[0]) for line in lines if line and not line.startswith("#")]


def run_seed(seed: int) -> tuple[int, int, str | None]:
    """Events, faults, and why it failed, if it did."""
    world = World(seed)
    try:
        world.run()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what the seed found
        why = f"{type(error).__name__}: {error}; after {', '.join(world.history.faults)}"
        return len(world.history.sent), len(world.history.faults), why
    return len(world.history.sent), len(world.history.faults), None


def run_seeds(seeds: Iterable[int]) -> Report:
    """Run each in a process of some."""
    chosen = list(seeds)
    report, began = Report(len(chosen)), time.monotonic()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        results = pool.map(run_seed, chosen, chunksize=20)
        for seed, (events, faults, why) in zip(chosen, results, strict=True):
            report.events += events
            report.faults += faults
            if why is not None:
                report.failures[seed] = why
    report.seconds = time.monotonic() - began
    return report
