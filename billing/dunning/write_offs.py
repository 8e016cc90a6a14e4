"""Debts that are given up: one person proposes, another decides."""

from collections.abc import Sequence
from uuid import UUID

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Context, Request, command
from billing.dunning.tables import WriteOff, WriteOffState
from billing.errors import ForbiddenError, PreconditionError, not_found
from billing.invoices.repository import load_invoice
from billing.invoices.settlement import SettlementSource, outstanding_minor, settle
from billing.invoices.tables import Invoice, InvoiceStatus


class ProposeWriteOff(Request):
    """What is to be given up, and why."""

    invoice_id: UUID
    amount_minor: int = Field(gt=0, lt=2**53)
    reason: str = Field(min_length=3, max_length=500)


class DecideWriteOff(Request):
    """Yes or no to a proposal."""

    write_off_id: UUID
    approve: bool
    note: str = Field(default="", max_length=500)


@command("write_off.propose", Permission.PAYMENTS_WRITE)
def propose_write_off(ctx: Context, request: ProposeWriteOff) -> WriteOff:
    """Propose to give up what is open on an invoice; nothing is settled yet.

    Raises:
        PreconditionError: if less is open, or a proposal waits already.
    """
    invoice = load_invoice(ctx.session, request.invoice_id, lock=True)
    ctx.actor.require_customer(invoice.customer_id)
    is_due = invoice.status is InvoiceStatus.DUE
    if not is_due or request.amount_minor > outstanding_minor(invoice):
        raise PreconditionError(
            f"Of this invoice {outstanding_minor(invoice) if is_due else 0} is open (minor units "
            f"of {invoice.currency}).",
            code="more_than_outstanding",
        )
    waiting = select(WriteOff.id).filter_by(invoice_id=invoice.id, state=WriteOffState.PROPOSED)
    if ctx.session.scalar(waiting):
        raise PreconditionError("A proposal for this invoice waits already.", code="proposed")
    write_off = WriteOff(
        **request.model_dump(),
        state=WriteOffState.PROPOSED,
        proposed_by=ctx.actor.name,
        proposed_at=ctx.clock.now(),
    )
    ctx.session.add(write_off)
    return write_off


@command("write_off.decide", Permission.INVOICES_APPROVE)
def decide_write_off(ctx: Context, request: DecideWriteOff) -> WriteOff:
    """Approve a proposal, which settles the invoice by it, or reject it.

    Raises:
        ForbiddenError: if it is the actor's own.
        PreconditionError: if it was decided otherwise, or meanwhile less is open.
    """
    session = ctx.session
    write_off = session.get(WriteOff, request.write_off_id)
    if write_off is None:
        raise not_found("write-off", request.write_off_id)
    invoice = load_invoice(session, write_off.invoice_id, lock=True)
    session.refresh(write_off, with_for_update=True)
    wanted = WriteOffState.APPROVED if request.approve else WriteOffState.REJECTED
    if write_off.state is wanted:
        return write_off
    if write_off.state is not WriteOffState.PROPOSED:
        raise PreconditionError(f"It is {write_off.state.value} already.", code="decided")
    if write_off.proposed_by == ctx.actor.name:
        raise ForbiddenError("Another person than the one who proposed it must decide.")
    if request.approve:
        settle(
            session,
            invoice,
            SettlementSource.WRITE_OFF,
            write_off.amount_minor,
            ctx.clock.now(),
            reference=f"write_off:{write_off.id}",
            details={"note": write_off.reason, "proposed_by": write_off.proposed_by},
        )
    write_off.state, write_off.decision_note = wanted, request.note
    write_off.decided_by, write_off.decided_at = ctx.actor.name, ctx.clock.now()
    return write_off


def list_write_offs(
    session: Session,
    actor: Actor,
    *,
    state: WriteOffState | None = None,
    limit: int = 50,
    after: UUID | None = None,
) -> Sequence[WriteOff]:
    """Proposals, newest first."""
    actor.require(Permission.INVOICES_READ)
    query = select(WriteOff).order_by(WriteOff.id.desc()).limit(limit)
    if actor.customer_id is not None:
        query = query.join(Invoice, Invoice.id == WriteOff.invoice_id).where(
            Invoice.customer_id == actor.customer_id
        )
    if state is not None:
        query = query.where(WriteOff.state == state)
    if after is not None:
        query = query.where(WriteOff.id < after)
    return session.scalars(query).all()
