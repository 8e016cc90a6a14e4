"""E-invoices: what was issued is registered with the portal in time, and what is late is seen."""

import dagster as dg

from billing.clock import SystemClock
from billing.db.engine import open_engine
from billing.errors import PreconditionError
from billing.periods import DEFAULT_ZONE, local_day
from billing.settings import Settings
from invoicing.einvoice.deadlines import count_open, tell_overdue
from invoicing.einvoice.register import open_registrar
from orchestration.lib.database import Database

EINVOICES = dg.AssetKey(["billing", "einvoices"])


@dg.asset(key=EINVOICES, group_name="billing")
def einvoices(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """Everything that waits for its IRN, asked for once more."""
    engine = open_engine(
        Settings.load().require_database_url(), application="billing-einvoices", pool_size=2
    )
    clock = SystemClock()
    try:
        try:
            counted = open_registrar(engine, clock).register_waiting()
        except PreconditionError as not_set_up:
            context.log.warning(not_set_up.message)
            counted = {}
        told = tell_overdue(engine, clock)
    finally:
        engine.dispose()
    states = {state.value: count for state, count in counted.items()}
    return dg.MaterializeResult(metadata={**states, "newly overdue": told})


@dg.asset_check(asset=EINVOICES, description="Documents without an IRN after their last day.")
def none_is_overdue(database: Database) -> dg.AssetCheckResult:
    """Every document that needs an IRN got it in time; a warning while days are left but few."""
    today = local_day(SystemClock().now(), DEFAULT_ZONE)
    with database.reading() as session:
        overdue, soon = count_open(session, today)
    return dg.AssetCheckResult(
        passed=overdue == 0 and soon == 0,
        severity=dg.AssetCheckSeverity.ERROR if overdue else dg.AssetCheckSeverity.WARN,
        metadata={"overdue": overdue, "due within days": soon},
    )


register_einvoices = dg.define_asset_job(
    "register_einvoices",
    selection=dg.AssetSelection.assets(einvoices),
    executor_def=dg.in_process_executor,
    description="Ask the portal for the IRN of what waits, and see that nothing is late.",
)


@dg.schedule(
    job=register_einvoices,
    cron_schedule="*/5 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def register_einvoices_often() -> dg.RunRequest:
    """Soon after issue: until then a document is neither drawn nor sent."""
    return dg.RunRequest()
