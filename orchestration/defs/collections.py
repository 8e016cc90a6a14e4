"""Collecting: grants that end, wallets that fill themselves, charges, reminders, letters."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from sqlalchemy import Engine

from billing.clock import SystemClock
from billing.db.engine import open_engine
from billing.dunning.service import run_dunning
from billing.mail.service import send_queued
from billing.mail.smtp import sender
from billing.periods import DEFAULT_ZONE
from billing.settings import Settings
from billing.wallets.grants import expire_grants
from invoicing.charges import fill_and_charge
from invoicing.collect import Collector
from invoicing.gateways.registry import gateways
from invoicing.gateways.settings import GatewaySettings
from invoicing.mailing import mail_issued

DUNNING = dg.AssetKey(["billing", "dunning"])
CHARGES = dg.AssetKey(["billing", "charges"])


@contextmanager
def _engine() -> Iterator[Engine]:
    engine = open_engine(
        Settings.load().require_database_url(), application="billing-collections", pool_size=2
    )
    try:
        yield engine
    finally:
        engine.dispose()


@dg.asset(key=DUNNING, group_name="billing")
def dunning() -> dg.MaterializeResult[None]:
    """What the schedules say is due today about every debt."""
    with _engine() as engine:
        looked_at = run_dunning(engine, SystemClock())
    return dg.MaterializeResult(metadata={"debts": looked_at})


@dg.asset(key=CHARGES, group_name="billing", deps=[DUNNING])
def charges() -> dg.MaterializeResult[None]:
    """Grants that are over, wallets that run low, charges that wait, letters that wait."""
    with _engine() as engine:
        clock = SystemClock()
        expired = expire_grants(engine, clock)
        collector = Collector(engine, clock, gateways(), GatewaySettings.load())
        answered, away = fill_and_charge(collector)
        sent = failed = mailed = held_back = 0
        by_mail = sender()
        if by_mail is not None:
            # a document counts as sent once it is queued, so it waits for a server to be set
            mailed, held_back = mail_issued(engine, clock)
            sent, failed = send_queued(engine, clock, by_mail)
    return dg.MaterializeResult(
        metadata={
            "grants expired": expired,
            "charges answered": answered,
            "charges to try again": away,
            "documents mailed": mailed,
            "documents not mailed": held_back,
            "letters sent": sent,
            "letters not sent": failed,
        }
    )


remind_debtors = dg.define_asset_job(
    "remind_debtors",
    selection=dg.AssetSelection.assets(dunning, charges),
    executor_def=dg.in_process_executor,
    description="Take the steps of the dunning schedules, then charge and send letters.",
)

collect_charges = dg.define_asset_job(
    "collect_charges",
    selection=dg.AssetSelection.assets(charges),
    executor_def=dg.in_process_executor,
    description="Fill wallets that run low, make the charges and send the letters that wait.",
)


@dg.schedule(
    job=remind_debtors,
    cron_schedule="30 9 * * *",
    execution_timezone=DEFAULT_ZONE,
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def remind_debtors_daily() -> dg.RunRequest:
    """In the morning: a letter about money comes in working hours."""
    return dg.RunRequest()


@dg.schedule(
    job=collect_charges,
    cron_schedule="*/10 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def collect_charges_often() -> dg.RunRequest:
    """A wallet that runs low is filled before it is empty."""
    return dg.RunRequest()
