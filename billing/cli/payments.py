"""`billing payments`: reconcile with gateways, charge saved methods, remind debtors."""

import os
import sys
from typing import Annotated

import typer

from billing.cli.output import out
from billing.clock import SystemClock
from billing.db.engine import open_engine
from billing.dunning.service import run_dunning
from billing.mail.service import send_queued
from billing.mail.smtp import sender
from billing.settings import Settings

payments = typer.Typer(no_args_is_help=True, help="Reconcile with gateways, charge, remind.")


@payments.command("reconcile")
def reconcile(
    gateway: Annotated[str | None, typer.Option(help="All that have keys, if left out.")] = None,
    days: Annotated[int, typer.Option(help="How far to look back.", min=1, max=400)] = 35,
) -> None:
    """Match every entry of a gateway with ours; exit code 1 if something differs."""
    argv = ["--days", str(days)]
    if gateway is not None:
        argv += ["--gateway", gateway]
    _become("invoicing.reconcile", argv)


@payments.command("charge")
def charge() -> None:
    """Fill wallets that run low and make the charges that wait; exit code 1 if some still do."""
    _become("invoicing.charges", [])


@payments.command("remind")
def remind() -> None:
    """Take the steps that are due about debts, and send the letters that wait."""
    engine = open_engine(
        Settings.load().require_database_url(), application="billing-dunning", pool_size=2
    )
    try:
        looked_at = run_dunning(engine, SystemClock())
        out.print(f"{looked_at} debts looked at")
        by_mail = sender()
        if by_mail is None:
            out.print("Letters wait: BILLING_SMTP_HOST is not set")
            return
        sent, failed = send_queued(engine, SystemClock(), by_mail)
        out.print(f"{sent} letters sent, {failed} not")
    finally:
        engine.dispose()


def _become(module: str, argv: list[str]) -> None:
    environment = {**os.environ, "DATABASE_URL": Settings.load().require_database_url()}
    command = [sys.executable, "-m", module, *argv]
    os.execve(sys.executable, command, environment)  # noqa: S606 - our own interpreter


def register(app: typer.Typer) -> None:
    """Hang the commands on the door."""
    app.add_typer(payments, name="payments")
