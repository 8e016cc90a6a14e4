"""What the demo sends, in the order in which a real sender would: late, twice, and corrected.

A timeline is a sequence of days. A day has the top-ups of its morning, the events that reach us on
it (most of them its own, some from the days before, some for the second time), and the corrections
that follow them.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from random import Random
from typing import Final

from billing.demo.calendar import DemoCalendar
from billing.demo.merchants import INDIA, MERCHANTS, Merchant
from billing.demo.top_ups import TopUp, plan_top_ups
from billing.demo.traffic import SEED, UsageEvent, merchant_day
from billing.periods import local_day

_LATE: Final = 0.02
_OUT_OF_ORDER: Final = 0.05
_SENT_TWICE: Final = 0.01
_RECEIPT_COMES: Final = 0.15
_RECEIPT_SAYS_DELIVERED: Final = 0.8
_SENT_IN_ERROR: Final = 0.0001


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event on its way to us."""

    sent_at: datetime
    event: UsageEvent


@dataclass(frozen=True, slots=True)
class Correction:
    """A later word on an event: its final status, or that it never was (`status` is None)."""

    sent_at: datetime
    event: UsageEvent
    status: str | None

    @property
    def reference(self) -> str:
        """Names the correction; an event has at most one."""
        return f"{'void' if self.status is None else 'receipt'}-{self.event.event_id}"


@dataclass(slots=True)
class Day:
    """What happens on one day, seen from our side of the door."""

    day: date
    top_ups: list[TopUp] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    corrections: list[Correction] = field(default_factory=list)


def timeline(calendar: DemoCalendar, merchants: Sequence[Merchant] = MERCHANTS) -> Iterator[Day]:
    """The days of the demo in order; each is made when it is asked for."""
    days: dict[date, Day] = {}
    top_ups = defaultdict(list)
    for merchant in merchants:
        if merchant.wallet:
            moves = _wallet_moves(merchant, calendar)
            for top_up in plan_top_ups(merchant, merchant.wallet, moves, calendar):
                top_ups[top_up.day].append(top_up)
    for today in calendar.days:
        for merchant in merchants:
            _send(merchant_day(merchant, today, calendar), today, calendar, days)
        day = days.pop(today, None) or Day(today)
        day.top_ups = top_ups[today]
        day.deliveries.sort(key=lambda delivery: (delivery.sent_at, delivery.event.event_id))
        day.corrections.sort(key=lambda correction: correction.sent_at)
        yield day


def _send(
    events: list[UsageEvent], today: date, calendar: DemoCalendar, days: dict[date, Day]
) -> None:
    """Decide when each event arrives and what follows it, and put that into the days to come."""
    if not events:
        return
    rng = Random(f"{SEED}:sending:{events[0].account}:{today}")  # noqa: S311 - not a secret
    for event in events:
        sent_at = event.occurred_at + timedelta(seconds=_delay(rng))
        _put_delivery(Delivery(sent_at, event), today, calendar, days)
        if rng.random() < _SENT_TWICE:
            again = sent_at + timedelta(seconds=rng.uniform(5, 7200))
            _put_delivery(Delivery(again, event), today, calendar, days)
        correction = _correction(event, sent_at, rng)
        if correction and correction.sent_at < calendar.until:
            day = max(today, local_day(correction.sent_at, INDIA))
            days.setdefault(day, Day(day)).corrections.append(correction)


def _put_delivery(
    delivery: Delivery, today: date, calendar: DemoCalendar, days: dict[date, Day]
) -> None:
    if delivery.sent_at < calendar.until:
        # Jakarta's day begins on India's evening before, which was sent already.
        day = max(today, local_day(delivery.sent_at, INDIA))
        days.setdefault(day, Day(day)).deliveries.append(delivery)


def _delay(rng: Random) -> float:
    """Seconds between the message and our hearing of it."""
    draw = rng.random()
    if draw < _LATE:
        return rng.uniform(3_600, 46 * 3_600)
    if draw < _LATE + _OUT_OF_ORDER:
        return rng.uniform(30, 600)
    return rng.uniform(0.2, 4)


def _correction(event: UsageEvent, sent_at: datetime, rng: Random) -> Correction | None:
    receipt, void = rng.random(), rng.random()
    at = sent_at + timedelta(seconds=rng.uniform(600, 20 * 3_600))
    if event.dimensions["status"] == "pending" and receipt < _RECEIPT_COMES:
        delivered = receipt < _RECEIPT_COMES * _RECEIPT_SAYS_DELIVERED
        return Correction(at, event, "delivered" if delivered else "failed")
    return Correction(at, event, None) if void < _SENT_IN_ERROR else None


def _wallet_moves(
    merchant: Merchant, calendar: DemoCalendar
) -> dict[date, list[tuple[UsageEvent, int]]]:
    """Per day, the events that a wallet pays for (1), or gets back (-1)."""
    days: dict[date, Day] = {}
    moves: dict[date, list[tuple[UsageEvent, int]]] = defaultdict(list)
    for today in calendar.days:
        _send(merchant_day(merchant, today, calendar), today, calendar, days)
    seen: set[str] = set()
    for day in sorted(days.values(), key=lambda day: day.day):
        unique = {delivery.event.event_id: delivery.event for delivery in day.deliveries}
        moves[day.day] += [
            (event, 1)
            for event_id, event in unique.items()
            if event_id not in seen and event.is_billed
        ]
        seen |= unique.keys()
        for correction in day.corrections:
            if correction.status == "delivered":
                moves[day.day].append((correction.event, 1))
            elif correction.status is None and correction.event.is_billed:
                moves[day.day].append((correction.event, -1))
    return moves
