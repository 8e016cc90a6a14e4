"""One event with all that came of it, and what was set aside."""

from collections.abc import Sequence
from dataclasses import dataclass

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.db.unit_of_work import read_only
from billing.usage.lineage import Lineage, lineage_of
from billing.usage.quarantine import list_quarantine
from billing.usage.repository import EventHistory, get_event
from billing.usage.tables import QuarantinedEntry, QuarantineStatus
from console.database import engine

_MOST = 100


@dataclass(frozen=True, slots=True)
class Found:
    """An event and its way through the system."""

    history: EventHistory
    lineage: Lineage


def look_up(actor: Actor, source: str, event_id: str) -> Found:
    """An event by its identity.

    Raises:
        NotFoundError: if it was never taken in, or is another customer's.
    """
    actor.require(Permission.USAGE_READ)
    with read_only(engine()) as session:
        history = get_event(session, actor, source, event_id)
        return Found(history, lineage_of(session, actor, history))


def set_aside(actor: Actor) -> Sequence[QuarantinedEntry]:
    """What waits for somebody to mend or discard it, the newest first."""
    with read_only(engine()) as session:
        return list_quarantine(session, actor, status=QuarantineStatus.OPEN, limit=_MOST)
