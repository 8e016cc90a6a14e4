"""`make bench-rating`: aggregation, month close and previews, each beside what it is measured by.

    python -m bench.rating --events 10000000

The database is an embedded one, made for the run. Seconds of models are dbt's own, so that its
start is not counted; they are compared with the same GROUP BY by hand, in the same run.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import httpx
import psycopg

from bench.machine import spin_ms
from bench.rating_world import END, MONTH, add_events, add_hour, make_rating_world
from bench.report import Row, print_table, write_json
from bench.stack import Stack, running_stack
from billing.access.actor import SYSTEM
from billing.access.roles import Role
from billing.access.service import CreateApiKey, create_api_key
from billing.clock import SystemClock
from billing.commands import Context
from billing.db.engine import open_engine
from billing.db.unit_of_work import unit_of_work
from billing.rating.match import DIMENSIONS
from billing.settings import Settings
from orchestration.lib.dbt_env import PROJECT_DIR, dbt_env
from orchestration.lib.dbt_manifest import dbt_executable
from orchestration.lib.rating_runs import open_rating_run

_HOUR: Final = 100_000
_USAGE: Final = "int_usage__daily"
_BARE = f"""
CREATE TABLE public.bench_bare AS
SELECT account_id, (occurred_at AT TIME ZONE 'Asia/Kolkata')::date AS usage_day, event_type,
    {", ".join(f"dimensions ->> '{name}' AS {name}" for name in DIMENSIONS)},
    count(*) AS event_count, sum(quantity) AS quantity, sum(vendor_cost) AS vendor_cost
FROM usage.raw_events GROUP BY 1, 2, 3, {", ".join(str(4 + n) for n in range(len(DIMENSIONS)))}
"""
_PREVIEW: Final = {
    "charge": {
        "code": "whatsapp",
        "name": "WhatsApp",
        "item_code": "bench-whatsapp",
        "price_model": "graduated",
        "rates": [
            {
                "currency": "INR",
                "tiers": [
                    {"up_to": "100", "unit_price": "0.35"},
                    {"up_to": "500", "unit_price": "0.3"},
                    {"unit_price": "0.25"},
                ],
            }
        ],
    },
    "quantity": "123456",
}


class Dbt:
    """Runs models on the bench's database and says what each took."""

    def __init__(self, database_url: str, folder: Path) -> None:
        self._env = {**os.environ, **dbt_env(database_url), "DBT_PROFILES_DIR": str(PROJECT_DIR)}
        self._target = folder / "dbt"

    def run(self, select: str, variables: Mapping[str, str]) -> dict[str, tuple[float, float]]:
        """When every model began and ended, in seconds since the epoch.

        Raises:
            RuntimeError: with what dbt said, if a model failed.
        """
        done = subprocess.run(
            [dbt_executable(), "run", "--select", *select.split(), "--vars",
             json.dumps(dict(variables)), "--target-path", str(self._target),
             "--log-path", str(self._target)],
            cwd=PROJECT_DIR, env=self._env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        results = json.loads((self._target / "run_results.json").read_text())["results"]
        found = {}
        for result in results:
            (spent,) = [one for one in result["timing"] if one["name"] == "execute"]
            begun, ended = (
                datetime.fromisoformat(spent[name]).timestamp()
                for name in ("started_at", "completed_at")
            )
            found[result["unique_id"].rpartition(".")[2]] = (begun, ended)
        return found

    def seconds(self, model: str, variables: Mapping[str, str]) -> float:
        """What one model took."""
        begun, ended = self.run(model, variables)[model]
        return ended - begun


def main() -> int:
    """Run; the exit code is 0 when every must that was measured is reached."""
    options = _options()
    folder = Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    with running_stack(None, None, folder, 1) as stack:
        url = stack.database_url
        print(f"{stack.kind}, {os.cpu_count()} cores, spin {spin_ms():.0f} ms", flush=True)
        began = time.perf_counter()
        make_rating_world(url, options.accounts)
        add_events(url, options.accounts, MONTH, (END - MONTH).days, options.events)
        _settle(url)
        print(f"{options.events:,} events are there after {time.perf_counter() - began:.0f} s")
        dbt = Dbt(url, folder.absolute())
        dbt.run("path:models/staging int_usage__accepted", {})
        rows += _aggregation(url, dbt, options)
        rows.append(_close(url, dbt, options))
        rows.append(_previews(stack))
        kind = stack.kind
    rows.append(
        Row("simulation, 12 months of 10,000 accounts: make bench-simulation", None, "s", 5, 1)
    )
    print()
    print_table(rows)
    file = write_json(folder, rows, {"server": kind, "options": vars(options)}, name="rating")
    print(f"\nDetails: {file}")
    return 0 if all(row.reaches(row.must) for row in rows if row.measured is not None) else 1


def _aggregation(url: str, dbt: Dbt, options: argparse.Namespace) -> list[Row]:
    """The first run over everything, and one more hour on top."""
    spin = spin_ms()
    window = {"usage_day_from": MONTH.isoformat(), "usage_day_to": END.isoformat()}
    bare = [_bare(url)]
    first = dbt.seconds(_USAGE, window)
    bare.append(_bare(url))
    with psycopg.connect(url) as connection:
        row = connection.execute(f"SELECT count(*) FROM intermediate.{_USAGE}").fetchone()
    made = 0 if row is None else int(row[0])
    hour = _more(url, dbt, options, _HOUR)
    late = _more(url, dbt, options, 1)
    detail = {"bare_s": bare, "first_s": first, "hour_s": hour, "late_s": late, "usage_rows": made}
    print(
        f"bare GROUP BY {bare[0]:.1f} and {bare[1]:.1f} s, {_USAGE} {first:.1f} s, {made:,} rows; "
        f"one more hour {hour:.2f} s, one late event {late:.2f} s",
        flush=True,
    )
    return [
        Row(
            f"first aggregation of {options.events:,} events / bare GROUP BY",
            first / statistics.mean(bare), "×", 1.5, 1.1, spin_ms=spin, detail=detail,
        ),
        Row(
            f"one more hour of {_HOUR:,} events / the first run",
            hour / first, "×", 1 / 20, 1 / 50, spin_ms=spin, detail=detail,
        ),
        Row(
            "one late event / the first run",
            late / first, "×", 1 / 20, 1 / 50, spin_ms=spin, detail=detail,
        ),
    ]  # fmt: skip


def _more(url: str, dbt: Dbt, options: argparse.Namespace, events: int) -> float:
    """Seconds of the run that is told of more events, on the last day."""
    last = END - timedelta(days=1)
    before, upto = add_hour(url, options.accounts, last, events)
    _settle(url)
    return dbt.seconds(
        _USAGE,
        {
            "usage_day_from": last.isoformat(),
            "usage_day_to": END.isoformat(),
            "usage_accepted": f"0:{before}:{upto}",
        },
    )


def _close(url: str, dbt: Dbt, options: argparse.Namespace) -> Row:
    """Usage rows to invoice lines, for every subscription; counting the events is told apart."""
    spin = spin_ms()
    engine = open_engine(url, application="bench")
    try:
        with unit_of_work(engine) as session:
            run_id = open_rating_run(session, MONTH, "bench", SystemClock()).id
    finally:
        engine.dispose()
    variables = {"invoice_month": MONTH.isoformat(), "rating_run_id": str(run_id)}
    models = dbt.run(
        "path:models/intermediate/rating fct_invoice_lines fct_unrated_usage", variables
    )
    counted = models["int_rating__usage"][1]
    ended = max(end for _, end in models.values())
    begun = min(begin for begin, _ in models.values())
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT (SELECT count(*) FROM marts.fct_invoice_lines), "
            "(SELECT count(*) FROM intermediate.int_rating__usage)"
        ).fetchone()
    lines, usage = (0, 0) if row is None else row
    print(f"month close: {usage:,} usage rows, {lines:,} lines, {ended - begun:.1f} s counting "
          f"the events too", flush=True)  # fmt: skip
    took = {name: round(end - begin, 2) for name, (begin, end) in models.items()}
    return Row(
        f"month close: {options.accounts:,} subscriptions × 5 charges, {usage:,} usage rows",
        ended - counted, "s", 60, 15, spin_ms=spin,
        detail={"lines": lines, "with_counting_s": ended - begun, "models_s": took},
    )  # fmt: skip


