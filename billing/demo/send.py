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
from billing.demo.merchants import merchant
from billing.demo.timeline import Correction, Delivery
from billing.demo.top_ups import TopUp
from billing.demo.traffic import SOURCE, UsageEvent
from billing.money import to_minor

BATCH_SIZE: Final = 500
IN_FLIGHT: Final = 4
EVENTS_PATH: Final = "/api/v1/events"

_ATTEMPTS: Final = 10
_JSON: Final = {"Content-Type": "application/json"}


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


def send_top_up(api: BillingApi, wallet_id: str, top_up: TopUp, namespace: str) -> None:
    """Pay into a wallet by bank, tax included, on the day of the top-up."""
    currency = merchant(top_up.merchant).currency
    api.post(
        "/api/v1/payments/receipts",
        {
            "wallet_id": wallet_id,
            "credits_minor": to_minor(top_up.amount, currency),
            "amount_minor": to_minor(top_up.amount + top_up.tax, currency),
            "received_on": top_up.day.isoformat(),
            "reference": f"{namespace}-{top_up.reference}",
        },
        f"{namespace}:{top_up.reference}",
    )


def _batches(deliveries: Sequence[Delivery]) -> Iterator[list[Delivery]]:
    rest = iter(deliveries)
    while batch := list(islice(rest, BATCH_SIZE)):
        yield batch


def _send_batch(api: BillingApi, batch: Sequence[Delivery]) -> Tally:
    tally = Tally()
    rest = [event_body(delivery.event) for delivery in batch]
    for _ in range(_ATTEMPTS):
        content = msgspec.json.encode({"events": rest})
        answer = api.send("POST", EVENTS_PATH, content=content, headers=_JSON).json()
        rest = _unanswered(rest, answer["data"], tally)
        if not rest:
            return tally
    raise DemoError(f"{len(rest)} events were not acknowledged after {_ATTEMPTS} attempts.")


def _unanswered(
    sent: list[dict[str, Any]], answers: list[dict[str, Any]], tally: Tally
) -> list[dict[str, Any]]:
    """Count the answers, and return the events that nobody knows the fate of."""
    unknown = []
    for body, answer in zip(sent, answers, strict=True):
        match answer["attributes"]["status"]:
            case "accepted":
                tally.accepted += 1
            case "duplicate":
                tally.duplicate += 1
            case "unavailable":
                unknown.append(body)
            case _:
                raise DemoError(f"An event was refused: {answer}")
    return unknown


def _correct(api: BillingApi, correction: Correction) -> None:
    path = f"{EVENTS_PATH}/{SOURCE}/{correction.event.event_id}/revisions"
    if correction.status is None:
        api.post(path, {"void": True}, correction.reference)
        return
    amended = correction.event.with_status(correction.status)
    api.post(path, {"dimensions": dict(amended.dimensions)}, correction.reference)
