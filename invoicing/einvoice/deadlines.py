"""Documents whose last day with the portal is over, or near, and that still have no IRN."""

from datetime import date, timedelta
from typing import Final

from sqlalchemy import ColumnElement, Engine, and_, exists, func, select
from sqlalchemy.orm import Session

from billing.clock import Clock
from billing.db.unit_of_work import unit_of_work
from billing.einvoices.tables import EInvoice, EInvoiceState
from billing.outbox.service import report
from billing.outbox.tables import OutboxEntry
from billing.periods import DEFAULT_ZONE, local_day

SOON: Final = timedelta(days=3)
"""From so many days before the last one, an open document is worth a warning."""
TOPIC: Final = "einvoice.overdue"
_OPEN: Final = (EInvoiceState.WAITING, EInvoiceState.UNKNOWN, EInvoiceState.REFUSED)


def is_overdue(today: date) -> ColumnElement[bool]:
    """The condition on `EInvoice`: no IRN, and the portal no longer takes it."""
    return and_(EInvoice.state.in_(_OPEN), EInvoice.report_by < today)


def is_due_soon(today: date) -> ColumnElement[bool]:
    """The condition on `EInvoice`: no IRN, and few days left to get it."""
    return and_(EInvoice.state.in_(_OPEN), EInvoice.report_by.between(today, today + SOON))


def count_open(session: Session, today: date) -> tuple[int, int]:
    """How many are overdue, and how many soon will be."""
    counts = select(
        func.count().filter(is_overdue(today)), func.count().filter(is_due_soon(today))
    ).select_from(EInvoice)
    overdue, soon = session.execute(counts).one()
    return int(overdue), int(soon)


def tell_overdue(engine: Engine, clock: Clock) -> int:
    """Tell of each overdue document once, through the outbox; how many were new."""
    today = local_day(clock.now(), DEFAULT_ZONE)
    told = exists().where(OutboxEntry.topic == TOPIC, OutboxEntry.entity_id == EInvoice.id)
    with unit_of_work(engine) as session:
        rows = session.scalars(
            select(EInvoice).where(is_overdue(today), ~told).with_for_update(skip_locked=True)
        ).all()
        for row in rows:
            report(
                session,
                TOPIC,
                entity=("einvoice", row.id),
                account_id=None,
                payload={
                    "number": row.number,
                    "report_by": None if row.report_by is None else row.report_by.isoformat(),
                    "state": row.state.value,
                    "error": row.error,
                },
                now=clock.now(),
            )
    return len(rows)
