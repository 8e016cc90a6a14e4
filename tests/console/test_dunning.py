"""The page of dunning: who is overdue, pauses, debts given up by two, tax deducted."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, select
from streamlit.testing.v1 import AppTest

from billing.access.actor import SYSTEM
from billing.access.roles import Role
from billing.clock import SystemClock
from billing.commands import Context
from billing.db.unit_of_work import read_only, unit_of_work
from billing.dunning.service import SaveSchedule, TakeSteps, save_schedule, take_steps
from billing.dunning.tables import AccountDunning, DunningSchedule, WriteOff, WriteOffState
from billing.invoices.tables import Invoice
from billing.payments.tds import TdsCertificate
from console.access import PageName
from tests.console.conftest import words_on
from tests.console.pressing import named, press
from tests.console.test_pages import visit
from tests.console.world import World
from tests.support.factories.invoices import make_due_invoice

SignIn = Callable[..., AppTest]

pytestmark = pytest.mark.usefixtures("furnished_url")


@pytest.fixture
def overdue(engine: Engine, world: World) -> Invoice:
    """An invoice of ₹1,18,000.00 that is late, with a schedule whose first step was taken."""
    with unit_of_work(engine) as session:
        context = Context(session, SYSTEM, SystemClock())
        invoice = make_due_invoice(session, world.accounts["acme"], 11_800_000, datetime.now(UTC))
        steps = ({"day": 1, "action": "remind"}, {"day": 700, "action": "suspend"})
        save_schedule(
            context, SaveSchedule(code="standard", name="Standard", steps=steps, is_default=True)
        )
        session.flush()
        take_steps(context, TakeSteps(invoice_id=invoice.id))
        return invoice


def show(app: AppTest, view: str) -> AppTest:
    """Choose one of the page's views."""
    return app.segmented_control(key="dunning_view").set_value(view).run()


def test_a_debt_shows_where_it_stands_and_is_paused_and_resumed(
    sign_in: SignIn, engine: Engine, overdue: Invoice
) -> None:
    app = visit(sign_in(Role.FINANCE_ADMIN), PageName.DUNNING)
    words = words_on(app)
    assert "₹1,18,000.00" in words
    assert "Suspend the account" in words
    named(app, "text_input", "pause_reason").set_value("They dispute a line")
    press(app, "pause_submit")
    assert "Paused until" in words_on(app)
    with read_only(engine) as session:
        assert session.get_one(AccountDunning, overdue.account_id).pause_reason
    assert "Paused until" not in words_on(press(app, "resume_"))


def test_a_debt_is_given_up_by_two_people(
    sign_in: SignIn, engine: Engine, overdue: Invoice
) -> None:
    app = show(visit(sign_in(Role.FINANCE_ADMIN), PageName.DUNNING), "Write-offs")
    named(app, "text_area", "write_off_reason").set_value("Insolvent")
    press(app, "write_off_submit")
    assert "another person has to decide" in words_on(app)
    assert not [one for one in app.button if str(one.key).startswith("give_up")]

    other = show(visit(sign_in(Role.SUPER_ADMIN), PageName.DUNNING), "Write-offs")
    press(other, "give_up")

    assert not other.error
    with read_only(engine) as session:
        assert session.scalars(select(WriteOff.state)).one() is WriteOffState.APPROVED
        assert session.get_one(Invoice, overdue.id).settled_minor == 11_800_000


def test_a_deduction_waits_for_its_certificate(
    sign_in: SignIn, engine: Engine, overdue: Invoice
) -> None:
    app = show(visit(sign_in(Role.FINANCE_ADMIN), PageName.DUNNING), "Tax deducted")
    named(app, "text_input", "deduct_amount").set_value("10,000.00")
    named(app, "text_input", "deduct_reference").set_value("ADV-1")
    press(app, "deduct_submit")
    assert "₹10,000.00" in words_on(app)
    named(app, "text_input", "tds_number").set_value("QVC1")
    named(app, "text_input", "tds_amount").set_value("9999")
    assert "These lines come to" in words_on(press(app, "tds_submit"))
    named(app, "text_input", "tds_amount").set_value("10000")
    press(app, "tds_submit")
    assert "Every deduction is proven" in words_on(app)
    with read_only(engine) as session:
        assert session.scalars(select(TdsCertificate.amount_minor)).one() == 1_000_000


def test_the_first_schedule_is_saved_here(sign_in: SignIn, engine: Engine) -> None:
    app = show(visit(sign_in(Role.FINANCE_ADMIN), PageName.DUNNING), "Schedules")
    assert "No schedule yet" in words_on(app)
    press(app, "schedule_submit")
    assert "On the due date" not in words_on(app)
    assert "3 days before" in words_on(app)
    with read_only(engine) as session:
        assert session.scalars(select(DunningSchedule)).one().is_default
