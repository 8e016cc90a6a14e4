"""`billing demo` from end to end: find or start the stack, do what is missing, check, tell."""

import time
from collections.abc import Iterable

import redis
from rich.console import Console
from rich.table import Table

from billing.clock import Clock
from billing.db.engine import open_engine
from billing.db.unit_of_work import read_only
from billing.demo.check import Finding, check_demo, check_returns
from billing.demo.client import BillingApi
from billing.demo.closing import Closer
from billing.demo.identity import DemoIdentity, demo_key
from billing.demo.report import print_summary
from billing.demo.stack import RunningStack, running_stack
from billing.demo.steps import Demo
from billing.settings import Settings
from billing.stack.services import PROJECT


def run_demo(settings: Settings, clock: Clock, console: Console, *, and_exit: bool) -> bool:
    """Bring the demo up to date and, unless `and_exit`, serve it until interrupted.

    Returns:
        Whether everything that was checked agrees; without `and_exit`, nothing is checked.
    """
    console.print("[bold]OTPless Billing, demo[/bold]")
    with running_stack(settings) as stack:
        if stack.child is None:
            console.print("  The stack is up already.")
        key, findings = _work(settings, stack, clock, console, check=and_exit)
        good = _print_findings(findings, console)
        print_summary(console, stack, key)
        if not and_exit and stack.child is not None:
            console.print("\nServing; Ctrl-C stops everything.")
            try:
                stack.wait()
            except KeyboardInterrupt:
                console.print("\nStopping.")
    return good


def _work(
    settings: Settings, stack: RunningStack, clock: Clock, console: Console, *, check: bool
) -> tuple[str, list[Finding]]:
    engine = open_engine(stack.database_url, application="billing-demo", pool_size=1)
    try:
        key = demo_key(engine, settings, clock)
        with read_only(engine) as session:
            identity = DemoIdentity.find(session, clock)
        expected = None
        if identity.is_whole:
            console.print("  The demo's data is there already; nothing was added.")
        else:
            expected = _send(stack, key, identity, console)
        if not check:
            return key, []
        with (
            read_only(engine) as session,
            redis.Redis.from_url(stack.redis_url, decode_responses=True) as cache,
            BillingApi(stack.api_url, key) as api,
        ):
            found = list(check_demo(session, cache, identity.calendar, expected))
            return key, [*found, check_returns(api, identity.calendar)]
    finally:
        engine.dispose()


def _send(stack: RunningStack, key: str, identity: DemoIdentity, console: Console) -> int:
    """Do what is missing, and return how many different events the demo has."""
    if identity.is_begun:
        console.print("  An earlier demo was cut off; going on with it.")
    with BillingApi(stack.api_url, key) as api, Closer(PROJECT, stack.environment) as closer:
        demo = Demo(api, identity.calendar, identity.namespace, console, closer)
        started = time.perf_counter()
        demo.run()
        seconds = time.perf_counter() - started
    console.print(
        f"  {demo.tally.accepted:,} events accepted, {demo.tally.duplicate:,} recognised as "
        f"duplicates; {seconds:.0f} s in all"
    )
    return len(demo.event_ids)


def _print_findings(findings: Iterable[Finding], console: Console) -> bool:
    good = True
    table = Table(box=None, padding=(0, 2), show_header=False)
    for finding in findings:
        good = good and finding.ok
        mark = "[green]ok[/green]" if finding.ok else "[bold red]WRONG[/bold red]"
        table.add_row(mark, finding.what, f"[dim]{finding.detail}[/dim]")
    if table.row_count:
        console.print(table)
    return good
