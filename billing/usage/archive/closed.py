"""Which days a month's archive holds, and whether the books are done with them."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import func, or_, select, text
from sqlalchemy.orm import Session

from billing.errors import PreconditionError
from billing.invoices.tables import Invoice, InvoiceStatus, RatingRun
from billing.periods import add_months
from billing.subscriptions.tables import BillingPeriod
from billing.usage.storage import bounds_of_day

_ONE_DAY = timedelta(days=1)

_UNREAD = text(
    """
    SELECT count(*) FROM usage.raw_events event
    LEFT JOIN billing.rating_run_cutoffs cutoff
        ON cutoff.rating_run_id = :run AND cutoff.shard = event.shard
    WHERE event.occurred_at >= :start AND event.occurred_at < :end
        AND event.accept_seq > coalesce(cutoff.accept_seq, 0)
    """
)


@dataclass(frozen=True, slots=True)
class ArchivedRange:
    """The UTC days of a month's archive, from `first` (in) to `end` (out).

    Each month's begins and ends a day early. A UTC day reaches into the next local day of zones
    ahead of UTC and never beyond it, so these days hold no event of a local day after the month,
    in any zone; and the ranges of all months tile.
    """

    first: date
    end: date

    @classmethod
    def of(cls, month: date) -> "ArchivedRange":
        """That of a month, given by its first day."""
        return cls(month - _ONE_DAY, add_months(month, 1) - _ONE_DAY)

    @property
    def instants(self) -> tuple[datetime, datetime]:
        """Its bounds."""
        return bounds_of_day(self.first)[0], bounds_of_day(self.end)[0]


def require_closed(session: Session, month: date) -> None:
    """Refuse a month that somebody still works on.

    Raises:
        PreconditionError: if a billing period of its days is not rated, an invoice of them is a
            draft, or events came after the last rating.
    """
    days = ArchivedRange.of(month)
    start, end = days.instants
    touched = session.scalars(
        select(BillingPeriod.invoice_month)
        .where(BillingPeriod.starts_at < end, BillingPeriod.ends_at > start)
        .distinct()
    )
    unrated = [one for one in sorted({month, *touched}) if _last_run(session, one) is None]
    if unrated:
        months = ", ".join(f"{one:%Y-%m}" for one in unrated)
        raise PreconditionError(f"{months} is not closed yet; close it first.", code="not_closed")
    drafts = session.scalar(
        select(func.count())
        .select_from(Invoice)
        .where(
            Invoice.status == InvoiceStatus.DRAFT,
            or_(
                Invoice.invoice_month == month,
                (Invoice.period_start < days.end + _ONE_DAY) & (Invoice.period_end > days.first),
            ),
        )
    )
    if drafts:
        raise PreconditionError(
            f"{drafts} invoices of {month:%Y-%m} are drafts; issue them first.", code="drafts_left"
        )
    run = _last_run(session, month)
    late = session.scalar(_UNREAD, {"run": run and run.id, "start": start, "end": end})
    if late:
        raise PreconditionError(
            f"{late} events came after {month:%Y-%m} was rated last; close it again first.",
            code="late_events",
        )


def _last_run(session: Session, month: date) -> RatingRun | None:
    return session.scalars(
        select(RatingRun)
        .where(RatingRun.invoice_month == month, RatingRun.finished_at.is_not(None))
        .order_by(RatingRun.id.desc())
        .limit(1)
    ).one_or_none()
