"""The nightly reconciliation, and the checks that books must clear."""

from datetime import UTC, datetime

import dagster as dg
import pytest
from sqlalchemy import Engine, text

from billing.db.unit_of_work import unit_of_work
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
