"""Which steps are to be taken for a debt: pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from billing.dunning.tables import DunningAction


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a schedule.

    Attributes:
        day: after the due date; negative is before it.
    """

    day: int
    action: DunningAction
    subject: str | None = None
    body: str | None = None

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> "Step":
        """A stored step."""
        return cls(**{**stored, "action": DunningAction(stored["action"])})

    @property
    def key(self) -> tuple[int, DunningAction]:
        """By which it is taken once for an invoice."""
        return self.day, self.action


def steps_due(
    steps: Sequence[Step],
    due_date: date,
    today: date,
    taken: Collection[tuple[int, DunningAction]],
) -> tuple[list[Step], list[Step]]:
    """The steps to take today, in order, and those to pass over.

    Several may be due at once: after a pause, or for a debt older than its schedule. Of several
    reminders, and of several charges, only the latest is taken: nobody gets four letters on one
    day.
    """
    passed = [
        step
        for step in sorted(steps, key=lambda one: one.day)
        if due_date + timedelta(days=step.day) <= today and step.key not in taken
    ]
    last = {step.action: step for step in passed}
    return [step for step in passed if last[step.action] is step], [
        step for step in passed if last[step.action] is not step
    ]
