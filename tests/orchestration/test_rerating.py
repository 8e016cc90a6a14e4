"""Which months are rated or drafted again before another is closed."""

from datetime import date

from sqlalchemy import Engine, text

from billing.clock import SystemClock
from billing.db.unit_of_work import unit_of_work
from invoicing.assemble import draft_invoices
from orchestration.lib.rerating import drafted_between
from tests.support.factories.parties import make_account
from tests.support.marts import create_marts, make_rated_line, make_rating_run

JUNE, JULY, AUGUST = date(2026, 6, 1), date(2026, 7, 1), date(2026, 8, 1)


def test_months_with_drafts_follow_unless_a_build_of_them_was_broken_off(engine: Engine) -> None:
    clock = SystemClock()
    with unit_of_work(engine) as session:
        create_marts(session)
        account = make_account(session)
        run = make_rating_run(session, JULY)
        run.finished_at = run.started_at
        make_rated_line(session, run.id, account, amount_minor=100, month=JULY, period_end=AUGUST)
        draft_invoices(session, JULY, run.id, clock)

        assert drafted_between(session, JUNE, AUGUST) == {JULY: run.id}
        assert drafted_between(session, JUNE, JULY) == {}
        assert drafted_between(session, JULY, AUGUST) == {}

        broken_off = make_rating_run(session, JULY)
        session.execute(
            text("UPDATE marts.fct_invoice_lines SET rating_run_id = :run"), {"run": broken_off.id}
        )
        assert drafted_between(session, JUNE, AUGUST) == {}
