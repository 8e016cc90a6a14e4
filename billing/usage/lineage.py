"""Where an event went: its rates, its debits in the ledger, the invoice lines that count it."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnExpressionArgument, Uuid, cast, or_, select, text
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.catalog.rated import load_rated
from billing.catalog.tables import BillableItem, Charge
from billing.invoices.rerating import ADJUSTMENT
from billing.invoices.tables import Invoice, InvoiceLine, InvoiceStatus, RatingRunCutoff
from billing.overrides.rates import agreements_of
from billing.periods import local_day
from billing.rating.book import RateBook
from billing.rating.line import line_ref
from billing.rating.match import DIMENSIONS, counts
from billing.rating.measures import value_of
from billing.rating.plan import Tier
from billing.subscriptions.tables import BillingPeriod, Subscription, SubscriptionSegment
from billing.usage.repository import EventHistory, EventRevision
from billing.usage.tables import EventConflict, QuarantinedEntry

_LEDGER = text(
    """
    SELECT t.id, t.reference FROM billing.ledger_transactions t
    WHERE t.reference = 'amendment:' || :shard || ':' || :accept_seq
    UNION ALL (
        SELECT t.id, t.reference
        FROM billing.ledger_entries e JOIN billing.ledger_transactions t ON t.id = e.transaction_id
        WHERE e.wallet_id = :wallet_id AND e.line_no = 1 AND t.recorded_at = :recorded_at
            AND t.reference LIKE 'usage:' || :shard || ':%'
            AND CAST(split_part(t.reference, ':', 3) AS bigint) <= :accept_seq
        ORDER BY CAST(split_part(t.reference, ':', 3) AS bigint) DESC LIMIT 1
    )
    LIMIT 1
    """
)
"""A revision's own transaction, or that of the batch: its reference names the batch's first event,
and all rows of a batch are written at one instant."""

_MOST: Final = 100


@dataclass(frozen=True, slots=True)
class LedgerReference:
    """The ledger transaction that a revision is part of."""

    accept_seq: int
    transaction_id: UUID
    reference: str


@dataclass(frozen=True, slots=True)
class CountedLine:
    """An invoice line that counts the event."""

    invoice_id: UUID
    number: str | None
    status: InvoiceStatus
    line_ref: str
    """An adjustment of the charge's line, if the event came after that was issued."""
    amount_minor: int
    """Of the whole line, exclusive of tax."""


@dataclass(frozen=True, slots=True)
class RatedAs:
    """A charge that counts the event, as it is said to be now, and the line it belongs to."""

    charge_code: str
    plan_version_id: UUID
    rate_id: UUID | None
    """None: no rate matches, and the invoice waits for one."""
    price_model: str
    currency: str
    tiers: Sequence[dict[str, Any]]
    quantity: Decimal | None
    """Units that the charge counts; None if the event does not say."""
    line_ref: str | None
    invoice_lines: Sequence[CountedLine]


@dataclass(frozen=True, slots=True)
class Lineage:
    """Everything that came of an event."""

    rated: Sequence[RatedAs]
    ledger: dict[int, LedgerReference]
    """By the `accept_seq` of a revision."""
    conflicts: Sequence[EventConflict]
    quarantined: Sequence[QuarantinedEntry]


def lineage_of(session: Session, actor: Actor, history: EventHistory) -> Lineage:
    """Follow an event to its end; the actor was let see it (`get_event`)."""
    named = {"source": history.key.source, "event_id": history.key.event_id}
    conflicts = select(EventConflict).filter_by(**named).order_by(EventConflict.id).limit(_MOST)
    aside = select(QuarantinedEntry).filter_by(**named).order_by(QuarantinedEntry.id).limit(_MOST)
    return Lineage(
        rated=[] if history.latest.voided else _rated(session, actor, history),
        ledger=_ledger(session, history),
        conflicts=session.scalars(conflicts).all(),
        quarantined=session.scalars(aside).all(),
    )


def _ledger(session: Session, history: EventHistory) -> dict[int, LedgerReference]:
    found = {}
    for one in history.revisions:
        if one.wallet_id is None:
            continue
        row = session.execute(
            _LEDGER,
            {
                "shard": str(history.key.shard),
                "accept_seq": one.accept_seq,
                "wallet_id": one.wallet_id,
                "recorded_at": one.recorded_at,
            },
        ).one_or_none()
        if row is not None:
            found[one.accept_seq] = LedgerReference(one.accept_seq, row.id, row.reference)
    return found


