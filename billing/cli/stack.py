"""`billing stack`: everything on this machine, in one log."""

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from billing.cli.output import out
from billing.settings import Settings
from billing.stack.runner import StackRunner
from billing.stack.services import NAMES
from billing.stack.state import StackState

_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_cyan", "bright_magenta")
_WIDTH = max(len(name) for name in NAMES)


class _Terminal:
    """Prints every line behind the coloured name of the process it comes from."""

    def __init__(self) -> None:
        self._colours: dict[str, str] = {"stack": "bold white"}

    def line(self, name: str, text: str) -> None:
        """A line that a process wrote; Dagster's account of every step stays in its file."""
        if " - dagster - DEBUG - " in text:
            return
        self._print(name, Text.from_ansi(text))

    def event(self, name: str, text: str) -> None:
        """Something that happened to a process."""
        self._print(name, Text(text, style="bold"))

    def ready(self, state: StackState) -> None:
        """Where everything is."""
        table = Table(show_header=False, box=None, padding=(0, 2))
        for name, url in state.urls():
            table.add_row(Text(name, style="bold"), Text(url))
        table.add_row(Text("logs", style="bold"), Text(state.logs))
        self.event("stack", "ready; Ctrl-C stops everything")
        out.print(table, soft_wrap=True)

    def _print(self, name: str, text: Text) -> None:
        colour = self._colours.setdefault(name, _COLOURS[len(self._colours) % len(_COLOURS)])
        out.print(Text(f"{name:>{_WIDTH}} | ", style=colour) + text, soft_wrap=True)


def stack(
    only: Annotated[
        str | None,
        typer.Option(help=f"Run only these, with commas between: {', '.join(NAMES)}."),
    ] = None,
) -> None:
    """Start PostgreSQL, Redis and every process of ours, and watch over them.

    With DATABASE_URL or REDIS_URL set, that server is used instead of an embedded one. Data and
    logs are kept in .local/ (BILLING_LOCAL_DIR).
    """
    StackRunner(Settings.load(), _Terminal(), only).run()


def register(app: typer.Typer) -> None:
    """Hang the command on the door."""
    app.command()(stack)
