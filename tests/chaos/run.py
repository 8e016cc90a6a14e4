"""A run of faults: which, in which order, and what came of it."""

import random
import time
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.chaos.check import Verdict, check, holds_at_work
from tests.chaos.faults import FAILPOINTS, FAULTS, Fault, Scene, crash_at
from tests.chaos.load import History, Load
from tests.chaos.stack import running_stack

_PREFIX = "killed at "

SHARDS = 2
CREDIT_LINE = 10**13
"""Wallet units: enough that holds are given whatever was sent."""


@dataclass
class Report:
    """What a run did and found."""

    seed: int
    faults: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """By kind: the longest time without an answer, in seconds, of each."""
    events: int = 0
    requests: int = 0
    top_ups: int = 0
    amendments: int = 0
    holds: int = 0
    seconds: float = 0.0
    verdict: Verdict | None = None

    @property
    def failpoints(self) -> set[str]:
        """Names of the failpoints at which something died."""
        return {kind.removeprefix(_PREFIX) for kind in self.faults if kind.startswith(_PREFIX)}

    def __str__(self) -> str:
        lines = [f"{'fault':<44} {'times':>5}  longest stall"]
        for kind, stalls in sorted(self.faults.items()):
            lines.append(f"{kind:<44} {len(stalls):>5} {max(stalls):>12.1f} s")
        every = [stall for stalls in self.faults.values() for stall in stalls]
        lines.append(
            f"seed {self.seed}: {len(every)} faults in {self.seconds:.0f} s; "
            f"{self.events} events durable over {self.requests} requests, {self.top_ups} top-ups, "
            f"{self.amendments} amendments, {self.holds} holds; "
            f"longest stall {max(every, default=0):.1f} s"
        )
        if self.verdict is not None:
            found = self.verdict
            lines.append(
                f"{found.lost} acknowledged events lost, {found.doubled} doubled; "
                + (
                    "; ".join(found.strange)
                    or f"all {found.wallets} wallets equal in Redis, ledger and independent sum"
                )
            )
        return "\n".join(lines)


def plan(faults: int, seed: int) -> list[str]:
    """Kinds in the order in which they happen: each at least once, if there is room."""
    chance = random.Random(seed)
    every = [*FAULTS, *(_PREFIX + name for name in FAILPOINTS)]
    chosen: list[str] = []
    while len(chosen) < faults:
        chosen += chance.sample(every, min(len(every), faults - len(chosen)))
    chance.shuffle(chosen)
    return chosen


def _fault(kind: str) -> Fault:
    return FAULTS[kind] if kind in FAULTS else crash_at(kind.removeprefix(_PREFIX))


def run_chaos(folder: Path, faults: int, seed: int, *, say: bool = False) -> Report:
    """Break a stack of its own so many times under load, and compare at the end.

    Holds, which do not last, are compared after each fault as well.

    Args:
        folder: empty, with a short name; every user may enter it.
        say: print each fault as it happens.
    """
    report, history = Report(seed), History(seed)
    chance = random.Random(seed)
    odd: list[str] = []
    began = time.monotonic()
    with running_stack(folder, shards=SHARDS, credit_line=CREDIT_LINE) as stack:
        with Load(stack, history) as load:
            scene = Scene(stack, load, chance)
            scene.wait_for_answers()
            history.take_stall()
            for number, kind in enumerate(plan(faults, seed), start=1):
                if say:
                    print(f"{number:>4} {kind:<44}", end="", flush=True)
                scene.pause(0, 0.3)
                _fault(kind)(scene)
                scene.wait_for_answers()
                stall = history.take_stall()
                report.faults[kind].append(stall)
                odd += [f"after {kind}: {one}" for one in holds_at_work(stack, history)]
                if say:
                    print(f" {stall:>5.1f} s", flush=True)
        report.events, report.requests = len(history.answered), history.requests
        report.top_ups = len(history.top_ups)
        report.amendments, report.holds = len(history.amended), history.holds
        found = check(stack, history)
        report.verdict = replace(found, strange=[*odd, *found.strange])
    report.seconds = time.monotonic() - began
    return report
