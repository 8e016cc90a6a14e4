"""Whom a debt suspends, and letting them back as soon as it is settled.

A debt concerns the account whose invoice it is, the accounts below whose charges stand on that
invoice, and those whose charges the account pays now: else they would go on sending, and who does
not pay would have to pay for it.
"""

from collections.abc import Sequence
from datetime import date, datetime

from sqlalchemy import exists, or_, select
from sqlalchemy.orm import Session

from billing.customers.tables import Account, AccountStatus, SuspensionCause
from billing.dunning.tables import DunningAction, DunningSchedule, DunningStep, StepOutcome
from billing.invoices.consolidation import BillAccounts, bill_accounts_of
from billing.invoices.tables import Invoice, InvoiceLine, InvoiceStatus
from billing.outbox.service import report
from billing.periods import DEFAULT_ZONE, local_day


def lock_concerned(session: Session, invoice: Invoice, today: date) -> Sequence[Account]:
    """The accounts that a debt concerns, as they are now, held until the transaction ends."""
    below = bill_accounts_of(session, invoice.customer_id).below(invoice.account_id, today)
    on_invoice = select(InvoiceLine.account_id).where(
        InvoiceLine.invoice_id == invoice.id, InvoiceLine.account_id.is_not(None)
    )
    return session.scalars(
        select(Account)
        .where(or_(Account.id.in_({invoice.account_id, *below}), Account.id.in_(on_invoice)))
        .order_by(Account.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()


def reinstate_if_settled(session: Session, invoice: Invoice, now: datetime) -> None:
    """End the suspensions for debt that no open debt of the customer is a reason for any more."""
    session.flush()
    suspended = session.scalars(
        select(Account)
        .filter_by(customer_id=invoice.customer_id, suspended_for=SuspensionCause.DEBT)
        .order_by(Account.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    if not suspended:
        return
    settings = bill_accounts_of(session, invoice.customer_id)
    for account in suspended:
        if not _is_held(session, account, settings, local_day(now, DEFAULT_ZONE)):
            _reinstate(session, account, now)


def _is_held(session: Session, account: Account, settings: BillAccounts, today: date) -> bool:
    """Whether a debt for which somebody was suspended is open and concerns an account."""
    payers = {account.id, settings.on(account.id, today)}
    return bool(
        session.scalar(
            select(
                exists(
                    select(Invoice.id)
                    .join(DunningStep, DunningStep.invoice_id == Invoice.id)
                    .join(DunningSchedule, DunningSchedule.id == DunningStep.schedule_id)
                    .where(
                        or_(
                            Invoice.account_id.in_(payers),
                            Invoice.lines.any(InvoiceLine.account_id == account.id),
                        ),
                        Invoice.customer_id == account.customer_id,
                        Invoice.status == InvoiceStatus.DUE,
                        Invoice.total_minor - Invoice.settled_minor
                        > DunningSchedule.ignore_below_minor,
                        DunningStep.action == DunningAction.SUSPEND,
                        DunningStep.outcome == StepOutcome.DONE,
                    )
                )
            )
        )
    )


def _reinstate(session: Session, account: Account, now: datetime) -> None:
    account.status, account.suspended_for, account.updated_at = AccountStatus.ACTIVE, None, now
    report(
        session,
        "account.reactivated",
        entity=("account", account.id),
        account_id=account.id,
        payload={"status": account.status.value, "cause": SuspensionCause.DEBT.value},
        now=now,
    )
