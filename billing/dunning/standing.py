"""Letting an account back that was suspended for a debt, as soon as the debt is settled."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from billing.customers.tables import Account, AccountStatus, SuspensionCause
from billing.dunning.tables import DunningAction, DunningSchedule, DunningStep, StepOutcome
from billing.invoices.tables import Invoice, InvoiceStatus
from billing.outbox.service import report


def reinstate_if_settled(session: Session, account_id: UUID, now: datetime) -> None:
    """End a suspension for debt if none of the debts it was for is open any more."""
    account = session.get_one(Account, account_id)
    if account.suspended_for is not SuspensionCause.DEBT:
        return
    session.flush()
    still_owed = exists(
        select(Invoice.id)
        .join(DunningStep, DunningStep.invoice_id == Invoice.id)
        .join(DunningSchedule, DunningSchedule.id == DunningStep.schedule_id)
        .where(
            Invoice.account_id == account_id,
            Invoice.status == InvoiceStatus.DUE,
            Invoice.total_minor - Invoice.settled_minor > DunningSchedule.ignore_below_minor,
            DunningStep.action == DunningAction.SUSPEND,
            DunningStep.outcome == StepOutcome.DONE,
        )
    )
    if session.scalar(select(still_owed)):
        return
    account = session.get_one(Account, account_id, with_for_update=True, populate_existing=True)
    if account.suspended_for is not SuspensionCause.DEBT:
        return
    account.status, account.suspended_for, account.updated_at = AccountStatus.ACTIVE, None, now
    report(
        session,
        "account.reactivated",
        entity=("account", account.id),
        account_id=account.id,
        payload={"status": account.status.value, "cause": SuspensionCause.DEBT.value},
        now=now,
    )
