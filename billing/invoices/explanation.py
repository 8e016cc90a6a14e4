"""Why a line of an invoice says what it says: its usage, prices and rating run, worked out again.

The run's two cut-offs leave out what arrived later, so an issued line is explained by what it was
made of, however long ago that was. An adjustment is explained by the run that rated its line again:
what others billed of it and the adjustment together are what comes out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.catalog.tables import PlanVersion, PricePlan
from billing.errors import NotFoundError, PreconditionError
from billing.invoices.rerating import ADJUSTMENT, AdjustmentLine, adjustments_of
from billing.invoices.tables import Invoice, InvoiceLine, InvoiceStatus, RatingRun, RatingRunCutoff
from billing.money import from_minor, to_minor
from billing.periods import Period
from billing.rating.counting import counted_usage
from billing.rating.line import ADJUSTED, RatedLine
from billing.rating.plan import Charge, UsageRow
from billing.subscriptions.rateable import RateablePeriod, rateable_periods
from billing.subscriptions.tables import BillingPeriod
from billing.usage.as_of import AsOf, EventPlace, ReadEvent, events_as_of, usage_as_of


@dataclass(frozen=True, slots=True)
class PriceVersion:
    """The plan version that priced the line, and the days for which it did."""

    id: UUID
    plan_code: str
    plan_name: str
    version: int
    published_at: datetime | None
    price_model: str
    charge_code: str
    covered_from: date
    covered_to: date
    """The first day that is no longer covered."""


@dataclass(frozen=True, slots=True)
class RunRead:
    """The rating run, and how far it read."""

    id: UUID
    started_at: datetime
    event_time_to: datetime
    """Events from then on were not read."""
    accept_seqs: Mapping[int, int]
    """The last event of each shard that was read."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A line as it was billed, and as it comes out again."""

    invoice: Invoice
    line: InvoiceLine
    run: RunRead
    price: PriceVersion
    recomputed: RatedLine | None
    """What rating makes of the same usage and prices; None if it makes no such line."""
    usage: Sequence[UsageRow]
    """What the line counts, by local day and dimensions."""
    events: Sequence[ReadEvent]
    """One page of it, event by event."""
    next_event: EventPlace | None
    """Where the list goes on."""
    adjustments: Sequence[AdjustmentLine]
    """What other invoices bill of the line since it was issued."""
    elsewhere_minor: int = 0
    """Of an adjustment: what the line came to without it, billed by others or set against less."""

    @property
    def event_count(self) -> int:
        """Events that the line counts."""
        return sum(row.event_count for row in self.usage)

    @property
    def difference_minor(self) -> int:
        """What was billed less what comes out again; 0 unless something is wrong."""
        again = self.recomputed.amount_minor if self.recomputed else 0
        return self.elsewhere_minor + self.line.amount_minor - again

    @property
    def is_equal(self) -> bool:
        """Whether amount, quantity and tiers come out again as they were billed."""
        found = self.recomputed
        if self.line.line_ref.startswith(ADJUSTMENT):
            return found is not None and not self.difference_minor
        return (
            found is not None
            and found.amount_minor == self.line.amount_minor
            and found.quantity == self.line.quantity
            and [dict(tier) for tier in found.tier_breakdown] == self.line.tier_breakdown
        )

    @property
    def verdict(self) -> str:
        """The comparison in words: `equal`, or by how much it differs in the currency."""
        if self.is_equal:
            return "equal"
        if self.difference_minor:
            return f"differs by {from_minor(self.difference_minor, self.invoice.currency)}"
        return "the amount is equal, but its quantity or tiers differ"


@dataclass(frozen=True, slots=True)
class _MadeOf:
    """What the name of a rated line points at."""

    period: RateablePeriod
    plan_version_id: UUID
    covered: Period
    charge: Charge


