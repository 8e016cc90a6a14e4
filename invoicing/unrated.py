"""Alerts about usage without a rate: an account without any rated line has no draft to park."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.outbox.service import report
from billing.outbox.tables import OutboxEntry

TOPIC: Final = "usage.unrated"


def alert_unrated(
    session: Session, invoice_month: date, unrated: Mapping[UUID, str], now: datetime
) -> None:
    """Report each account's usage without a rate, once for what is missing.

    Args:
        unrated: by account, the sentence that says what.
    """
    known = {
        (row.account_id, row.payload.get("month"), row.payload.get("reason"))
        for row in session.scalars(
            select(OutboxEntry).where(
                OutboxEntry.topic == TOPIC, OutboxEntry.account_id.in_(unrated)
            )
        )
    }
    for account_id, reason in unrated.items():
        if (account_id, invoice_month.isoformat(), reason) not in known:
            report(
                session,
                TOPIC,
                entity=("account", account_id),
                account_id=account_id,
                payload={"month": invoice_month.isoformat(), "reason": reason},
                now=now,
            )
