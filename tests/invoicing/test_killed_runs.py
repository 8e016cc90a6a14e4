"""Invoice runs that are killed at random statements and started again: nothing tells afterwards.

Two databases get the same months. In one every run goes through; in the other each is killed at a
random statement of its first attempt, as by a power cut, and then run again to its end.
`KILLED_RUNS` says how many months (200 for the long proof), `KILLED_SEED` where chance begins.
"""

import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta

import pytest
from sqlalchemy import Engine, event, select

from billing.access.actor import SYSTEM
from billing.clock import ManualClock
from billing.commands import Context
from billing.customers.tables import Account, Customer, TaxProfile
from billing.db.engine import open_engine
from billing.db.unit_of_work import read_only, unit_of_work
from billing.invoices.tables import DocumentCounter, Invoice, InvoiceStatus, RatingRun
from billing.periods import add_months
from billing.tax.fiscal import financial_year
from invoicing.assemble import draft_invoices
from invoicing.document import InvoiceDocument
from invoicing.issue import ApproveInvoice, approve_invoice
from invoicing.render import render_pdf
from tests.support.factories.parties import make_account, make_supplier
from tests.support.marts import create_marts, make_rated_line, make_rating_run
from tests.support.postgres import fresh_database

RUNS = int(os.environ.get("KILLED_RUNS", "10"))
SEED = int(os.environ.get("KILLED_SEED", "1"))
FIRST = date(2026, 4, 1)
ACCOUNTS = 3


@contextmanager
def world(url: str) -> Iterator[Engine]:
    """Three accounts that are called the same in every database."""
    engine = open_engine(url, application="test", pool_size=2)
    with unit_of_work(engine) as session:
        create_marts(session)
        make_supplier(session)
        for number in range(ACCOUNTS):
            account = make_account(session, state_code=("29", "27", "33")[number])
            account.code = account.name = f"account {number}"
            customer = session.get_one(Customer, account.customer_id)
            customer.code, customer.name = f"c-{number}", f"Customer {number}"
            profile = session.scalars(select(TaxProfile).filter_by(customer_id=customer.id)).one()
            profile.legal_name = f"Customer {number} Private Limited"
    yield engine
    engine.dispose()


def rate(engine: Engine, place: int) -> date:
    """The lines of a month, as the pipeline leaves them."""
    month = add_months(FIRST, place)
    with unit_of_work(engine) as session:
        run = make_rating_run(session, month)
        for number, account in enumerate(session.scalars(select(Account).order_by(Account.code))):
            make_rated_line(
                session,
                run.id,
                account,
                amount_minor=10_000 + place * 7 + number,
                line_ref=f"{month}:{number}",
                month=month,
                period_end=add_months(month, 1),
            )
    return month


def close(engine: Engine, month: date) -> None:
    """Draft a month and issue everything: what is simply started again after a crash."""
    day = add_months(month, 1) + timedelta(days=2)
    clock = ManualClock(datetime.combine(day, time(6), tzinfo=UTC))
    with unit_of_work(engine) as session:
        run = session.scalars(select(RatingRun).filter_by(invoice_month=month)).one()
        draft_invoices(session, month, run.id, clock)
    with read_only(engine) as session:
        drafts = session.scalars(
            select(Invoice.id)
            .join(Account, Account.id == Invoice.account_id)
            .where(Invoice.invoice_month == month, Invoice.status == InvoiceStatus.DRAFT)
            .order_by(Account.code)
        ).all()
    for draft in drafts:
        with unit_of_work(engine) as session:
            approve_invoice(Context(session, SYSTEM, clock), ApproveInvoice(invoice_id=draft))


def statements_of(engine: Engine, month: date) -> int:
    """Close a month; how many statements that took."""
    seen = 0

    def count(*_: object) -> None:
        nonlocal seen
        seen += 1

    event.listen(engine, "before_cursor_execute", count)
    try:
        close(engine, month)
    finally:
        event.remove(engine, "before_cursor_execute", count)
    return seen


def close_and_die(url: str, month: date, at: int) -> None:
    """Close a month in a process that is killed right before its statement number `at`."""
    child = os.fork()
    if child == 0:
        engine = open_engine(url, application="test-killed", pool_size=1)
        left = at

        def die(*_: object) -> None:
            nonlocal left
            left -= 1
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

        event.listen(engine, "before_cursor_execute", die)
        try:
            close(engine, month)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)


def issued(engine: Engine) -> dict[str, tuple[str, dict[str, object]]]:
    with read_only(engine) as session:
        rows = session.scalars(select(Invoice).where(Invoice.number.is_not(None)))
        return {row.number or "": (row.snapshot_hash or "", row.snapshot or {}) for row in rows}


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_killed_runs_leave_the_same_numbers_the_same_bytes_and_no_gap(
    postgres_server: str, template_database: str
) -> None:
    chance = random.Random(SEED)
    with (
        fresh_database(postgres_server, template_database) as calm_url,
        fresh_database(postgres_server, template_database) as shaken_url,
        world(calm_url) as calm,
        world(shaken_url) as shaken,
    ):
        for place in range(RUNS):
            month = rate(calm, place)
            rate(shaken, place)
            statements = statements_of(calm, month)
            shaken.dispose()  # a child must not share its parent's connections
            close_and_die(shaken_url, month, chance.randint(1, statements))
            close(shaken, month)
        expected, found = issued(calm), issued(shaken)
        with read_only(shaken) as session:
            counters = list(session.scalars(select(DocumentCounter)))
    assert len(found) == RUNS * ACCOUNTS
    assert {number: said[0] for number, said in found.items()} == {
        number: said[0] for number, said in expected.items()
    }
    assert sum(counter.last_number for counter in counters) == len(found)
    assert {counter.financial_year for counter in counters} <= {
        financial_year(add_months(FIRST, place)) for place in range(1, RUNS + 1)
    }
    last = max(found)
    same = [render_pdf(InvoiceDocument.from_dict(one[last][1])) for one in (expected, found)]
    assert same[0] == same[1]
