"""Dunning: schedules, pauses, what was done about a debt, letters, debts given up."""

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Path, Query
from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Request
from billing.customers.tables import AccountStatus
from billing.dunning.overdue import Debt, list_debts
from billing.dunning.service import (
    SaveSchedule,
    ScheduleStep,
    SetAccountDunning,
    list_schedules,
    save_schedule,
    set_account_dunning,
    steps_of,
)
from billing.dunning.tables import (
    AccountDunning,
    DunningAction,
    DunningSchedule,
    DunningStep,
    StepOutcome,
    WriteOff,
    WriteOffState,
)
from billing.dunning.write_offs import (
    DecideWriteOff,
    ProposeWriteOff,
    decide_write_off,
    list_write_offs,
    propose_write_off,
)
from billing.invoices.repository import get_invoice
from billing.mail.service import list_mails
from billing.mail.tables import Mail, MailState
from ingest_api.auth import needs
from ingest_api.dependencies import (
    Commands,
    CurrentServices,
    Envelope,
    Paging,
    ReadSession,
    build,
)
from ingest_api.envelope import Answer, Attributes, ListAnswer, Resource, refer

router = APIRouter(tags=["payments"])

Reader = Annotated[Actor, needs(Permission.INVOICES_READ)]
Staff = Annotated[Actor, needs(Permission.INVOICES_READ, staff_only=True)]
Letters = Annotated[Actor, needs(Permission.CUSTOMERS_READ)]
Owner = Annotated[Actor, needs(Permission.CUSTOMERS_WRITE, staff_only=True)]
Collectors = Annotated[Actor, needs(Permission.PAYMENTS_WRITE, staff_only=True)]
Approver = Annotated[Actor, needs(Permission.INVOICES_APPROVE, staff_only=True)]
Code = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{0,39}$")]


_DEBT: JsonDict = {
    "number": "INV-2627-000042", "customer": "Acme Retail Private Limited", "account": "acme-main",
    "account_status": "active", "currency": "INR", "outstanding_minor": 1_180_000,
    "due_date": "2026-11-18", "days_late": 5, "schedule_name": "Default", "paused_until": None,
    "pause_reason": None, "last_action": "remind", "last_outcome": "done",
    "last_taken_at": "2026-11-19T03:30:00Z", "next_action": "charge", "next_on": "2026-11-25",
}  # fmt: skip


class ScheduleAttributes(Attributes):
    """What is done on which day after the due date."""

    code: str
    name: str
    steps: list[ScheduleStep]
    ignore_below_minor: int
    is_default: bool
    updated_at: datetime


class AccountDunningAttributes(Attributes):
    """What holds for an account."""

    paused_until: date | None
    pause_reason: str | None
    updated_at: datetime


class StepAttributes(Attributes):
    """A step that was taken or passed over."""

    day: int
    action: DunningAction
    outcome: StepOutcome
    outstanding_minor: int
    taken_at: datetime


class DebtAttributes(Attributes):
    """An issued invoice on which something is open, and where it stands in its schedule."""

    model_config = ConfigDict(json_schema_extra={"examples": [_DEBT]})

    number: str
    customer: str
    account: str
    account_status: AccountStatus
    currency: str
    outstanding_minor: int
    due_date: date
    days_late: int = Field(description="Negative before the due date.")
    schedule_name: str | None = Field(description="Null: none holds, so nothing is done.")
    paused_until: date | None
    pause_reason: str | None
    last_action: DunningAction | None
    last_outcome: StepOutcome | None
    last_taken_at: datetime | None
    next_action: DunningAction | None
    next_on: date | None


class MailAttributes(Attributes):
    """A letter."""

    recipient: str
    subject: str
    body: str
    state: MailState
    tries: int
    error: str | None
    created_at: datetime
    sent_at: datetime | None


class WriteOffAttributes(Attributes):
    """A debt that somebody proposes to give up."""

    amount_minor: int
    reason: str
    state: WriteOffState
    proposed_by: str
    proposed_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    decision_note: str | None


class Schedule(Request):
    """Days and actions; a reminder may have words of its own, with names in braces."""

    name: str = Field(min_length=1, max_length=120)
    steps: tuple[ScheduleStep, ...] = Field(min_length=1, max_length=40)
    ignore_below_minor: int = Field(default=0, ge=0, lt=2**53)
    is_default: bool = Field(default=False, description="For accounts without one of their own.")


