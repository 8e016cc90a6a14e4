"""Sending events as OTPless core does: in batches, several in flight, until acknowledged."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC
from itertools import islice
from typing import Any, Final

import msgspec

from billing.demo.client import BillingApi, DemoError
from billing.demo.timeline import Correction, Delivery
from billing.demo.traffic import SOURCE, UsageEvent

BATCH_SIZE: Final = 500
IN_FLIGHT: Final = 4
EVENTS_PATH: Final = "/api/v1/events"


@dataclass(slots=True)
class Tally:
    """How the API answered."""

    accepted: int = 0
    duplicate: int = 0

    def add(self, other: "Tally") -> None:
        """Count another batch in."""
        self.accepted += other.accepted
        self.duplicate += other.duplicate

    @property
    def total(self) -> int:
        """All events answered for."""
        return self.accepted + self.duplicate


def event_body(event: UsageEvent) -> dict[str, Any]:
    """An event as the API wants it; times in UTC, amounts as decimal strings."""
    return {
        "source": SOURCE,
        "event_id": event.event_id,
        "alias": event.account,
        "event_type": event.event_type,
        "occurred_at": event.occurred_at.astimezone(UTC).isoformat(),
        "quantity": str(event.quantity),
        "dimensions": dict(event.dimensions),
        "cost": str(event.cost),
    }


def send_events(
    api: BillingApi, pool: ThreadPoolExecutor, deliveries: Sequence[Delivery]
) -> Iterator[Tally]:
    """Send events in order, a few batches at a time; yields each batch's answer as it comes.

    Raises:
        DemoError: if an event is rejected, or its id is known with another body.
    """
    in_flight: deque[Future[Tally]] = deque()
    for batch in _batches(deliveries):
        in_flight.append(pool.submit(_send_batch, api, batch))
        if len(in_flight) >= IN_FLIGHT:
            yield in_flight.popleft().result()
    while in_flight:
        yield in_flight.popleft().result()


def send_corrections(
    api: BillingApi, pool: ThreadPoolExecutor, corrections: Sequence[Correction]
) -> int:
    """Amend or void events that were sent before, and return how many."""
    return sum(1 for _ in pool.map(lambda correction: _correct(api, correction), corrections))


def _batches(deliveries: Sequence[Delivery]) -> Iterator[list[Delivery]]:
    rest = iter(deliveries)
    while batch := list(islice(rest, BATCH_SIZE)):
        yield batch


def _send_batch(api: BillingApi, batch: Sequence[Delivery]) -> Tally:
    body = msgspec.json.encode({"events": [event_body(delivery.event) for delivery in batch]})
    response = api.send(
        "POST", EVENTS_PATH, content=body, headers={"Content-Type": "application/json"}
    )
    return _tally(response.json()["data"])


def _tally(results: list[dict[str, Any]]) -> Tally:
    tally = Tally()
    for result in results:
        match result["status"]:
            case "accepted":
                tally.accepted += 1
            case "duplicate":
                tally.duplicate += 1
            case _:
                raise DemoError(f"An event was refused: {result}")
    return tally


def _correct(api: BillingApi, correction: Correction) -> None:
    path = f"{EVENTS_PATH}/{SOURCE}/{correction.event.event_id}"
    if correction.status is None:
        api.post(f"{path}/void", {"reason": "sent in error"}, correction.reference)
        return
    amended = event_body(correction.event.with_status(correction.status))
    api.post(f"{path}/amend", {"event": amended}, correction.reference)
