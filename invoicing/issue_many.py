"""Approving many drafts: together as far as that holds nobody up, else each by itself."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final
from uuid import UUID

from sqlalchemy import Engine, select
from sqlalchemy.exc import OperationalError

from billing.access.actor import Actor
from billing.clock import Clock
from billing.commands import Context
from billing.customers.tables import Account, BillingMode
from billing.db.unit_of_work import read_only, unit_of_work
from billing.errors import BillingError, UnavailableError
from billing.invoices.tables import Invoice
from invoicing.issue import ApproveInvoice, approve_invoices

_TOGETHER: Final = 50
"""In one transaction; it holds the counter of its series as long as it lasts."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one draft."""

    invoice_id: UUID
    number: str | None
    refusal: BillingError | None
    review_note: str | None = None
    """Why it waits, if it was neither issued nor refused."""


def approve_each(
    engine: Engine,
    actor: Actor,
    clock: Clock,
    requests: Sequence[ApproveInvoice],
    key: str | None = None,
) -> Iterator[Outcome]:
    """Approve drafts in the order given; one that is refused does not hold up the others.

    Args:
        key: each draft gets an idempotency key of its own from it, so that the same again issues
            nothing twice.
    """
    distinct = list({one.invoice_id: one for one in requests}.values())
    for chunk in _chunks(engine, distinct):
        try:
            yield from _together(engine, actor, clock, chunk, key)
        except (BillingError, OperationalError):
            # nothing of it was kept; whose fault it was shows when each goes by itself
            for one in chunk:
                yield _alone(engine, actor, clock, one, key)


def _chunks(
    engine: Engine, requests: Sequence[ApproveInvoice]
) -> Iterator[Sequence[ApproveInvoice]]:
    """Neighbours that are no prepaid accounts' go together: a wallet is held for one invoice
    alone, because events wait for it."""
    ids = {one.invoice_id for one in requests}
    query = (
        select(Invoice.id)
        .join(Account, Account.id == Invoice.account_id)
        .where(Invoice.id.in_(ids), Account.billing_mode == BillingMode.PREPAID)
    )
    try:
        with read_only(engine) as session:
            prepaid = set(session.scalars(query))
    except OperationalError:
        prepaid = ids  # each by itself will say that the database is away
    for is_prepaid, group in groupby(requests, key=lambda one: one.invoice_id in prepaid):
        neighbours, size = list(group), 1 if is_prepaid else _TOGETHER
        for start in range(0, len(neighbours), size):
            yield neighbours[start : start + size]


def _together(
    engine: Engine,
    actor: Actor,
    clock: Clock,
    chunk: Sequence[ApproveInvoice],
    key: str | None,
) -> list[Outcome]:
    keys = [f"{key}:{one.invoice_id}" if key else None for one in chunk]
    with unit_of_work(engine) as session:
        answers = approve_invoices(Context(session, actor, clock), chunk, keys)
    return [
        Outcome(one.invoice_id, None, answer)
        if isinstance(answer, BillingError)
        else Outcome(one.invoice_id, answer.number, None, answer.review_note)
        for one, answer in zip(chunk, answers, strict=True)
    ]


def _alone(
    engine: Engine, actor: Actor, clock: Clock, one: ApproveInvoice, key: str | None
) -> Outcome:
    try:
        (answer,) = _together(engine, actor, clock, [one], key)
    except BillingError as error:
        return Outcome(one.invoice_id, None, error)
    except OperationalError:
        busy = UnavailableError(
            "The database is busy or away, and nothing was changed. Try again in a moment.",
            code="database_away",
        )
        return Outcome(one.invoice_id, None, busy)
    return answer
