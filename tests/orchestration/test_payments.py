"""The nightly reconciliation, and the checks that books must clear."""

from datetime import UTC, date, datetime

import dagster as dg
import pytest
from sqlalchemy import Engine, text

from billing.db.unit_of_work import unit_of_work
from billing.einvoices.tables import EInvoice, EInvoiceState
from billing.payments.reconciliation import ReconciliationRun
from invoicing.gateways.registry import gateways
from orchestration.definitions import defs
from tests.support.factories.invoices import make_due_invoice
from tests.support.factories.parties import make_account


@pytest.fixture
def _no_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STRIPE_API_KEY", "RAZORPAY_KEY_ID"):
        monkeypatch.delenv(f"BILLING_{name}", raising=False)
    gateways.cache_clear()


def checks_of(instance: dg.DagsterInstance) -> dict[str, bool]:
    result = defs.resolve_job_def("reconcile_payments").execute_in_process(instance=instance)
    return {one.check_name: one.passed for one in result.get_asset_check_evaluations()}


@pytest.mark.usefixtures("_no_gateway")
def test_books_that_clear_pass_and_what_differs_or_went_astray_is_seen(
    engine: Engine, instance: dg.DagsterInstance
) -> None:
    now = datetime.now(UTC)
    with unit_of_work(engine) as session:
        make_due_invoice(session, make_account(session), 11800, now)
    assert checks_of(instance) == {
        "nothing_differs": True,
        "invoices_clear": True,
        "payments_clear": True,
    }

    with unit_of_work(engine) as session:
        session.execute(text("SET LOCAL session_replication_role = replica"))
        session.execute(text("UPDATE billing.invoices SET settled_minor = 1"))
        figures = {"movements": 1, "matched": 0, "caught_up": 0, "differing": 1}
        times = dict.fromkeys(("since", "until", "started_at", "finished_at"), now)
        session.add(ReconciliationRun(gateway="razorpay", **figures, **times))

    assert checks_of(instance) == {
        "nothing_differs": False,
        "invoices_clear": False,
        "payments_clear": True,
    }


def test_the_reconciliation_runs_every_night_unless_switched_off() -> None:
    schedule = defs.resolve_schedule_def("reconcile_payments_daily")

    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING


def test_an_overdue_document_without_its_irn_fails_the_check_of_the_schedule(
    engine: Engine, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BILLING_EINVOICE_ADDRESS", raising=False)
    now = datetime.now(UTC)
    with unit_of_work(engine) as session:
        invoice = make_due_invoice(session, make_account(session), 11800, now)
        session.flush()
        session.add(
            EInvoice(
                invoice_id=invoice.id,
                irn="0" * 64,
                number="INV-1",
                issue_date=date(2026, 6, 1),
                state=EInvoiceState.WAITING,
                payload={},
                report_by=date(2026, 6, 30),
                attempts=0,
                created_at=now,
                updated_at=now,
            )
        )

    result = defs.resolve_job_def("register_einvoices").execute_in_process(instance=instance)

    (check,) = result.get_asset_check_evaluations()
    assert not check.passed
    assert check.metadata["overdue"].value == 1
    schedule = defs.resolve_schedule_def("register_einvoices_often")
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
