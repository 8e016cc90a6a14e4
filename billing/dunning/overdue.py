"""Who owes what, how late, and where in its schedule each debt stands."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, or_, select
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.clock import Clock
from billing.customers.tables import Account, Customer
from billing.dunning.rules import Step
from billing.dunning.service import is_resting, schedule_for
from billing.dunning.tables import AccountDunning, DunningAction, DunningSchedule, DunningStep
from billing.errors import not_found
from billing.invoices.settlement import outstanding_minor
from billing.invoices.tables import Invoice, InvoiceStatus
from billing.periods import DEFAULT_ZONE, local_day


@dataclass(frozen=True, slots=True)
class Debt:
    """An issued invoice on which something is open, in minor units of its currency."""

    invoice_id: UUID
    number: str
    customer_id: UUID
    account_id: UUID
    customer: str
    account: str
    account_status: str
    currency: str
    outstanding_minor: int
    due_date: date
    days_late: int
    """Negative before the due date."""
    schedule: str | None
    """Its name; None if none holds."""
    schedule_code: str | None
    """Of the account's own schedule; None where the default one holds."""
    paused_until: date | None
    """None unless it rests today."""
    pause_reason: str | None
    last_step: DunningStep | None
    next_action: DunningAction | None
    next_on: date | None


def list_debts(
    session: Session,
    actor: Actor,
    clock: Clock,
    *,
    customer_id: UUID | None = None,
    late_only: bool = False,
    limit: int = 500,
    after: UUID | None = None,
) -> list[Debt]:
    """Issued invoices with something open, the longest due first.

    Args:
        late_only: those whose due date has passed.
        after: the invoice that a page before ended with; it may be paid by now.

    Raises:
        NotFoundError: if there is no such invoice.
    """
    actor.require(Permission.INVOICES_READ)
    today = local_day(clock.now(), DEFAULT_ZONE)
    query = _owed(customer_ids=(actor.customer_id, customer_id)).limit(limit)
    if late_only:
        query = query.where(Invoice.due_date < today)
    if after is not None:
        query = query.where(_beyond(session, after))
    rows = session.execute(query).all()
    taken: dict[UUID, list[DunningStep]] = {}
    for step in session.scalars(
        select(DunningStep)
        .where(DunningStep.invoice_id.in_([invoice.id for invoice, _, _ in rows]))
        .order_by(DunningStep.id)
    ):
        taken.setdefault(step.invoice_id, []).append(step)
    settings = {
        one.account_id: one
        for one in session.scalars(
            select(AccountDunning).where(
                AccountDunning.account_id.in_({account.id for _, account, _ in rows})
            )
        )
    }
    default = schedule_for(session, None)
    found = []
    for invoice, account, customer in rows:
        setting = settings.get(account.id)
        own = setting is not None and setting.schedule_id is not None
        schedule = schedule_for(session, setting) if own else default
        steps = taken.get(invoice.id, [])
        found.append(
            _debt(invoice, account, customer, schedule, setting, steps, today=today, own=own)
        )
    return found


def _owed(customer_ids: Iterable[UUID | None]) -> Select[Invoice, Account, Customer]:
    """What is open, of every customer that is named."""
    query = (
        select(Invoice, Account, Customer)
        .join(Account, Account.id == Invoice.account_id)
        .join(Customer, Customer.id == Invoice.customer_id)
        .where(Invoice.status == InvoiceStatus.DUE, Invoice.due_date.is_not(None))
        .order_by(Invoice.due_date, Invoice.number)
    )
    for wanted in customer_ids:
        if wanted is not None:
            query = query.where(Invoice.customer_id == wanted)
    return query


def _beyond(session: Session, after: UUID) -> ColumnElement[bool]:
    last = session.get(Invoice, after)
    if last is None:
        raise not_found("invoice", after)
    return or_(
        Invoice.due_date > last.due_date,
        and_(Invoice.due_date == last.due_date, Invoice.number > last.number),
    )


def _debt(
    invoice: Invoice,
    account: Account,
    customer: Customer,
    schedule: DunningSchedule | None,
    setting: AccountDunning | None,
    steps: list[DunningStep],
    *,
    today: date,
    own: bool,
) -> Debt:
    resting = is_resting(setting, today)
    due_date = invoice.due_date or today
    from_day = setting.paused_until if setting and resting and setting.paused_until else today
    following = _next_step(schedule, invoice, steps)
    return Debt(
        invoice_id=invoice.id,
        number=invoice.number or "",
        customer_id=invoice.customer_id,
        account_id=account.id,
        customer=customer.name,
        account=account.name,
        account_status=account.status.value,
        currency=invoice.currency,
        outstanding_minor=outstanding_minor(invoice),
        due_date=due_date,
        days_late=(today - due_date).days,
        schedule=schedule.name if schedule else None,
        schedule_code=schedule.code if schedule and own else None,
        paused_until=setting.paused_until if setting and resting else None,
        pause_reason=setting.pause_reason if setting and resting else None,
        last_step=steps[-1] if steps else None,
        next_action=following.action if following else None,
        next_on=max(due_date + timedelta(days=following.day), from_day) if following else None,
    )


def _next_step(
    schedule: DunningSchedule | None, invoice: Invoice, taken: list[DunningStep]
) -> Step | None:
    """The first step that was neither taken nor passed over; None if what is open is no debt."""
    if schedule is None or outstanding_minor(invoice) <= schedule.ignore_below_minor:
        return None
    keys = {(step.day, step.action) for step in taken}
    left = [step for one in schedule.steps if (step := Step.from_dict(one)).key not in keys]
    return min(left, key=lambda step: step.day, default=None)
