"""The demo's work in order: set up, replay the days, close each month when its grace has passed."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from billing.demo.calendar import DemoCalendar
from billing.demo.client import BillingApi, DemoError
from billing.demo.closing import Closer
from billing.demo.merchants import MERCHANTS
from billing.demo.papers import Papers
from billing.demo.send import IN_FLIGHT, Tally, send_corrections, send_events, send_top_up
from billing.demo.setup import Setup
from billing.demo.timeline import Day, timeline
from billing.demo.top_ups import TopUp

SUBMITTED_DRAFTS: Final = 4
PDF_WORKERS: Final = 2


@dataclass
class Durations:
    """How long each step took, in seconds, in order."""

    console: Console
    steps: list[tuple[str, float]] = field(default_factory=list)

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Time a step and say so when it is done."""
        started = time.perf_counter()
        yield
        taken = time.perf_counter() - started
        self.steps.append((name, taken))
        self.console.print(f"  [green]done[/green]  {name}  [dim]{taken:.1f} s[/dim]")


class Demo:
    """Sends the demo through the API and has its months closed.

    Args:
        namespace: begins every idempotency key.
        closer: closes its months.
    """

    def __init__(
        self,
        api: BillingApi,
        calendar: DemoCalendar,
        namespace: str,
        console: Console,
        closer: Closer,
    ) -> None:
        self._api = api
        self._calendar = calendar
        self._namespace = namespace
        self._console = console
        self._closer = closer
        self._wallets: dict[str, str] = {}
        self.durations = Durations(console)
        self.tally = Tally()
        self.event_ids: set[str] = set()
        """Of every event the demo consists of."""

    def run(self) -> None:
        """Everything, from an empty database to drafts that wait for review."""
        with self.durations.measure("catalogue and merchants"):
            self._wallets = Setup(self._api, self._calendar, self._namespace).everything(MERCHANTS)
        closings = []
        with (
            ThreadPoolExecutor(1, "demo-closer") as closer,
            ThreadPoolExecutor(IN_FLIGHT, "demo-sender") as pool,
        ):
            for month, days in self._stages():
                self._count(days)
                if month is not None and self._is_issued(month):
                    continue  # an earlier run came this far
                label = f"traffic up to {days[-1].day:%d %B}" if days else "no traffic"
                with self.durations.measure(label), self._progress() as progress:
                    self._replay(days, pool, progress)
                if month is not None:
                    # the next month's traffic flows meanwhile, as it does in life
                    closings.append(closer.submit(self._close, month))
            for closing in closings:
                closing.result()
        with self.durations.measure("money by bank, notes and a refund"):
            Papers(self._api, self._namespace).everything(self._calendar, self._wallets)
        self._submit_some(self._calendar.complete_months[-1])

    def _count(self, days: list[Day]) -> None:
        self.event_ids.update(
            delivery.event.event_id for day in days for delivery in day.deliveries
        )

    def _is_issued(self, month: date) -> bool:
        """Whether every invoice of a month is issued and drawn, and there is one."""
        statuses = {row["attributes"]["status"] for row in self._invoices(month)}
        return bool(statuses) and "draft" not in statuses

    def _stages(self) -> Iterator[tuple[date | None, list[Day]]]:
        """The days up to each issue date with the month it closes, then the rest."""
        to_close = self._calendar.complete_months
        days: list[Day] = []
        for day in timeline(self._calendar):
            if to_close and day.day >= self._calendar.issue_date(to_close[0]):
                yield to_close.pop(0), days
                days = []
            days.append(day)
        # In the first days of a month the grace of the last one still runs; the demo closes it.
        yield (to_close[0] if to_close else None), days

    def _progress(self) -> Progress:
        return Progress(
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("events"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )

    def _replay(self, days: list[Day], pool: ThreadPoolExecutor, progress: Progress) -> None:
        task = progress.add_task("", total=sum(len(day.deliveries) for day in days))
        for day in days:
            progress.update(task, description=f"{day.day:%d %b}")
            self._replay_day(day, pool, progress, task)

    def _replay_day(
        self, day: Day, pool: ThreadPoolExecutor, progress: Progress, task: TaskID
    ) -> None:
        for top_up in day.top_ups:
            self._top_up(top_up)
        for answered in send_events(self._api, pool, day.deliveries):
            self.tally.add(answered)
            progress.advance(task, answered.total)
        send_corrections(self._api, pool, day.corrections)

    def _top_up(self, top_up: TopUp) -> None:
        wallet_id = self._wallets[top_up.merchant]
        send_top_up(self._api, wallet_id, top_up, self._namespace)

    def _close(self, month: date) -> None:
        with self.durations.measure(f"Dagster closes {month:%B}"):
            self._closer.close(month)
        if month == self._calendar.complete_months[-1]:
            return
        drafts = self._drafts(month)
        with self.durations.measure(f"{month:%B}: {len(drafts)} invoices issued, PDFs drawn"):
            for invoice_id in drafts:
                self._approve(invoice_id, month)
            with ThreadPoolExecutor(PDF_WORKERS) as pool:
                list(pool.map(self._draw, drafts))

    def _invoices(self, month: date) -> list[dict[str, Any]]:
        listed = self._api.pages("/api/v1/invoices", invoice_month=month.isoformat())
        return sorted(listed, key=lambda row: str(row["id"]))

    def _drafts(self, month: date) -> list[str]:
        return [
            row["id"]
            for row in self._invoices(month)
            if row["attributes"]["status"] == "draft"
            and row["attributes"]["review_state"] in {"pending", "in_review"}
        ]

    def _approve(self, invoice_id: str, month: date) -> None:
        body = {"issue_date": self._calendar.issue_date(month).isoformat()}
        key = f"{self._namespace}:approve:{invoice_id}"
        self._api.post(f"/api/v1/invoices/{invoice_id}/approve", body, key)

    def _draw(self, invoice_id: str) -> None:
        if not self._api.content(f"/api/v1/invoices/{invoice_id}/pdf").startswith(b"%PDF"):
            raise DemoError(f"Invoice {invoice_id} did not come as a PDF.")

    def _submit_some(self, month: date) -> None:
        """Hand a few drafts to a reviewer; the last of them is what marks the demo as whole."""
        drafts = [row for row in self._invoices(month) if row["attributes"]["status"] == "draft"]
        for number, row in enumerate(drafts[:SUBMITTED_DRAFTS], 1):
            key = f"{self._namespace}:submitted:{number}"
            self._api.post(f"/api/v1/invoices/{row['id']}/submit", {}, key)
