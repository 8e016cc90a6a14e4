"""`python -m invoicing.einvoice`: what `billing einvoice register` runs."""

import sys

from billing.clock import SystemClock
from billing.db.engine import open_engine
from billing.errors import BillingError
from billing.logs import configure_logs
from billing.settings import Settings
from invoicing.einvoice.register import open_registrar


def main() -> int:
    """Register what waits, and print how many ended in which state; 1 if any is not registered."""
    configure_logs()
    engine = open_engine(
        Settings.load().require_database_url(), application="einvoice", pool_size=2
    )
    try:
        counted = open_registrar(engine, SystemClock()).register_waiting()
    except BillingError as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    finally:
        engine.dispose()
    for state, count in sorted(counted.items()):
        sys.stdout.write(f"{state.value}: {count}\n")
    return 0 if set(counted) <= {"registered", "cancelled"} else 1


if __name__ == "__main__":
    sys.exit(main())
