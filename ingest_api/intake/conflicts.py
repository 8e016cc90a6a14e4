"""Keeping conflicts for whoever must explain them, away from the path that events take.

The journal never sees a conflict that Redis recognises, so it is written down here: by a task that
takes what has gathered in one statement. The sender's answer waits a moment for it. What cannot be
written is tried again until it can; only beyond `MOST_WAITING` the oldest are given up.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from datetime import UTC
from typing import Any, Final

import msgspec
import structlog
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from billing.clock import Clock
from billing.ids import new_id
from billing.usage.event import UsageEvent

logger = structlog.get_logger(__name__)

MOST_WAITING: Final = 10_000

_AT_ONCE: Final = 500
_PATIENCE_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 1.0
_LAST_SECONDS: Final = 2.0
_HASH_DIGITS: Final = 8

_INSERT = text(
    """
    INSERT INTO usage.event_conflicts (id, source, event_id, body_hash, payload, recorded_at)
    VALUES (:id, :source, :event_id, :body_hash, CAST(:payload AS jsonb), :now)
    ON CONFLICT DO NOTHING
    """
)


_FIRST = text(
    "SELECT body_hash, received_at FROM usage.event_key "
    "WHERE source = :source AND event_id = :event_id"
)


class ConflictLog:
    """Writes conflicts down."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._waiting: deque[UsageEvent] = deque(maxlen=MOST_WAITING)
        self._task: asyncio.Task[None] | None = None

    async def note(self, events: Sequence[UsageEvent]) -> None:
        """Have these written down; come back when they are, or after a moment."""
        dropped = len(self._waiting) + len(events) - MOST_WAITING
        if dropped > 0:
            logger.error("conflicts not kept", count=dropped)
        self._waiting.extend(events)
        if self._task is None:
            self._task = asyncio.create_task(self._drain())
        await asyncio.wait({self._task}, timeout=_PATIENCE_SECONDS)

    async def first(self, event: UsageEvent) -> dict[str, Any]:
        """What is known of the event that came first: `accepted_at`, and how its hash begins."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                found = await asyncio.to_thread(self._first, event)
        except (SQLAlchemyError, OSError, TimeoutError):
            return {}
        return found

    async def stop(self) -> None:
        """Write what is left, if that is possible now."""
        if self._task is not None:
            _, late = await asyncio.wait({self._task}, timeout=_LAST_SECONDS)
            if late:
                self._task.cancel()
                logger.error("conflicts not kept", count=len(self._waiting))

    async def _drain(self) -> None:
        try:
            while self._waiting:
                some = [self._waiting[index] for index in range(min(_AT_ONCE, len(self._waiting)))]
                try:
                    await asyncio.to_thread(self._write, some)
                except (SQLAlchemyError, OSError) as error:
                    logger.warning("conflicts wait", reason=str(error).partition("\n")[0])
                    await asyncio.sleep(_PAUSE_SECONDS)
                    continue
                for event in some:
                    if self._waiting and self._waiting[0] is event:
                        self._waiting.popleft()
        finally:
            self._task = None

    def _first(self, event: UsageEvent) -> dict[str, Any]:
        with self._engine.connect() as connection:
            row = connection.execute(
                _FIRST, {"source": event.source, "event_id": event.event_id}
            ).one_or_none()
        if row is None:
            return {}
        return {
            "accepted_at": row.received_at.astimezone(UTC).isoformat(),
            "stored_hash": bytes(row.body_hash).hex()[:_HASH_DIGITS],
            "sent_hash": event.body_hash.hex()[:_HASH_DIGITS],
        }

    def _write(self, events: Sequence[UsageEvent]) -> None:
        now = self._clock.now()
        with self._engine.begin() as connection:
            connection.execute(
                _INSERT,
                [
                    {
                        "id": new_id(),
                        "source": event.source,
                        "event_id": event.event_id,
                        "body_hash": event.body_hash,
                        "payload": msgspec.json.encode(_payload(event)).decode(),
                        "now": now,
                    }
                    for event in events
                ],
            )


def _payload(event: UsageEvent) -> dict[str, Any]:
    """The event as it was sent this time; whom it named, in the sender's words."""
    return {
        "alias" if event.by_alias else "account_id": event.account,
        "event_type": event.event_type,
        "occurred_at": event.occurred_at,
        "quantity": format(event.quantity, "f"),
        "dimensions": event.dimensions,
        "cost": None if event.cost is None else format(event.cost, "f"),
    }
