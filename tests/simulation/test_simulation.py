"""Seeds without number: nothing lost, nothing doubled, every wallet exact.

`SIM_SEEDS` says how many, as for `make simulate`, which begins anywhere; here it is always at 0.
"""

import os
from collections.abc import Callable
from typing import Any

import pytest

from billing.usage.batch import Position
from billing.wallets import writer
from ingest_api.intake.watermark import ShardMark
from tests.simulation.holds import PostgresHolds
from tests.simulation.postgres_fake import FakePostgres
from tests.simulation.redis_fake import FakeRedis
from tests.simulation.run import known_seeds, run_seed, run_seeds
from tests.simulation.world import World

COUNT = int(os.environ.get("SIM_SEEDS", "60"))
"""`.ci/run` simulates 1,000."""
MOST_SEEDS_TO_NOTICE = 150


@pytest.mark.timeout(max(300, COUNT))
def test_no_seed_loses_or_doubles_what_was_answered() -> None:
    report = run_seeds(range(COUNT))
    assert not report.failures, f"\n{report}"


@pytest.mark.parametrize("seed", known_seeds())
def test_what_a_seed_once_found_stays_mended(seed: int) -> None:
    _, _, why = run_seed(seed)
    assert why is None


def test_a_seed_decides_everything() -> None:
    runs = []
    for _ in range(2):
        world = World(7)
        world.run()
        runs.append((world.history.faults, world.loop.time(), world.postgres.state.order))
    assert runs[0] == runs[1]


def answer_at_once(self: ShardMark, *_: object, **__: object) -> Any:
    """Nobody waits for PostgreSQL."""

    async def nothing() -> None:
        return

    return nothing()


def forget_the_session(
    self: ShardMark, epoch: int, session: int, position: Position, mode: Any
) -> None:
    """The writer's beginning anew is not noticed."""
    ORIGINAL_POLLED(self, epoch, 0, position, mode)


def pass_over_the_session(self: ShardMark, epoch: int, session: int, *more: Any) -> None:
    """Nor by announcements."""
    ORIGINAL_ANNOUNCED(self, epoch, 0, *more)


def keep_the_money(*_: object) -> None:
    """Second debits are not given back."""


def trust_redis(*_: object) -> None:
    """An older Redis is taken for the current one."""


def say_nothing_was_there(self: FakeRedis, *said: Any) -> None:
    """A moved account leaves its old shard without waiting for the writer."""
    ORIGINAL_HOLD_OFF(self, *said)


def know_nothing(*_: object) -> str:
    """An event that is there already is taken again."""
    return "new"


ORIGINAL_HOLD_OFF = FakeRedis.hold_off
ORIGINAL_POLLED = ShardMark.polled
ORIGINAL_ANNOUNCED = ShardMark.announced


@pytest.mark.parametrize(
    "broken",
    [
        [(ShardMark, "wait", answer_at_once)],
        [
            (ShardMark, "polled", forget_the_session),
            (ShardMark, "announced", pass_over_the_session),
        ],
        [(FakeRedis, "compensate", keep_the_money)],
        [(writer, "require_current", trust_redis)],
        [(FakePostgres, "_judge", know_nothing)],
        [(FakeRedis, "hold_off", say_nothing_was_there), (FakePostgres, "_tell", keep_the_money)],
        [(FakeRedis, "write_holds", keep_the_money)],
        [(PostgresHolds, "note", keep_the_money)],
        [(FakePostgres, "_note", keep_the_money)],
    ],
    ids=[
        "answers before PostgreSQL has it",
        "does not notice another Redis",
        "keeps second debits",
        "trusts an older Redis",
        "takes an event again",
        "forgets what the old journal holds of a moved account",
        "drops holds in a rebuild",
        "opens holds again that events named before they were known",
        "tells no shard what another one's journal said",
    ],
)
def test_the_simulation_notices_a_protocol_that(
    broken: list[tuple[Any, str, Callable[..., Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for owner, name, instead in broken:
        monkeypatch.setattr(owner, name, instead)
    seeds = [*reversed(known_seeds()), *range(MOST_SEEDS_TO_NOTICE)]
    assert any(run_seed(seed)[2] is not None for seed in seeds)
