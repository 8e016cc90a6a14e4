"""Payments: the gateways' lists against our books, and books that must clear."""

import dagster as dg
from sqlalchemy import text

from billing.clock import SystemClock
from billing.db.engine import open_engine
from billing.db.unit_of_work import read_only
from billing.errors import UnavailableError
from billing.payments.reconciliation import ReconciliationRun
from billing.periods import DEFAULT_ZONE
from billing.settings import Settings
from invoicing.collect import Collector
from invoicing.gateways.registry import gateways
from invoicing.gateways.settings import GatewaySettings
from invoicing.reconcile import reconcile
from orchestration.lib.database import Database

RECONCILIATIONS = dg.AssetKey(["billing", "reconciliations"])

_CLEARING = {
    "invoices_clear": (
        "Issued invoices whose total is not their settlement lines and what is open.",
        "SELECT count(*) FROM billing.invoice_clearing WHERE remainder_minor <> 0",
    ),
    "payments_clear": (
        "Payments whose money is not refunded, allocated, credited or left.",
        "SELECT count(*) FROM billing.payment_clearing WHERE remainder_minor <> 0",
    ),
}


@dg.asset(key=RECONCILIATIONS, group_name="billing")
def reconciliations(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """Every gateway that has keys, compared with our books over the last 35 days.

    A gateway that is away does not keep the others from being compared; the run fails at the end.
    """
    engine = open_engine(
        Settings.load().require_database_url(), application="billing-reconcile", pool_size=2
    )
    collector = Collector(engine, SystemClock(), gateways(), GatewaySettings.load())
    found: dict[str, int] = {}
    away: list[str] = []
    try:
        for name in collector.gateways.names:
            try:
                run_id = reconcile(collector, name)
            except UnavailableError as error:
                context.log.warning(error.message)
                away.append(error.message)
                continue
            with read_only(engine) as session:
                found[name] = session.get_one(ReconciliationRun, run_id).differing
    finally:
        engine.dispose()
    if away:
        raise dg.Failure(" ".join(away))
    return dg.MaterializeResult(
        metadata={"gateways": len(found), **{f"{name} differs": n for name, n in found.items()}}
    )


@dg.asset_check(asset=RECONCILIATIONS, description="Movements that the last run could not match.")
def nothing_differs(database: Database) -> dg.AssetCheckResult:
    """The last comparison of every gateway left nothing unexplained."""
    query = text(
        "SELECT coalesce(sum(differing), 0) FROM (SELECT DISTINCT ON (gateway) differing "
        "FROM billing.reconciliation_runs WHERE error IS NULL ORDER BY gateway, id DESC) last"
    )
    with database.reading() as session:
        breaches = int(session.execute(query).scalar_one())
    return dg.AssetCheckResult(passed=breaches == 0, metadata={"breaches": breaches})


def _check(name: str, description: str, query: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(name=name, asset=RECONCILIATIONS, description=description)
    def check(database: Database) -> dg.AssetCheckResult:
        with database.reading() as session:
            breaches = int(session.execute(text(query)).scalar_one())
        return dg.AssetCheckResult(passed=breaches == 0, metadata={"breaches": breaches})

    return check


PAYMENT_CHECKS = [nothing_differs, *(_check(name, *parts) for name, parts in _CLEARING.items())]

reconcile_payments = dg.define_asset_job(
    "reconcile_payments",
    selection=dg.AssetSelection.assets(reconciliations),
    executor_def=dg.in_process_executor,
    description="Compare the gateways' lists with our books, and see that these clear.",
)


@dg.schedule(
    job=reconcile_payments,
    cron_schedule="45 2 * * *",
    execution_timezone=DEFAULT_ZONE,
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def reconcile_payments_daily() -> dg.RunRequest:
    """At night, when little is under way."""
    return dg.RunRequest()
