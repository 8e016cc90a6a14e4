"""Commands of dunning: schedules, what holds for an account, and the steps themselves."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_validator
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from billing.access.actor import SYSTEM, Actor
from billing.access.roles import Permission
from billing.clock import Clock
from billing.commands import Context, Request, command
from billing.customers.repository import contacts_by_mail, load_account
from billing.customers.tables import Account, AccountStatus, Customer, SuspensionCause
from billing.db.unit_of_work import read_only, unit_of_work
from billing.dunning.letters import Letter, letter
from billing.dunning.rules import Step, steps_due
from billing.dunning.standing import lock_concerned
from billing.dunning.tables import (
    AccountDunning,
    DunningAction,
    DunningSchedule,
    DunningStep,
    StepOutcome,
)
from billing.errors import not_found
from billing.invoices.settlement import outstanding_minor
from billing.invoices.tables import Invoice, InvoiceStatus
from billing.mail.service import queue_mail
from billing.outbox.service import report
from billing.payments.charging import charge_invoice
from billing.periods import DEFAULT_ZONE, local_day

_EARLIEST_DAY: Final = -60
_LATEST_DAY: Final = 730


class ScheduleStep(BaseModel):
    """One line of a schedule: so many days after the due date, do this."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    day: int = Field(ge=_EARLIEST_DAY, le=_LATEST_DAY)
    action: DunningAction
    subject: str | None = Field(default=None, max_length=200)
    """Of a reminder; a plain one is written if this is left out."""
    body: str | None = Field(default=None, max_length=5000)


class SaveSchedule(Request):
    """A schedule under its code; one that is saved again replaces what it said."""

    code: str = Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")
    name: str = Field(min_length=1, max_length=120)
    steps: tuple[ScheduleStep, ...] = Field(min_length=1, max_length=40)
    ignore_below_minor: int = Field(default=0, ge=0, lt=2**53)
    is_default: bool = False

    @field_validator("steps")
    @classmethod
    def _once_a_day(cls, steps: tuple[ScheduleStep, ...]) -> tuple[ScheduleStep, ...]:
        if len({(step.day, step.action) for step in steps}) < len(steps):
            raise ValueError("the same action stands twice on one day")
        if any(step.day < 0 and step.action is not DunningAction.REMIND for step in steps):
            raise ValueError("before the due date there is nothing but a reminder")
        return steps


class SetAccountDunning(Request):
    """Which schedule holds for an account, and whether it rests."""

    account_id: UUID
    schedule_code: str | None = None
    """The default one, if None."""
    paused_until: date | None = None
    pause_reason: str | None = Field(default=None, min_length=3, max_length=500)


class TakeSteps(Request):
    """The invoice to look at."""

    invoice_id: UUID


@command("dunning.save_schedule", Permission.INVOICES_APPROVE)
def save_schedule(ctx: Context, request: SaveSchedule) -> DunningSchedule:
    """Make or replace a schedule; steps that were taken stay taken."""
    session = ctx.session
    schedule = session.scalars(
        select(DunningSchedule).filter_by(code=request.code).with_for_update()
    ).one_or_none()
    if request.is_default:
        session.execute(
            update(DunningSchedule).where(DunningSchedule.is_default).values(is_default=False)
        )
    if schedule is None:
        schedule = DunningSchedule(code=request.code)
        session.add(schedule)
    schedule.name = request.name
    schedule.steps = [step.model_dump(mode="json", exclude_none=True) for step in request.steps]
    schedule.ignore_below_minor = request.ignore_below_minor
    schedule.is_default = request.is_default
    schedule.updated_at = ctx.clock.now()
    return schedule


@command("dunning.set_account", Permission.CUSTOMERS_WRITE)
def set_account_dunning(ctx: Context, request: SetAccountDunning) -> AccountDunning:
    """Give an account another schedule, or let dunning rest until a day.

    Raises:
        NotFoundError: if there is no such schedule.
    """
    account = load_account(ctx.session, request.account_id, lock=True)
    schedule_id = None
    if request.schedule_code is not None:
        schedule_id = get_schedule(ctx.session, request.schedule_code).id
    setting = ctx.session.get(AccountDunning, account.id)
    if setting is None:
        setting = AccountDunning(account_id=account.id)
        ctx.session.add(setting)
    setting.schedule_id = schedule_id
    setting.paused_until, setting.pause_reason = request.paused_until, request.pause_reason
    setting.updated_at = ctx.clock.now()
    return setting


@command("dunning.take_steps", Permission.INVOICES_WRITE)
def take_steps(ctx: Context, request: TakeSteps) -> Invoice:
    """Do what the schedule says is due about an invoice today; each step once."""
    session = ctx.session
    invoice = session.get_one(
        Invoice, request.invoice_id, with_for_update=True, populate_existing=True
    )
    concerned = lock_concerned(session, invoice, _today(ctx.clock))
    schedule = _schedule_of(session, invoice.account_id, _today(ctx.clock))
    if (
        schedule is None
        or invoice.status is not InvoiceStatus.DUE
        or invoice.due_date is None
        or outstanding_minor(invoice) <= schedule.ignore_below_minor
    ):
        return invoice
    taken = session.execute(
        select(DunningStep.day, DunningStep.action).filter_by(invoice_id=invoice.id)
    ).all()
    steps = [Step.from_dict(one) for one in schedule.steps]
    due, passed_over = steps_due(
        steps, invoice.due_date, _today(ctx.clock), {(row[0], row[1]) for row in taken}
    )
    for step in passed_over:
        _note(ctx, invoice, schedule, step, StepOutcome.SKIPPED)
    for step in due:
        is_done = _take(ctx, invoice, concerned, step)
        outcome = StepOutcome.DONE if is_done else StepOutcome.NOT_POSSIBLE
        _note(ctx, invoice, schedule, step, outcome)
    return invoice