class AccountSetting(Request):
    """Another schedule than the default, or a pause."""

    schedule_code: str | None = None
    paused_until: date | None = Field(default=None, description="Nothing is done before it.")
    pause_reason: str | None = Field(default=None, min_length=3, max_length=500)


class Proposal(Request):
    """What is to be given up, and why."""

    amount_minor: int = Field(gt=0, lt=2**53)
    reason: str = Field(min_length=3, max_length=500)


class Decision(Request):
    """Yes or no."""

    approve: bool
    note: str = Field(default="", max_length=500)


_SCHEDULE = {
    "name": "Standard",
    "ignore_below_minor": 100,
    "is_default": True,
    "steps": [
        {"day": -3, "action": "remind"},
        {"day": 1, "action": "charge"},
        {"day": 1, "action": "remind"},
        {
            "day": 14,
            "action": "remind",
            "subject": "Invoice {number}: last reminder",
            "body": "Dear {customer},\n\n{currency} {outstanding} is {days_late} days late.",
        },
        {"day": 30, "action": "suspend"},
    ],
}
_PAUSE = {"paused_until": "2026-12-15", "pause_reason": "They dispute two lines."}


def schedule_resource(row: DunningSchedule) -> Resource[ScheduleAttributes]:
    """A schedule as the API shows it."""
    return Resource(
        id=row.code, type="dunning_schedule", attributes=ScheduleAttributes.model_validate(row)
    )


def setting_resource(row: AccountDunning) -> Resource[AccountDunningAttributes]:
    """What holds for an account, as the API shows it."""
    return Resource(
        id=str(row.account_id),
        type="account_dunning",
        attributes=AccountDunningAttributes.model_validate(row),
        relationships=refer(account=("account", row.account_id)),
    )


def step_resource(row: DunningStep) -> Resource[StepAttributes]:
    """A step as the API shows it."""
    return Resource(
        id=str(row.id), type="dunning_step", attributes=StepAttributes.model_validate(row)
    )


def debt_resource(row: Debt) -> Resource[DebtAttributes]:
    """A debt as the API shows it, under the id of its invoice."""
    last = row.last_step
    return Resource(
        id=str(row.invoice_id),
        type="debt",
        attributes=DebtAttributes(
            number=row.number,
            customer=row.customer,
            account=row.account,
            account_status=AccountStatus(row.account_status),
            currency=row.currency,
            outstanding_minor=row.outstanding_minor,
            due_date=row.due_date,
            days_late=row.days_late,
            schedule_name=row.schedule,
            paused_until=row.paused_until,
            pause_reason=row.pause_reason,
            last_action=last.action if last else None,
            last_outcome=last.outcome if last else None,
            last_taken_at=last.taken_at if last else None,
            next_action=row.next_action,
            next_on=row.next_on,
        ),
        relationships=refer(
            invoice=("invoice", row.invoice_id),
            account=("account", row.account_id),
            customer=("customer", row.customer_id),
        ),
    )


def mail_resource(row: Mail) -> Resource[MailAttributes]:
    """A letter as the API shows it."""
    return Resource(
        id=str(row.id),
        type="mail",
        attributes=MailAttributes.model_validate(row),
        relationships=refer(customer=("customer", row.customer_id)),
    )


def write_off_resource(row: WriteOff) -> Resource[WriteOffAttributes]:
    """A proposal as the API shows it."""
    return Resource(
        id=str(row.id),
        type="write_off",
        attributes=WriteOffAttributes.model_validate(row),
        relationships=refer(invoice=("invoice", row.invoice_id)),
    )


@router.get("/dunning-schedules", summary="List dunning schedules")
def schedules(
    session: ReadSession, actor: Staff, reply: Envelope
) -> ListAnswer[ScheduleAttributes]:
    """All schedules, by code."""
    return reply.all(list_schedules(session, actor), schedule_resource)


