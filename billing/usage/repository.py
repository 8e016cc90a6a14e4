"""Looking an event up: its revisions, what they were debited, and from which wallet."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.customers.tables import Account
from billing.errors import BillingError, NotFoundError, PreconditionError
from billing.usage.tables import EventKey, QuarantinedEntry

_REVISIONS = text(
    """
    WITH RECURSIVE chain (accept_seq, superseded_by) AS (
        SELECT CAST(:first AS bigint), (
            SELECT superseded_by FROM usage.superseded_events
            WHERE shard = :shard AND accept_seq = :first
        )
        UNION ALL
        SELECT c.superseded_by, (
            SELECT s.superseded_by FROM usage.superseded_events s
            WHERE s.shard = :shard AND s.accept_seq = c.superseded_by
        )
        FROM chain c WHERE c.superseded_by IS NOT NULL
    )
    SELECT e.revision, c.accept_seq, e.account_id, e.event_type, e.occurred_at, e.quantity,
        e.dimensions, e.vendor_cost, e.voided, e.received_at, e.recorded_at,
        d.wallet_id, d.amount_units, d.rate_id, d.card_version, d.counted_on, d.counted_micros
    FROM chain c
    LEFT JOIN usage.raw_events e ON e.shard = :shard AND e.accept_seq = c.accept_seq
    LEFT JOIN usage.usage_debits d ON d.shard = :shard AND d.accept_seq = c.accept_seq
    ORDER BY e.revision
    """
)


@dataclass(frozen=True, slots=True)
class EventRevision:
    """An event as it was said to be; the last revision is the one that counts."""

    revision: int
    accept_seq: int
    account_id: UUID
    event_type: str
    occurred_at: datetime
    quantity: Decimal
    dimensions: dict[str, str]
    vendor_cost: Decimal | None
    voided: bool
    received_at: datetime
    recorded_at: datetime
    wallet_id: UUID | None
    amount_units: int | None
    """Provisional debit in wallet units; None without a wallet."""
    rate_id: UUID | None
    card_version: int | None = None
    """Of the rate card that priced it."""
    counted_on: date | None = None
    """First local day of the counter that decided the price, if one did."""
    counted_micros: int | None = None
    """Millionths of a unit that it was advanced by."""


@dataclass(frozen=True, slots=True)
class EventHistory:
    """An event with all its revisions, oldest first."""

    key: EventKey
    account: Account
    revisions: Sequence[EventRevision]

    @property
    def latest(self) -> EventRevision:
        """The one that counts."""
        return self.revisions[-1]


def get_event(session: Session, actor: Actor, source: str, event_id: str) -> EventHistory:
    """An event by its identity.

    Raises:
        NotFoundError: if it was never taken in, or belongs to another customer.
        PreconditionError: if a revision of it is in an archive alone, code `archived`; or if it was
            set aside, code `quarantined`, with the reason in the details.
    """
    key = session.get(EventKey, (source, event_id))
    if key is None:
        raise _not_in_the_books(session, actor, source, event_id)
    account = session.get_one(Account, key.account_id)
    actor.require_customer(account.customer_id)
    rows = session.execute(_REVISIONS, {"shard": key.shard, "first": key.accept_seq}).all()
    if any(row.revision is None for row in rows):
        raise PreconditionError(
            f"The event {source}/{event_id} of {key.occurred_at:%Y-%m-%d} is archived. An operator "
            "can bring its month back: billing events restore.",
            code="archived",
        )
    return EventHistory(key, account, [EventRevision(**row._asdict()) for row in rows])


def _not_in_the_books(session: Session, actor: Actor, source: str, event_id: str) -> BillingError:
    """Why there is no such event; customers are not told of what was set aside."""
    aside = session.scalars(
        select(QuarantinedEntry)
        .filter_by(source=source, event_id=event_id)
        .order_by(QuarantinedEntry.id.desc())
        .limit(1)
    ).first()
    if aside is None or actor.customer_id is not None:
        return NotFoundError(f"There is no event {source}/{event_id}.")
    since = aside.recorded_at.astimezone(UTC)
    return PreconditionError(
        f"The event {source}/{event_id} was set aside on {since:%Y-%m-%d at %H:%M} UTC: "
        f"{aside.reason}",
        code="quarantined",
        details={
            "quarantine_id": str(aside.id),
            "status": aside.status.value,
            "reason": aside.reason,
            "recorded_at": since.isoformat(),
            "note": aside.note,
        },
    )
