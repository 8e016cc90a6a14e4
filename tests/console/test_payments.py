"""The page of payments: a receipt recorded, what needs a look, what differs."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, select
from streamlit.testing.v1 import AppTest

from billing.access.actor import SYSTEM, Actor
from billing.access.roles import Role
from billing.clock import SystemClock
from billing.commands import Context
from billing.db.unit_of_work import read_only, unit_of_work
from billing.errors import ForbiddenError
from billing.invoices.tables import Invoice, InvoiceStatus
from billing.payments.reconciliation import (
    BeginReconciliation,
    Difference,
    DifferenceKind,
    FinishReconciliation,
    begin_reconciliation,
    finish_reconciliation,
)
from billing.payments.tables import Payment, Refund, RefundState
from console import actions
from console.access import PageName
from console.queries import payments
from tests.console.conftest import words_on
from tests.console.test_pages import visit
from tests.console.world import World
from tests.support.factories.invoices import make_due_invoice

SignIn = Callable[..., AppTest]

pytestmark = pytest.mark.usefixtures("furnished_url")


@pytest.fixture
def due(engine: Engine, world: World) -> Invoice:
    """An invoice of ₹118.00 that waits for its money."""
    with unit_of_work(engine) as session:
        return make_due_invoice(session, world.accounts["acme"], 11_800, datetime.now(UTC))


def record(app: AppTest, invoice: Invoice, amount: str, reference: str) -> AppTest:
    """Fill the form in and send it."""
    for kind, value in (("amount", amount), ("reference", reference)):
        (box,) = [one for one in app.text_input if str(one.key).startswith(f"receipt_{kind}")]
        box.set_value(value)
    (chosen,) = [one for one in app.selectbox if str(one.key).startswith("receipt_invoice")]
    chosen.set_value(invoice.id)
    (button,) = [one for one in app.button if str(one.key).startswith("receipt_submit")]
    return button.click().run()


def test_a_transfer_is_recorded_and_one_that_is_too_much_needs_a_look(
    sign_in: SignIn, engine: Engine, due: Invoice
) -> None:
    app = visit(sign_in(Role.FINANCE_ADMIN), PageName.PAYMENTS)
    record(app, due, "1 lakh", "NEFT-1")
    assert "Enter the amount in digits" in words_on(app)
    record(app, due, "120.00", "NEFT 1")
    assert "a character that is not allowed" in words_on(app)

    record(app, due, "120.00", "NEFT-1")

    assert not app.exception
    said = words_on(app)
    assert "is recorded for" in said
    assert "Needs a look 1" in said
    assert "₹2.00" in said
    with read_only(engine) as session:
        assert session.get_one(Invoice, due.id).status is InvoiceStatus.PAID


def test_refunds_and_what_differs_are_shown_to_staff(
    sign_in: SignIn, engine: Engine, due: Invoice
) -> None:
    actions.record_money(
        Actor("finance", Role.FINANCE_ADMIN), "k", invoice_id=due.id, amount_minor=11_800,
        reference="NEFT-2", received_on=datetime.now(UTC).date(),
    )  # fmt: skip
    now = datetime.now(UTC)
    with unit_of_work(engine) as session:
        context = Context(session, SYSTEM, SystemClock())
        payment = session.scalars(select(Payment)).one()
        session.add(
            Refund(payment_id=payment.id, amount_minor=800, reason="Paid <twice>",
                   state=RefundState.REQUESTED, requested_by="key:finance", created_at=now,
                   updated_at=now)
        )  # fmt: skip
        asked = BeginReconciliation(gateway="stripe", days=35)
        run = begin_reconciliation(context, asked)
        stray = Difference(
            kind=DifferenceKind.MISSING_HERE, provider_payment_id="pi_stray",
            their_currency="INR", their_amount_minor=99_900,
        )  # fmt: skip
        outcome = FinishReconciliation(run_id=run.id, movements=1, differences=[stray])
        finish_reconciliation(context, outcome)

    app = visit(sign_in(Role.SUPPORT), PageName.PAYMENTS)

    assert not app.exception
    said = words_on(app)
    assert "Paid &lt;twice&gt;" in said
    assert "Missing here" in said
    assert "pi_stray" in said
    assert "₹999.00" in said
    assert "Payments not clearing 0" in said
    assert "Record a receipt" not in said


def test_a_customer_sees_its_own_payments_and_no_reconciliation(
    sign_in: SignIn, engine: Engine, world: World, due: Invoice
) -> None:
    actions.record_money(
        Actor("finance", Role.FINANCE_ADMIN), "k", invoice_id=due.id, amount_minor=100,
        reference="NEFT-3", received_on=datetime.now(UTC).date(),
    )  # fmt: skip

    mine = visit(sign_in(Role.CUSTOMER, "acme"), PageName.PAYMENTS)
    other = visit(sign_in(Role.CUSTOMER, "lotus"), PageName.PAYMENTS)

    assert "₹1.00" in words_on(mine)
    assert "Last reconciliation" not in words_on(mine)
    assert "No payments yet" in words_on(other)
    lotus = Actor("lotus", Role.CUSTOMER, world.accounts["lotus"].customer_id)
    for read in (payments.last_runs, payments.differences, payments.not_clearing):
        with pytest.raises(ForbiddenError):
            read(lotus)
    assert engine
