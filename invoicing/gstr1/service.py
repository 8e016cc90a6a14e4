"""The return of a month, as finance asks for it, and the lock after it was filed."""

import hashlib
from dataclasses import dataclass
from datetime import date
from typing import Any

from pydantic import Field
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Context, Request, command
from billing.errors import ConflictError, ForbiddenError, PreconditionError
from billing.invoices.repository import registration
from billing.invoices.return_periods import ReturnPeriod, hold_for_locking, return_period
from billing.periods import DEFAULT_ZONE, local_day
from invoicing.gstr1.advances import Advances, follow
from invoicing.gstr1.build import portal_return
from invoicing.gstr1.facts import Amounts, month_of, next_month
from invoicing.gstr1.files import portal_json
from invoicing.gstr1.load import load_facts
from invoicing.gstr1.reconcile import Difference, reconcile, supplies_in


@dataclass(frozen=True, slots=True)
class GstReturn:
    """A return with all that speaks for or against filing it."""

    gstin: str
    month: date
    portal: dict[str, Any]
    """What the portal takes."""
    differences: tuple[Difference, ...]
    """None if it equals the books."""
    refunds_to_claim: Amounts
    """Tax of older advances that went back; no table takes it, form RFD-01 claims it."""
    lock: ReturnPeriod | None

    @property
    def json(self) -> str:
        """The file for the portal."""
        return portal_json(self.portal)

    @property
    def sha256(self) -> str:
        """Of the file, in hexadecimal."""
        return hashlib.sha256(self.json.encode()).hexdigest()

    @property
    def totals(self) -> Amounts:
        """All supplies of the month, less the notes."""
        return supplies_in(self.portal)


class LockReturn(Request):
    """Which month was filed."""

    gstin: str = Field(min_length=15, max_length=15)
    month: str = Field(pattern=r"^\d{4}-\d{2}$")
    """Such as `2026-10`."""


def gst_return(session: Session, actor: Actor, gstin: str, month: date) -> GstReturn:
    """The return of one of our registrations for a month, reconciled.

    Args:
        month: its first day.

    Raises:
        NotFoundError: if we have no such registration.
        ForbiddenError: if the actor may not see it, or is confined to one customer.
    """
    actor.require(Permission.INVOICES_READ)
    if actor.customer_id is not None:
        raise ForbiddenError("A return holds the documents of all customers.")
    registration(session, gstin)
    facts = load_facts(session, gstin, month)
    advances = follow(facts.lots, facts.draws)
    portal = portal_return(facts, advances)
    return GstReturn(
        gstin=gstin,
        month=month,
        portal=portal,
        differences=tuple(reconcile(session, facts, portal, advances)),
        refunds_to_claim=_sum(advances, month),
        lock=return_period(session, gstin, month),
    )


@command("gstr1.lock", Permission.INVOICES_APPROVE)
def lock_return(ctx: Context, request: LockReturn) -> ReturnPeriod:
    """Lock a month whose return was filed: no document may be dated in it from now on.

    Raises:
        PreconditionError: if the month is not over, or the return differs from the books.
        ConflictError: if it is locked already.
    """
    month = month_of(request.month)
    if local_day(ctx.clock.now(), DEFAULT_ZONE) < next_month(month):
        raise PreconditionError(
            f"{request.month} is not over in India; it can be locked from {next_month(month)}.",
            code="month_not_over",
        )
    hold_for_locking(ctx.session, request.gstin, month)
    found = gst_return(ctx.session, ctx.actor, request.gstin, month)
    if found.lock is not None:
        raise ConflictError(
            f"{request.month} was locked on {found.lock.locked_at:%Y-%m-%d} "
            f"by {found.lock.locked_by}.",
            code="already_locked",
        )
    if found.differences:
        names = ", ".join(difference.name for difference in found.differences[:5])
        raise PreconditionError(
            f"The return of {request.month} differs from the books: {names}. Settle that first.",
            code="return_differs",
            details={
                difference.name: [difference.in_return, difference.in_books]
                for difference in found.differences
            },
        )
    lock = ReturnPeriod(
        gstin=request.gstin,
        month=month,
        locked_at=ctx.clock.now(),
        locked_by=ctx.actor.name,
        return_sha256=found.sha256,
    )
    ctx.session.add(lock)
    ctx.session.flush()
    return lock


def _sum(advances: Advances, month: date) -> Amounts:
    return sum((amounts for _, amounts in advances.refunded(month)), Amounts())