def explain_line(
    session: Session,
    actor: Actor,
    line_ref: str,
    *,
    invoice_id: UUID | None = None,
    limit: int = 50,
    after: EventPlace | None = None,
) -> Explanation:
    """Work a line out again from the events and prices that its rating run read.

    Args:
        invoice_id: which invoice's line; the newest that has one of that name, if None.
        limit: events in the list.
        after: where the page before ended.

    Raises:
        NotFoundError: if there is no such line, or not for this actor.
        PreconditionError: if rating did not make the line, or its events are in an archive alone.
    """
    invoice, line = _find(session, actor, line_ref, invoice_id)
    adjusted = _adjusted(line)
    run = _run(session, adjusted[0] if adjusted else invoice.rating_run_id)
    line_ref = line_ref.removeprefix(ADJUSTMENT)
    found = _made_of(session, line_ref)
    if run is None or found is None:
        raise PreconditionError(
            "This line was not made by rating usage and prices; nothing can be worked out again.",
            code="not_rated",
        )
    period = found.period
    wanted = AsOf(
        run.id, period.account.id, period.account.zone, period.row.starts_at, period.row.ends_at
    )
    usage = usage_as_of(session, wanted, period.priced_singly)
    rating = period.rate(usage)
    again = next((one for one in rating.lines if one.line_ref == line_ref), None)
    counted = [
        row
        for row, rate in counted_usage(found.charge, found.covered, usage, period.account.currency)
        if again is not None and rate is not None and rate.id == again.rate_id
    ]
    events = events_as_of(session, wanted, counted, limit=limit + 1, after=after)
    return Explanation(
        invoice=invoice,
        line=line,
        run=run,
        price=_price(session, found),
        recomputed=again,
        usage=counted,
        events=events[:limit],
        next_event=events[limit - 1].place if len(events) > limit else None,
        adjustments=adjustments_of(
            session, invoice.id, line.line_ref, issued_only=actor.customer_id is not None
        ),
        elsewhere_minor=(
            to_minor(adjusted[1], invoice.currency) - line.amount_minor if adjusted else 0
        ),
    )


def _find(
    session: Session, actor: Actor, line_ref: str, invoice_id: UUID | None
) -> tuple[Invoice, InvoiceLine]:
    actor.require(Permission.INVOICES_READ)
    query = (
        select(Invoice, InvoiceLine)
        .join(InvoiceLine, InvoiceLine.invoice_id == Invoice.id)
        .where(InvoiceLine.line_ref == line_ref)
        .order_by(Invoice.id.desc())
        .limit(1)
    )
    if invoice_id is not None:
        query = query.where(Invoice.id == invoice_id)
    if actor.customer_id is not None:
        query = query.where(
            Invoice.customer_id == actor.customer_id, Invoice.status != InvoiceStatus.DRAFT
        )
    found = session.execute(query).one_or_none()
    if found is None:
        raise NotFoundError(f"There is no invoice line {line_ref}.", code="not_found")
    return found[0], found[1]


def _adjusted(line: InvoiceLine) -> tuple[UUID, Decimal] | None:
    """Of an adjustment: the run that rated the line again, and what it came to."""
    if not line.line_ref.startswith(ADJUSTMENT):
        return None
    said = next(step for step in line.tier_breakdown if step.get("kind") == ADJUSTED)
    return UUID(said["run"]), Decimal(said["rated"])


def _run(session: Session, rating_run_id: UUID | None) -> RunRead | None:
    if rating_run_id is None:
        return None
    run = session.get_one(RatingRun, rating_run_id)
    cutoffs = session.scalars(
        select(RatingRunCutoff).filter_by(rating_run_id=run.id).order_by(RatingRunCutoff.shard)
    )
    return RunRead(
        run.id, run.started_at, run.event_time_to, {one.shard: one.accept_seq for one in cutoffs}
    )


def _made_of(session: Session, line_ref: str) -> _MadeOf | None:
    """What a line's name is made of, if it is the name of a rated line."""
    parts = line_ref.split(":")
    if len(parts) != 5:
        return None
    subscription, first_day, line_start, charge_code, _ = parts
    try:
        subscription_id = UUID(subscription)
        starts_on, covered_from = date.fromisoformat(first_day), date.fromisoformat(line_start)
    except ValueError:
        return None
    period_id = session.scalar(
        select(BillingPeriod.id).filter_by(subscription_id=subscription_id, starts_on=starts_on)
    )
    if period_id is None:
        return None
    period = rateable_periods(session, [period_id])[period_id]
    days, segments = period.priced_on(covered_from)
    for one in segments:
        covered = one.segment.within(days)
        if covered is None or covered.start != covered_from:
            continue
        for charge in one.segment.charges:
            if charge.code == charge_code:
                return _MadeOf(period, one.plan_version_id, covered, charge)
    return None


def _price(session: Session, found: _MadeOf) -> PriceVersion:
    version = session.get_one(PlanVersion, found.plan_version_id)
    plan = session.get_one(PricePlan, version.plan_id)
    return PriceVersion(
        version.id,
        plan.code,
        plan.name,
        version.version,
        version.published_at,
        found.charge.price_model,
        found.charge.code,
        found.covered.start,
        found.covered.end,
    )
