"""Run a job from the command line, in this process; the run shows up in Dagster all the same.

python -m orchestration.run close-month 2026-10
python -m orchestration.run close-month -    # the months that come as lines, and says when
python -m orchestration.run refresh-usage 2026-10-01 2026-10-31
"""

import sys
from collections.abc import Mapping
from datetime import date

import dagster as dg

from billing.periods import month_of
from orchestration.definitions import defs
from orchestration.defs.automation import VIEWS_EXIST, usage_range
from orchestration.lib.database import Database

_USAGE = __doc__


def refresh_usage(instance: dg.DagsterInstance, first: date, last: date) -> None:
    """Aggregate the usage of these days, both in, in one run."""
    _run(instance, "refresh_usage", tags=usage_range(first, last))


def close_month(instance: dg.DagsterInstance, month: date) -> None:
    """Aggregate a month's usage, rate it, and bring its drafts and the marts up to date.

    Args:
        month: its first day.
    """
    if not views_exist():
        _run(instance, "make_views")
    refresh_usage(instance, month, month_of(month).last_day)
    _run(instance, "close_month", partition_key=month.isoformat())


def views_exist() -> bool:
    """Whether the staging views were ever made in this database."""
    with Database().reading() as session:
        return bool(session.execute(VIEWS_EXIST).scalar_one())


def _first_day(month: str) -> date:
    return date.fromisoformat(f"{month}-01")


def _run(
    instance: dg.DagsterInstance,
    job: str,
    *,
    partition_key: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    result = defs.resolve_job_def(job).execute_in_process(
        instance=instance, partition_key=partition_key, tags=dict(tags or {})
    )
    if not result.success:
        raise SystemExit(f"{job} failed; see run {result.run_id} in Dagster")


def main(arguments: list[str]) -> None:
    """The command line."""
    with dg.DagsterInstance.get() as instance:
        match arguments:
            case ["close-month", "-"]:
                for line in sys.stdin:
                    close_month(instance, _first_day(line.strip()))
                    sys.stdout.write(f"closed {line.strip()}\n")
                    sys.stdout.flush()
            case ["close-month", month]:
                close_month(instance, _first_day(month))
            case ["refresh-usage", first, last]:
                refresh_usage(instance, date.fromisoformat(first), date.fromisoformat(last))
            case _:
                raise SystemExit(_USAGE)


if __name__ == "__main__":
    main(sys.argv[1:])
