"""Everything Dagster loads: `dagster dev -m orchestration.definitions`."""

import dagster as dg

from billing.logs import configure_logs
from orchestration.defs.automation import (
    JOBS,
    close_last_month,
    refresh_history_daily,
    touched_usage_days,
)
from orchestration.defs.billing_month import ASSETS
from orchestration.defs.checks import CHECKS
from orchestration.defs.collections import (
    charges,
    collect_charges,
    collect_charges_often,
    dunning,
    remind_debtors,
    remind_debtors_daily,
)
from orchestration.defs.einvoices import (
    einvoices,
    none_is_overdue,
    register_einvoices,
    register_einvoices_often,
)
from orchestration.defs.payments import (
    PAYMENT_CHECKS,
    reconcile_payments,
    reconcile_payments_daily,
    reconciliations,
)
from orchestration.defs.usage import usage_models
from orchestration.defs.vouchers import issue_vouchers, issue_vouchers_hourly, vouchers
from orchestration.lib.database import Database

configure_logs()

defs = dg.Definitions(
    assets=[usage_models, *ASSETS, vouchers, reconciliations, dunning, charges, einvoices],
    asset_checks=[*CHECKS, *PAYMENT_CHECKS, none_is_overdue],
    jobs=[
        *JOBS,
        issue_vouchers,
        reconcile_payments,
        remind_debtors,
        collect_charges,
        register_einvoices,
    ],
    schedules=[
        close_last_month,
        refresh_history_daily,
        issue_vouchers_hourly,
        reconcile_payments_daily,
        remind_debtors_daily,
        collect_charges_often,
        register_einvoices_often,
    ],
    sensors=[touched_usage_days],
    resources={"database": Database()},
)
