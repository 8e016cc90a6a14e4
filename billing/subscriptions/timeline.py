"""A subscription's segments as a value: what a change makes of them, before anything is stored.

Every change begins at a local midnight. Usage is rated by the segment of its day. Recurring charges
bill over spans of their own, which `Proration` moves within the period of the change: no two spans
share a day, so no period bills more than its whole price.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from uuid import UUID

from billing.errors import PreconditionError, not_found
from billing.ids import new_id
from billing.periods import Calendar, Cycle
from billing.subscriptions.part import Part
from billing.subscriptions.tables import Phase, Proration


@dataclass(frozen=True, slots=True)
class Timeline:
    """The life of a subscription, in parts that follow each other without gap.

    Beside them are those of add-ons, each of which begins and ends within it.
    """

    first_cycle: Cycle
    parts: tuple[Part, ...]
    add_ons: tuple[Part, ...] = ()

    @classmethod
    def of(cls, first_cycle: Cycle, parts: Iterable[Part]) -> "Timeline":
        """From all parts, in order."""
        found = list(parts)
        return cls(
            first_cycle,
            tuple(part for part in found if part.add_on_id is None),
            tuple(part for part in found if part.add_on_id is not None),
        )

    @property
    def all_parts(self) -> tuple[Part, ...]:
        """Those of the plan, and of add-ons."""
        return (*self.parts, *self.add_ons)

    @property
    def calendar(self) -> Calendar:
        """How its whole periods follow each other."""
        later = ((part.starts_on, part.cycle) for part in self.parts)
        return Calendar(self.first_cycle, tuple((day, one) for day, one in later if one))

    @property
    def starts_on(self) -> date:
        """Its first local day."""
        return self.parts[0].starts_on

    @property
    def ends_on(self) -> date | None:
        """The first local day without it."""
        return self.parts[-1].ends_on

    def at(self, day: date) -> Part | None:
        """The part of a day."""
        return next((part for part in self.parts if part.holds(day)), None)

    def switched(
        self,
        day: date,
        proration: Proration,
        *,
        plan_version_id: UUID,
        quantity: Decimal,
        cycle: Cycle | None = None,
    ) -> "Timeline":
        """With another plan version or quantity from a day on; trials and pauses stay.

        Args:
            cycle: that of the periods from then on, if it is another.
        """
        self._require_inside(day)
        if cycle is not None and any(one.lasts(day) for one in self.tracks()):
            raise PreconditionError(
                "An add-on is billed by the periods as they are; end it by that day.",
                code="has_add_ons",
            )
        before, after = self._cut(day)
        if len({(part.plan_version_id, part.quantity) for part in after}) > 1:
            raise PreconditionError(
                "Another change is agreed for a later day; undo it first.", code="later_change"
            )
        other = [
            replace(
                part,
                plan_version_id=plan_version_id,
                quantity=quantity,
                cycle=cycle or part.cycle,
                id=new_id(),
            )
            for part in after
        ]
        changed = replace(self, parts=(*before, *other))
        if other[0].phase is not Phase.ACTIVE:
            return changed
        # the whole price is that of the new period, and what goes on unchanged is the old one
        spans = changed if proration is Proration.FULL else self
        open_from = self.calendar.period(day if cycle is None else day - timedelta(days=1)).start
        moved = max(spans.begins(day, proration, before), self._billed_until(open_from))
        return replace(self, parts=(*_until(before, moved, day, open_from), *_from(other, moved)))

    def paused(self, day: date, proration: Proration, *, resume_on: date | None) -> "Timeline":
        """Without recurring charges from a day on, until it is resumed."""
        self._require_inside(day)
        before, after = self._cut(day)
        if len(after) > 1 or after[0].phase is not Phase.ACTIVE:
            raise PreconditionError(
                "Only an active subscription without later changes can be paused.",
                code="not_active",
            )
        stopped = self._stops(day, proration)
        silent = replace(after[0], id=new_id()).silent(Phase.PAUSED)
        paused = replace(
            self, parts=(*_until(before, stopped, day, self.calendar.period(day).start), silent)
        )
        for track in self.tracks():
            if track.lasts(day):
                paused = paused.with_track(track.paused(day, proration, resume_on=None))
        return paused if resume_on is None else paused.resumed(resume_on, proration)

    def resumed(self, day: date, proration: Proration) -> "Timeline":
        """Active again from a day on."""
        last = self.parts[-1]
        if last.phase is not Phase.PAUSED or day <= last.starts_on or not last.holds(day):
            raise PreconditionError(
                "Only a paused subscription can be resumed, on a day after its pause began.",
                code="not_paused",
            )
        before, _ = self._cut(day)
        active = _active(last, day)
        open_from = self.calendar.period(day).start
        moved = max(self.begins(day, proration, before), self._billed_until(open_from))
        billed = _until(before, moved, day, open_from)
        resumed = replace(self, parts=(*billed, active.billing_from(moved)))
        for track in self.tracks():
            if track.parts[-1].phase is Phase.PAUSED and track.parts[-1].holds(day):
                resumed = resumed.with_track(track.resumed(day, proration))
        return resumed

    def ended(self, day: date, proration: Proration) -> "Timeline":
        """Ended before a day."""
        self._require_inside(day)
        before, _ = self._cut(day)
        stopped = self._stops(day, proration)
        ended = replace(
            self, parts=tuple(_until(before, stopped, day, self.calendar.period(day).start))
        )
        for track in self.tracks():
            if track.starts_on >= day:
                ended = ended.without(track)
            elif track.lasts(day):
                ended = ended.with_track(track.ended(day, proration))
        return ended

    def renewed(self, ends_on: date | None) -> "Timeline":
        """Going on until a later day, or without end."""
        last = self.parts[-1]
        if last.ends_on is None or (ends_on is not None and ends_on <= last.ends_on):
            raise PreconditionError(
                "A renewal moves the end of a subscription that has one to a later day.",
                code="not_later",
            )
        longer = replace(last, ends_on=ends_on)
        if longer.phase is Phase.ACTIVE:
            longer = replace(longer, recurring_to=ends_on)
        return replace(self, parts=(*self.parts[:-1], longer))

    def added(
        self,
        days: tuple[date, date | None],
        proration: Proration,
        *,
        plan_version_id: UUID,
        quantity: Decimal,
    ) -> "Timeline":
        """With an add-on from a day on, until another or until the plan ends.

        Args:
            days: the first local day, and the first without it.
        """
        day, ends_on = days
        main = self.at(day)
        if main is None:
            self._require_inside(day)
        meanwhile = [part for part in self.parts if part.ends_on is None or part.ends_on > day]
        if (
            main is None
            or len({(part.phase is Phase.PAUSED, part.cycle) for part in meanwhile}) > 1
        ):
            raise PreconditionError(
                "A pause or another interval is agreed for a later day.", code="later_change"
            )
        if main.phase is Phase.PAUSED:
            raise PreconditionError("A paused subscription has no add-ons.", code="not_active")
        until = min((one for one in (ends_on, self.ends_on) if one is not None), default=None)
        part = Part(
            plan_version_id,
            quantity,
            Phase.ACTIVE,
            day,
            until,
            day,
            until,
            cycle=main.cycle,
            add_on_id=new_id(),
            added_on=day,
        )
        part = part.billing_from(self.begins(day, proration, ()))
        return replace(self, add_ons=(*self.add_ons, part))

    def tracks(self) -> list["Timeline"]:
        """The life of each add-on."""
        ids = dict.fromkeys(part.add_on_id for part in self.add_ons)
        return [
            Timeline(
                self.first_cycle, tuple(part for part in self.add_ons if part.add_on_id == one)
            )
            for one in ids
        ]

    def track(self, add_on_id: UUID) -> "Timeline":
        """The life of an add-on.

        Raises:
            NotFoundError: if there is none.
        """
        for one in self.tracks():
            if one.parts[0].add_on_id == add_on_id:
                return one
        raise not_found("add-on", add_on_id)

    def with_track(self, track: "Timeline") -> "Timeline":
        """With the life of an add-on as it is now."""
        return replace(self, add_ons=(*self.without(track).add_ons, *track.parts))

    def without(self, track: "Timeline") -> "Timeline":
        """Without an add-on."""
        gone = track.parts[0].add_on_id
        return replace(self, add_ons=tuple(one for one in self.add_ons if one.add_on_id != gone))

    def lasts(self, day: date) -> bool:
        """Whether it goes on after the night before a day."""
        return self.ends_on is None or self.ends_on > day

    def _require_inside(self, day: date) -> None:
        if day <= self.starts_on or (self.ends_on is not None and day >= self.ends_on):
            until = "" if self.ends_on is None else f" and ends on {self.ends_on}"
            raise PreconditionError(
                f"The subscription begins on {self.starts_on}{until}; a change lies between.",
                code="outside_segment",
            )

    def _cut(self, day: date) -> tuple[list[Part], list[Part]]:
        """The parts before a day and from it on; the one that holds it is in both."""
        before, after = [], []
        for part in self.parts:
            if part.starts_on < day:
                before.append(replace(part, ends_on=day) if part.holds(day) else part)
            if part.ends_on is None or part.ends_on > day:
                after.append(replace(part, starts_on=max(part.starts_on, day)))
        return before, after

    def begins(self, day: date, proration: Proration, before: Iterable[Part]) -> date:
        """The day from which recurring charges that begin on `day` bill."""
        whole = self.calendar.containing(day)
        if proration is Proration.PRORATE or day == whole.start:
            return day
        if proration is Proration.NONE:
            return whole.end
        # In place of what billed without a break until now, as far as it is of this period.
        first = day
        for part in reversed(list(before)):
            if not part.bills:
                continue
            if part.recurring_to is not None and part.recurring_to < first:
                break
            first = min(first, part.recurring_from)
        return max(whole.start, first) if first < day else whole.start

    def _billed_until(self, open_from: date) -> date:
        """The day up to which recurring charges bill in periods that are over on a day.

        That is later than their end where a period was cut short and billed whole.
        """
        over = [one for one in self.parts if one.ends_on is not None and one.ends_on <= open_from]
        billed = (part.recurring_to or part.ends_on for part in over if part.bills)
        return max((one for one in billed if one is not None), default=date.min)

    def _stops(self, day: date, proration: Proration) -> date:
        """The day from which recurring charges that stop on `day` no longer bill."""
        whole = self.calendar.containing(day)
        if proration is Proration.PRORATE or day == whole.start:
            return day
        return whole.end if proration is Proration.FULL else whole.start


def begin(
    cycle: Cycle,
    days: tuple[date, date | None],
    *,
    plan_version_id: UUID,
    quantity: Decimal,
    proration: Proration,
    trial_ends_on: date | None = None,
) -> Timeline:
    """A new subscription, with a trial before it if one is given.

    Args:
        days: the first local day, and the first without it.
    """
    starts_on, ends_on = days
    first = Part(plan_version_id, quantity, Phase.ACTIVE, starts_on, ends_on, starts_on, ends_on)
    timeline = Timeline(cycle, (first,))
    if trial_ends_on is None or trial_ends_on <= starts_on:
        moved = timeline.begins(starts_on, proration, ())
        return replace(timeline, parts=(first.billing_from(moved),))
    if ends_on is not None and trial_ends_on >= ends_on:
        return replace(timeline, parts=(first.silent(Phase.TRIAL),))
    trial = replace(first, ends_on=trial_ends_on).silent(Phase.TRIAL)
    active = _active(first, trial_ends_on)
    moved = timeline.begins(trial_ends_on, proration, ())
    return replace(timeline, parts=(trial, active.billing_from(moved)))


def _until(before: Iterable[Part], moved: date, day: date, open_from: date) -> list[Part]:
    """Parts before a day, with recurring charges that bill up to another and no further.

    What bills in periods that are over stays as it is, even if it goes beyond their end.

    Args:
        open_from: the first day of the period that is not.
    """
    # the one that is cut on that day has no end of its own charges yet
    return [
        part if part.ends_on and part.ends_on <= open_from and part.ends_on != day
        else part.billing_until(moved)
        for part in before
    ]  # fmt: skip


def _from(after: Sequence[Part], moved: date) -> list[Part]:
    """Parts from a day on, of which the first has recurring charges that bill from another on."""
    first, *others = after
    others = [
        part.billing_from(max(moved, part.recurring_from)) if part.bills else part
        for part in others
    ]
    first = first.billing_from(moved)
    following = [part.recurring_from for part in others if part.bills]
    return [first.billing_until(following[0]) if following else first, *others]


def _active(part: Part, day: date) -> Part:
    return replace(
        part,
        id=new_id(),
        phase=Phase.ACTIVE,
        starts_on=day,
        recurring_from=day,
        recurring_to=part.ends_on,
    )