@router.put("/dunning-schedules/{code}", summary="Save a dunning schedule")
def save(
    ctx: Commands,
    _: Approver,
    reply: Envelope,
    code: Code,
    body: Annotated[Schedule, Body(examples=[_SCHEDULE])],
) -> Answer[ScheduleAttributes]:
    """Make or replace a schedule; steps that were taken stay taken.

    A reminder's words may name `{number}`, `{due_date}`, `{customer}`, `{currency}`,
    `{outstanding}`, `{are_due}` and `{days_late}`.
    """
    request = build(SaveSchedule, code=code, **body.model_dump())
    return reply.one(schedule_resource(save_schedule(ctx, request)))


@router.put("/accounts/{account_id}/dunning", summary="Set or pause an account's dunning")
def set_account(
    ctx: Commands,
    _: Owner,
    reply: Envelope,
    account_id: UUID,
    body: Annotated[AccountSetting, Body(examples=[_PAUSE])],
) -> Answer[AccountDunningAttributes]:
    """Give an account another schedule than the default, or let dunning rest until a day."""
    request = build(SetAccountDunning, account_id=account_id, **body.model_dump())
    return reply.one(setting_resource(set_account_dunning(ctx, request)))


@router.get("/invoices/{invoice_id}/dunning-steps", summary="List what was done about a debt")
def steps(
    session: ReadSession, actor: Reader, reply: Envelope, invoice_id: UUID
) -> ListAnswer[StepAttributes]:
    """Reminders, charges and suspension, in order."""
    get_invoice(session, actor, invoice_id)
    return reply.all(steps_of(session, invoice_id), step_resource)


@router.get("/debts", summary="List debts")
def debts(
    session: ReadSession,
    actor: Staff,
    services: CurrentServices,
    reply: Envelope,
    page: Paging,
    customer_id: Annotated[UUID | None, Query()] = None,
    late_only: Annotated[bool, Query(description="Only those whose due date has passed.")] = False,
) -> ListAnswer[DebtAttributes]:
    """Issued invoices with something open, the longest due first, and what is done next."""
    rows = list_debts(
        session, actor, services.clock, customer_id=customer_id, late_only=late_only, **page.fetch
    )
    return reply.page(rows, page.limit, debt_resource)


@router.get("/mails", summary="List letters")
def mails(
    session: ReadSession,
    actor: Letters,
    reply: Envelope,
    page: Paging,
    state: Annotated[MailState | None, Query()] = None,
    customer_id: Annotated[UUID | None, Query()] = None,
) -> ListAnswer[MailAttributes]:
    """Letters, newest first: those that wait, those that went, those that were given up."""
    rows = list_mails(session, actor, state=state, customer_id=customer_id, **page.fetch)
    return reply.page(rows, page.limit, mail_resource)


@router.get("/write-offs", summary="List debts proposed to be given up")
def write_offs(
    session: ReadSession,
    actor: Staff,
    reply: Envelope,
    page: Paging,
    state: Annotated[WriteOffState | None, Query()] = None,
) -> ListAnswer[WriteOffAttributes]:
    """Proposals, newest first."""
    rows = list_write_offs(session, actor, state=state, **page.fetch)
    return reply.page(rows, page.limit, write_off_resource)


@router.post(
    "/invoices/{invoice_id}/write-offs", status_code=201, summary="Propose to give up a debt"
)
def propose(
    ctx: Commands,
    _: Collectors,
    reply: Envelope,
    invoice_id: UUID,
    body: Annotated[Proposal, Body(examples=[{"amount_minor": 11800, "reason": "Insolvent"}])],
) -> Answer[WriteOffAttributes]:
    """Propose it; another person decides."""
    request = build(ProposeWriteOff, invoice_id=invoice_id, **body.model_dump())
    return reply.one(write_off_resource(propose_write_off(ctx, request)))


@router.post("/write-offs/{write_off_id}/decision", summary="Decide whether to give up a debt")
def decide(
    ctx: Commands,
    _: Approver,
    reply: Envelope,
    write_off_id: UUID,
    body: Annotated[Decision, Body(examples=[{"approve": True, "note": "Agreed"}])],
) -> Answer[WriteOffAttributes]:
    """Approve somebody else's proposal, which settles the invoice by it, or reject it."""
    request = build(DecideWriteOff, write_off_id=write_off_id, **body.model_dump())
    return reply.one(write_off_resource(decide_write_off(ctx, request)))
