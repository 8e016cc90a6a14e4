"""`python -m invoicing.gstr1`: what `billing gstr1` runs."""

import argparse
import os
import sys
from pathlib import Path

from sqlalchemy.orm import Session

from billing.access.actor import SYSTEM
from billing.access.service import authenticate
from billing.clock import SystemClock
from billing.commands import Context
from billing.db.engine import open_engine
from billing.db.unit_of_work import read_only, unit_of_work
from billing.errors import BillingError, InvalidError, PreconditionError
from billing.invoices.repository import default_registration
from billing.logs import configure_logs
from billing.money import from_minor
from billing.settings import Settings
from invoicing.gstr1.facts import month_of
from invoicing.gstr1.files import TABLES, table_csv
from invoicing.gstr1.service import GstReturn, LockReturn, gst_return, lock_return


def write_files(found: GstReturn, folder: Path) -> list[Path]:
    """The portal's JSON and a CSV per table that holds something, in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"GSTR1-{found.gstin}-{found.month:%Y-%m}"
    files = {f"{stem}.json": found.json} | {
        f"{stem}-{table}.csv": table_csv(found.portal, table)
        for table in TABLES
        if table in found.portal
    }
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8", newline="")
    return [folder / name for name in files]


def main(argv: list[str] | None = None) -> int:
    """Do what the command line says; 1 if the return differs from the books or it failed."""
    arguments = _parser().parse_args(argv)
    configure_logs()
    settings, clock = Settings.load(), SystemClock()
    engine = open_engine(settings.require_database_url(), application="gstr1", pool_size=2)
    try:
        key = os.environ.get("BILLING_API_KEY")
        with read_only(engine) as session:
            actor = authenticate(session, key, settings, clock) if key else SYSTEM
            gstin = arguments.gstin or _default(session)
        if arguments.verb == "export":
            with read_only(engine) as session:
                found = gst_return(session, actor, gstin, month_of(arguments.month))
            return _export(found, arguments.to)
        with unit_of_work(engine) as session:
            request = build_request(gstin, arguments.month)
            lock_return(Context(session, actor, clock), request)
    except BillingError as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    finally:
        engine.dispose()
    sys.stdout.write(f"{gstin} {arguments.month} is locked.\n")
    return 0


def build_request(gstin: str, month: str) -> LockReturn:
    """The lock that was asked for.

    Raises:
        InvalidError: if the month or the GSTIN is not one.
    """
    month_of(month)
    if len(gstin) != 15:
        raise InvalidError("A GSTIN has 15 characters.", code="gstin")
    return LockReturn(gstin=gstin, month=month)


def _export(found: GstReturn, folder: Path) -> int:
    for file in write_files(found, folder):
        sys.stdout.write(f"{file}\n")
    for one in found.differences:
        sys.stderr.write(
            f"{one.name}: {one.in_return} in the return, {one.in_books} in the books\n"
        )
    if found.refunds_to_claim:
        tax = from_minor(found.refunds_to_claim.tax, "INR")
        sys.stdout.write(f"Tax of refunded older advances, to claim by RFD-01: {tax}\n")
    return 1 if found.differences else 0


def _default(session: Session) -> str:
    found = default_registration(session)
    if found is None:
        raise PreconditionError(
            "None of our registrations is the default; name one by --gstin.", code="no_supplier"
        )
    return found.gstin


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="billing gstr1")
    verbs = parser.add_subparsers(dest="verb", required=True)
    export, lock = verbs.add_parser("export"), verbs.add_parser("lock")
    export.add_argument("--to", type=Path, required=True)
    for verb in (export, lock):
        verb.add_argument("--month", required=True)
        verb.add_argument("--gstin")
    return parser


if __name__ == "__main__":
    sys.exit(main())
