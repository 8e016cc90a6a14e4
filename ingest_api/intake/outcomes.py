"""What is said of an event: by Redis when it is admitted, and to its sender in the end."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from billing.usage.batch import Position
from billing.wallets.journal import Admission


class Status(StrEnum):
    """What became of an event."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    REJECTED = "rejected"
    UNAVAILABLE = "unavailable"
    """Not taken, or not known: send it again with the same id."""


class Durability(StrEnum):
    """Where an event is that was answered."""

    LEDGER = "ledger"
    """In PostgreSQL."""
    JOURNAL = "journal"
    """In the journal in Redis; it gets into PostgreSQL when that is back."""


@dataclass(slots=True)
class Named:
    """An admission with the name of its event."""

    source: str
    event_id: str
    admission: Admission
    journal_answers: bool | None = None
    """Whether its account allows an answer by the journal; None: as this process is configured."""
    shard: int = 0


@dataclass(slots=True)
class Outcome:
    """What became of one event, and when it was first taken in."""

    status: Status
    accepted_at: datetime | None = None
    code: str | None = None
    durability: Durability = Durability.LEDGER
    """Of an accepted event or a duplicate."""


@dataclass(slots=True)
class Letter:
    """What was said of one event when it was admitted, in the letters of admit.lua."""

    letter: str
    epoch: int
    received_at: datetime
    position: Position | None
    session: int = 0
    """Of the writer when it was admitted."""
    plain: bool = True
    """Of direct mode: whether the whole call was simply new."""


UNAVAILABLE: Final = Outcome(Status.UNAVAILABLE, code="try_again")
QUEUE_FULL: Final = Outcome(Status.UNAVAILABLE, code="queue_full")
BUSY: Final = Outcome(Status.UNAVAILABLE, code="busy")
"""Neither was taken: there is no room in the journal, or in this process."""
MOVED: Final = Outcome(Status.UNAVAILABLE, code="moved")
"""Not taken: the account is in another shard, or on its way there."""


def outcomes_of(letters: Sequence[Letter]) -> list[Outcome]:
    """What the letters say; events that share one share what is said."""
    said: list[Outcome] = []
    before: Letter | None = None
    for one in letters:
        said.append(said[-1] if one is before else _outcome(one))
        before = one
    return said


def _outcome(one: Letter) -> Outcome:
    match one.letter:
        case "a":
            return Outcome(Status.ACCEPTED, one.received_at)
        case "d" | "s":
            return Outcome(Status.DUPLICATE, one.received_at)
        case "c":
            return Outcome(Status.CONFLICT, code="event_conflict")
        case "r":
            return Outcome(Status.REJECTED, code="out_of_range")
        case "m":
            return MOVED
        case _:
            return UNAVAILABLE
