"""How the pipeline is cut: usage by local day, billing by month, both in India's calendar."""

from datetime import date

import dagster as dg

from billing.periods import DEFAULT_ZONE

FIRST_DAY = "2026-01-01"

usage_days = dg.DailyPartitionsDefinition(start_date=FIRST_DAY, timezone=DEFAULT_ZONE, end_offset=1)
"""Today is a partition too: its usage is shown while it grows."""

billing_months = dg.MonthlyPartitionsDefinition(start_date=FIRST_DAY, timezone=DEFAULT_ZONE)
"""Only months that are over."""


def month_of_key(key: str) -> date:
    """First day of the month a partition stands for."""
    return date.fromisoformat(key)
