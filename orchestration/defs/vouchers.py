"""Vouchers for advances: whatever came in or went back without its paper."""

import dagster as dg

from billing.clock import SystemClock
from billing.db.engine import open_engine
from billing.settings import Settings
from invoicing.vouchers import issue_missing_vouchers


@dg.asset(key=["billing", "vouchers"], group_name="billing")
def vouchers() -> dg.MaterializeResult[None]:
    """Receipt and refund vouchers that are still missing."""
    engine = open_engine(
        Settings.load().require_database_url(), application="billing-vouchers", pool_size=2
    )
    try:
        issued, failed = issue_missing_vouchers(engine, SystemClock())
    finally:
        engine.dispose()
    return dg.MaterializeResult(metadata={"issued": issued, "not possible yet": failed})


issue_vouchers = dg.define_asset_job(
    "issue_vouchers",
    selection=dg.AssetSelection.assets(vouchers),
    executor_def=dg.in_process_executor,
    description="Paper the advances that have no voucher yet.",
)


@dg.schedule(
    job=issue_vouchers,
    cron_schedule="7 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def issue_vouchers_hourly() -> dg.RunRequest:
    """A voucher belongs to the day the money came: look every hour."""
    return dg.RunRequest()
