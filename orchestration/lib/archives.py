"""Months that were archived come back by themselves when the pipeline reads them."""

from datetime import date, timedelta

import dagster as dg
from sqlalchemy import select

from billing.access.actor import SYSTEM
from billing.clock import SystemClock
from billing.subscriptions.tables import BillingPeriod
from billing.usage.archive.service import Archivist
from billing.usage.archive.tables import ArchivedDay, EventArchive
from orchestration.lib.database import Database

_ONE_DAY = timedelta(days=1)
"""Local days reach no further into the UTC days beside them."""


def restore_usage_days(
    context: dg.AssetExecutionContext, database: Database, first: date, end: date
) -> None:
    """Have the events of these local days, from `first` (in) to `end` (out), in the table."""
    with database.reading() as session:
        months = session.scalars(
            select(EventArchive.month)
            .join(ArchivedDay, ArchivedDay.archive_id == EventArchive.id)
            .where(
                ArchivedDay.dropped,
                ArchivedDay.day >= first - _ONE_DAY,
                ArchivedDay.day <= end,
            )
            .distinct()
            .order_by(EventArchive.month)
        ).all()
    if not months:
        return
    with database.engine() as engine:

        def show(step: str, day: date) -> None:
            context.log.info("%s %s", step, day)

        archivist = Archivist(engine, SYSTEM, SystemClock(), show)
        for month in months:
            archivist.restore(month)


def restore_invoice_month(
    context: dg.AssetExecutionContext, database: Database, month: date
) -> None:
    """Have the events of all billing periods that are invoiced with a month in the table."""
    with database.reading() as session:
        periods = session.execute(
            select(BillingPeriod.starts_on, BillingPeriod.ends_on).filter_by(invoice_month=month)
        ).all()
    if periods:
        first = min(starts_on for starts_on, _ in periods)
        restore_usage_days(context, database, first, max(ends_on for _, ends_on in periods))
