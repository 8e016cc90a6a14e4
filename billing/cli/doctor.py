"""`billing doctor`: what is missing or wrong, and the command that mends it."""

import typer
from rich.text import Text

from billing.cli.output import out
from billing.settings import Settings
from billing.stack.doctor import examine
from billing.stack.findings import Verdict

_STYLES = {Verdict.OK: "green", Verdict.NOTE: "yellow", Verdict.WRONG: "bold red"}


def doctor() -> None:
    """Examine this machine and the servers; exit with 1 when something must be mended."""
    mend = 0
    for finding in examine(Settings.load()):
        line = Text(f"{finding.verdict:>5}  ", style=_STYLES[finding.verdict])
        line += Text(f"{finding.subject}: {finding.seen}", style="")
        if finding.mend:
            line += Text(f" → {finding.mend}", style="bold")
        out.print(line, soft_wrap=True)
        mend += finding.verdict is Verdict.WRONG
    if mend:
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Hang the command on the door."""
    app.command()(doctor)