def run_dunning(engine: Engine, clock: Clock) -> int:
    """Look at every debt for which something may be due; how many there were.

    One invoice is one transaction: what was done stays done if the run is cut off.
    """
    with read_only(engine) as session:
        horizon = _today(clock) - timedelta(days=_EARLIEST_DAY)
        owed = session.scalars(
            select(Invoice.id)
            .where(Invoice.status == InvoiceStatus.DUE, Invoice.due_date <= horizon)
            .order_by(Invoice.due_date, Invoice.id)
        ).all()
    for invoice_id in owed:
        with unit_of_work(engine) as session:
            take_steps(Context(session, SYSTEM, clock), TakeSteps(invoice_id=invoice_id))
    return len(owed)


def get_schedule(session: Session, code: str) -> DunningSchedule:
    """A schedule by its code.

    Raises:
        NotFoundError: if there is none.
    """
    schedule = session.scalars(select(DunningSchedule).filter_by(code=code)).one_or_none()
    if schedule is None:
        raise not_found("dunning schedule", code)
    return schedule


def list_schedules(session: Session, actor: Actor) -> Sequence[DunningSchedule]:
    """All schedules, by code."""
    actor.require(Permission.INVOICES_READ)
    return session.scalars(select(DunningSchedule).order_by(DunningSchedule.code)).all()


def steps_of(session: Session, invoice_id: UUID) -> Sequence[DunningStep]:
    """What was done about an invoice, in order."""
    return session.scalars(
        select(DunningStep).filter_by(invoice_id=invoice_id).order_by(DunningStep.id)
    ).all()


def is_resting(setting: AccountDunning | None, today: date) -> bool:
    """Whether an account's dunning is paused on a day."""
    return setting is not None and setting.paused_until is not None and today < setting.paused_until


def schedule_for(session: Session, setting: AccountDunning | None) -> DunningSchedule | None:
    """What holds for an account with that setting, whether it rests or not."""
    if setting is not None and setting.schedule_id is not None:
        return session.get_one(DunningSchedule, setting.schedule_id)
    return session.scalars(select(DunningSchedule).filter_by(is_default=True)).one_or_none()


def _schedule_of(session: Session, account_id: UUID, today: date) -> DunningSchedule | None:
    """What holds for an account; None if nothing does, or it rests."""
    setting = session.get(AccountDunning, account_id)
    return None if is_resting(setting, today) else schedule_for(session, setting)


def _take(ctx: Context, invoice: Invoice, concerned: Sequence[Account], step: Step) -> bool:
    """Do it; False if it is not possible."""
    match step.action:
        case DunningAction.REMIND:
            return _remind(ctx, invoice, step)
        case DunningAction.CHARGE:
            return charge_invoice(ctx, invoice) is not None
        case DunningAction.SUSPEND:
            return _suspend(ctx, invoice, concerned)


def _remind(ctx: Context, invoice: Invoice, step: Step) -> bool:
    """To whoever gets the invoices; contacts who take no documents silence no reminder."""
    customer = ctx.session.get_one(Customer, invoice.customer_id)
    own = [customer.email] if customer.email else []
    recipients = contacts_by_mail(ctx.session, customer.id) or own
    written = letter(Letter(step.subject, step.body), invoice, customer, _today(ctx.clock))
    for recipient in recipients:
        queue_mail(
            ctx.session,
            customer_id=customer.id,
            recipient=recipient,
            subject=written.subject or "",
            body=written.body or "",
            reference=f"dunning:{invoice.id}:{step.day}:{recipient}",
            now=ctx.clock.now(),
        )
    return bool(recipients)


def _suspend(ctx: Context, invoice: Invoice, concerned: Sequence[Account]) -> bool:
    """False if the debt keeps nobody suspended, as where all are suspended by hand."""
    for account in concerned:
        if account.status not in {AccountStatus.ACTIVE, AccountStatus.GRACE}:
            continue
        now = ctx.clock.now()
        account.status, account.suspended_for = AccountStatus.SUSPENDED, SuspensionCause.DEBT
        account.grace_ends_at, account.updated_at = None, now
        report(
            ctx.session,
            "account.suspended",
            entity=("account", account.id),
            account_id=account.id,
            payload={
                "status": account.status.value,
                "cause": SuspensionCause.DEBT.value,
                "invoice": invoice.number,
                "bill_account_id": str(invoice.account_id),
                "outstanding_minor": outstanding_minor(invoice),
            },
            now=now,
        )
    return any(account.suspended_for is SuspensionCause.DEBT for account in concerned)


def _note(
    ctx: Context, invoice: Invoice, schedule: DunningSchedule, step: Step, outcome: StepOutcome
) -> None:
    ctx.session.add(
        DunningStep(
            invoice_id=invoice.id,
            schedule_id=schedule.id,
            day=step.day,
            action=step.action,
            outcome=outcome,
            outstanding_minor=outstanding_minor(invoice),
            taken_at=ctx.clock.now(),
        )
    )


def _today(clock: Clock) -> date:
    return local_day(clock.now(), DEFAULT_ZONE)
