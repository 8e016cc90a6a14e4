"""What this machine and its servers lack, each finding with the command that mends it."""

from collections.abc import Iterator

from billing.settings import Settings
from billing.stack import doctor_machine, doctor_servers
from billing.stack.findings import Finding


def examine(settings: Settings) -> Iterator[Finding]:
    """Every check, one after the other, as it is made."""
    for check in (*doctor_machine.CHECKS, *doctor_servers.CHECKS):
        yield from check(settings)
