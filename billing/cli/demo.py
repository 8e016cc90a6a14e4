"""`billing demo`: three months of a believable company, sent through the front door."""

import os

import typer

from billing.cli.output import complain, out
from billing.clock import SystemClock
from billing.demo.client import DemoError
from billing.demo.run import run_demo
from billing.settings import Settings


def demo() -> None:
    """Fill a stack with made-up merchants and their traffic, and serve it until Ctrl-C.

    Uses the stack that runs, or starts one. Run again, it adds nothing; cut off midway, it goes on
    where it stopped. With DEMO_EXIT=1 it checks what it made and ends.
    """
    and_exit = os.environ.get("DEMO_EXIT") == "1"
    try:
        good = run_demo(Settings.load(), SystemClock(), out, and_exit=and_exit)
    except DemoError as error:
        complain(str(error))
        raise typer.Exit(1) from error
    if not good:
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Hang the command on the door."""
    app.command()(demo)