def _previews(stack: Stack) -> Row:
    """Calls one after the other, from outside, at an API with a process of its own."""
    spin = spin_ms()
    engine = open_engine(stack.database_url, application="bench")
    try:
        with unit_of_work(engine) as session:
            ctx = Context(session, SYSTEM, SystemClock())
            wanted = CreateApiKey(name="preview", role=Role.PRODUCT_ANALYST)
            _, key = create_api_key(ctx, wanted, Settings.load())
    finally:
        engine.dispose()
    stack.restart_programs()
    took = []
    with httpx.Client(
        base_url=f"http://127.0.0.1:{stack.port}", headers={"Authorization": f"Bearer {key}"}
    ) as client:
        for _ in range(400):
            began = time.perf_counter()
            answer = client.post("/api/v1/pricing/preview", json=_PREVIEW)
            took.append((time.perf_counter() - began) * 1000)
            answer.raise_for_status()
            time.sleep(0.02)
    p95 = statistics.quantiles(took[100:], n=20)[-1]
    return Row(
        "preview call, p95 of 300", p95, "ms", 50, 15, spin_ms=spin,
        detail={"median_ms": statistics.median(took[100:])},
    )  # fmt: skip


def _bare(url: str) -> float:
    """Seconds of the GROUP BY by hand, its result kept as the model's is."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS public.bench_bare")
        began = time.perf_counter()
        connection.execute(_BARE)
        took = time.perf_counter() - began
        connection.execute("DROP TABLE public.bench_bare")
    return took


def _settle(url: str) -> None:
    """What a running system's autovacuum has done by then."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.rating", description=__doc__)
    variable = os.environ.get
    parser.add_argument(
        "--events", type=int, default=int(variable("BENCH_RATING_EVENTS", "1000000"))
    )
    parser.add_argument(
        "--accounts", type=int, default=int(variable("BENCH_RATING_ACCOUNTS", "10000"))
    )
    parser.add_argument("--out", default=variable("BENCH_OUT", ".local/bench"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
