"""A stretch of a subscription's life: what is sold, and when its recurring charges bill."""

from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from uuid import UUID

from billing.ids import new_id
from billing.periods import Cycle
from billing.subscriptions.tables import Phase


@dataclass(frozen=True, slots=True)
class Part:
    """One plan version and quantity over local days, and the days its recurring charges bill."""

    plan_version_id: UUID
    quantity: Decimal
    phase: Phase
    starts_on: date
    ends_on: date | None
    recurring_from: date
    recurring_to: date | None
    """None while it has no end."""
    cycle: Cycle | None = None
    """How its periods follow each other, if not as those that the subscription began with."""
    add_on_id: UUID | None = None
    """Which add-on it is a part of, if of one."""
    added_on: date | None = None
    """First day of the add-on."""
    id: UUID = field(default_factory=new_id)

    def holds(self, day: date) -> bool:
        """Whether that day is one of its own."""
        return self.starts_on <= day and (self.ends_on is None or day < self.ends_on)

    @property
    def bills(self) -> bool:
        """Whether its recurring charges bill on any day."""
        return self.recurring_to is None or self.recurring_from < self.recurring_to

    def silent(self, phase: Phase) -> "Part":
        """Without recurring charges."""
        return replace(
            self, phase=phase, recurring_from=self.starts_on, recurring_to=self.starts_on
        )

    def billing_until(self, day: date) -> "Part":
        """With recurring charges that bill up to a day and no further."""
        end = day if self.recurring_to is None else min(day, self.recurring_to)
        return replace(self, recurring_to=max(end, self.recurring_from))

    def billing_from(self, day: date) -> "Part":
        """With recurring charges that bill from a day on."""
        end = None if self.recurring_to is None else max(day, self.recurring_to)
        return replace(self, recurring_from=day, recurring_to=end)