def _rated(session: Session, actor: Actor, history: EventHistory) -> list[RatedAs]:
    latest, account = history.latest, history.account
    day = local_day(latest.occurred_at, account.zone)
    rows = session.execute(
        select(BillingPeriod, SubscriptionSegment, Charge, BillableItem)
        .join(Subscription, Subscription.id == BillingPeriod.subscription_id)
        .join(SubscriptionSegment, SubscriptionSegment.subscription_id == Subscription.id)
        .join(Charge, Charge.plan_version_id == SubscriptionSegment.plan_version_id)
        .join(BillableItem, BillableItem.id == Charge.item_id)
        .where(
            BillingPeriod.account_id == account.id,
            BillingPeriod.starts_at <= latest.occurred_at,
            BillingPeriod.ends_at > latest.occurred_at,
            SubscriptionSegment.starts_on <= day,
            or_(SubscriptionSegment.ends_on.is_(None), SubscriptionSegment.ends_on > day),
            BillableItem.event_type == latest.event_type,
        )
        .order_by(BillingPeriod.starts_on, Charge.ordinal)
    ).all()
    agreements = agreements_of(session, [account.id]).get(account.id, ())
    versions = load_rated(session, {charge.plan_version_id for _, _, charge, _ in rows})
    charges = {version_id: one.agreed(agreements) for version_id, one in versions.items()}
    dimensions = {name: latest.dimensions.get(name) for name in DIMENSIONS}
    rated = []
    for period, segment, charge, item in rows:
        if not counts(item.event_filter, dimensions):
            continue
        priced = next(one for one in charges[charge.plan_version_id] if one.id == charge.id)
        rate = RateBook(priced.rates, account.currency).find(day, dimensions)
        reference = None
        if rate is not None:
            reference = line_ref(
                period.subscription_id,
                period.starts_on,
                max(period.starts_on, segment.starts_on),
                charge.code,
                rate.key,
            )
        rated.append(
            RatedAs(
                charge_code=charge.code,
                plan_version_id=charge.plan_version_id,
                rate_id=rate.id if rate else None,
                price_model=charge.price_model.value,
                currency=account.currency,
                tiers=[_tier(one) for one in rate.tiers] if rate else [],
                quantity=_units(item, latest),
                line_ref=reference,
                invoice_lines=_lines(session, actor, history, reference) if reference else [],
            )
        )
    return rated


def _units(item: BillableItem, event: EventRevision) -> Decimal | None:
    """What the event says; of different values, each is one."""
    value = value_of(item, event.quantity, event.dimensions)
    return Decimal(1) if isinstance(value, str) else value


def _tier(tier: Tier) -> dict[str, Any]:
    return {
        "up_to": None if tier.up_to is None else format(tier.up_to.normalize(), "f"),
        "unit_price": format(tier.unit_price.normalize(), "f"),
        "flat_amount": format(tier.flat_amount.normalize(), "f"),
    }


def _lines(
    session: Session, actor: Actor, history: EventHistory, reference: str
) -> list[CountedLine]:
    """Lines of that name whose rating run had read the revision that counts now.

    If there is none, because that came after issue: those of the first adjustment that counts it.
    """
    found = _counting(session, actor, history, reference, Invoice.rating_run_id)
    if not found:
        rated_by = cast(InvoiceLine.tier_breakdown[0]["run"].astext, Uuid)
        found = _counting(session, actor, history, f"{ADJUSTMENT}{reference}", rated_by)
        first = min((run_id for run_id, _ in found), default=None)
        found = [(run_id, line) for run_id, line in found if run_id == first]
    return [line for _, line in found]


def _counting(
    session: Session,
    actor: Actor,
    history: EventHistory,
    name: str,
    rated_by: ColumnExpressionArgument[UUID | None],
) -> list[tuple[UUID, CountedLine]]:
    """Lines of a name whose run, which goes before each, had read the revision that counts now."""
    query = (
        select(RatingRunCutoff.rating_run_id, Invoice, InvoiceLine)
        .join(InvoiceLine, InvoiceLine.invoice_id == Invoice.id)
        .join(RatingRunCutoff, RatingRunCutoff.rating_run_id == rated_by)
        .where(
            InvoiceLine.line_ref == name,
            RatingRunCutoff.shard == history.key.shard,
            RatingRunCutoff.accept_seq >= history.latest.accept_seq,
        )
        .order_by(Invoice.id)
    )
    if actor.customer_id is not None:
        query = query.where(Invoice.status != InvoiceStatus.DRAFT)
    return [
        (
            run_id,
            CountedLine(
                invoice.id, invoice.number, invoice.status, line.line_ref, line.amount_minor
            ),
        )
        for run_id, invoice, line in session.execute(query)
    ]
