"""What sets the pipeline in motion: jobs, schedules, and a sensor for late events."""

import json
from collections.abc import Iterator
from datetime import date, timedelta

import dagster as dg
from sqlalchemy import text

from billing.periods import DEFAULT_ZONE
from orchestration.defs.billing_month import (
    billing_periods,
    earlier_months,
    history_models,
    invoice_drafts,
    rating_models,
    rating_runs,
)
from orchestration.defs.usage import ACCEPTED, staging_views, usage_models
from orchestration.lib.database import Database
from orchestration.lib.partitions import FIRST_DAY

_RANGE_START, _RANGE_END = (
    "dagster/asset_partition_range_start",
    "dagster/asset_partition_range_end",
)

_USUAL_GRACE = 3
"""Days after its end in which late events join a month that no plan bills."""
_LONGEST_GRACE = 27
"""The month after it, February too, is not over yet then."""
_CLOSED_WITHIN = 7
"""Days after its grace in which a month is closed that was not yet, as after an outage."""

refresh_usage = dg.define_asset_job(
    "refresh_usage",
    selection=dg.AssetSelection.assets(usage_models),
    executor_def=dg.in_process_executor,
    description="Aggregate the usage of some days again.",
)

close_month = dg.define_asset_job(
    "close_month",
    selection=dg.AssetSelection.assets(
        billing_periods, rating_runs, earlier_months, rating_models, invoice_drafts, history_models
    ),
    executor_def=dg.in_process_executor,
    description="Rate a month that is over, and bring its drafts up to date.",
)

refresh_history = dg.define_asset_job(
    "refresh_history",
    selection=dg.AssetSelection.assets(history_models),
    executor_def=dg.in_process_executor,
    description="Bring the facts over the whole history up to date.",
)

make_views = dg.define_asset_job(
    "make_views",
    selection=dg.AssetSelection.assets(staging_views),
    executor_def=dg.in_process_executor,
    description="Make the staging views anew: before the first usage, and after an upgrade.",
)

JOBS = [make_views, refresh_usage, close_month, refresh_history]


def usage_range(first: date, last: date) -> dict[str, str]:
    """The tags that make one run of `refresh_usage` over all days from first to last, both in."""
    return {
        _RANGE_START: first.isoformat(),
        _RANGE_END: last.isoformat(),
    }


_GRACE = text(
    """
    SELECT max(version.grace_days)
    FROM billing.subscription_segments segment
    JOIN billing.price_plan_versions version ON version.id = segment.plan_version_id
    WHERE segment.starts_on < :until AND coalesce(segment.ends_on, 'infinity') > :since
    """
)


@dg.schedule(
    job=close_month,
    cron_schedule="0 4 * * *",
    execution_timezone=DEFAULT_ZONE,
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def close_last_month(
    context: dg.ScheduleEvaluationContext, database: Database
) -> dg.RunRequest | dg.SkipReason:
    """Close the month that ended, once: as soon as the grace of all plans in it is over.

    A month is rated as a whole, so the plan that waits longest decides for all.
    """
    today = context.scheduled_execution_time.date()
    this_month = today.replace(day=1)
    month = (this_month - timedelta(days=1)).replace(day=1)
    with database.reading() as session:
        said = session.execute(_GRACE, {"since": month, "until": this_month}).scalar()
    grace_days = _USUAL_GRACE if said is None else min(said, _LONGEST_GRACE)
    first = this_month + timedelta(days=grace_days)
    if not first <= today < first + timedelta(days=_CLOSED_WITHIN):
        return dg.SkipReason(f"{month:%Y-%m} is closed on {first}, {grace_days} days after it.")
    return dg.RunRequest(run_key=month.isoformat(), partition_key=month.isoformat())


@dg.schedule(
    job=refresh_history,
    cron_schedule="30 0 * * *",
    execution_timezone=DEFAULT_ZONE,
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def refresh_history_daily(_: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Once a day, after midnight."""
    return dg.RunRequest()


_TOUCHED = text(
    """
    SELECT DISTINCT (event.occurred_at AT TIME ZONE account.zone)::date AS usage_day
    FROM usage.raw_events event
    JOIN billing.accounts account ON account.id = event.account_id
    WHERE event.shard = :shard AND event.accept_seq > :after AND event.accept_seq <= :upto
    UNION
    SELECT DISTINCT (old.occurred_at AT TIME ZONE account.zone)::date
    FROM usage.superseded_events replaced
    JOIN usage.raw_events old
        ON old.shard = replaced.shard AND old.accept_seq = replaced.accept_seq
        AND old.occurred_at = replaced.occurred_at
    JOIN billing.accounts account ON account.id = old.account_id
    WHERE replaced.shard = :shard
        AND replaced.superseded_by > :after AND replaced.superseded_by <= :upto
    """
)

_SHARDS = text("SELECT shard, accept_seq FROM usage.shard_state ORDER BY shard")


_ANY_EVENT = text("SELECT EXISTS (SELECT FROM usage.shard_state WHERE accept_seq > 0)")

VIEWS_EXIST = text("SELECT to_regclass('intermediate.int_usage__accepted') IS NOT NULL")


@dg.sensor(
    jobs=[refresh_usage, make_views],
    minimum_interval_seconds=120,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def touched_usage_days(
    context: dg.SensorEvaluationContext, database: Database
) -> dg.SensorResult | dg.SkipReason:
    """Ask for exactly the days that events accepted, amended or voided since last time lie on.

    The cursor holds, per shard, the last `accept_seq` that was looked at. A run is told what came
    since then, and recomputes those days for the accounts that it touches, and for no other. While
    one is under way it asks for nothing: what comes meanwhile is one run then, and not a queue.
    """
    if _is_under_way(context.instance):
        return dg.SkipReason("The days asked for last time are being counted.")
    seen: dict[str, int] = json.loads(context.cursor) if context.cursor else {}
    now_at: dict[str, int] = {}
    days: set[date] = set()
    accepted: list[str] = []
    with database.reading() as session:
        if not session.execute(VIEWS_EXIST).scalar_one():
            if not session.execute(_ANY_EVENT).scalar_one():
                return dg.SkipReason("No event was ever accepted.")
            request = dg.RunRequest(run_key="first views", job_name=make_views.name)
            return dg.SensorResult(run_requests=[request], cursor=context.cursor)
        for row in session.execute(_SHARDS):
            shard, accept_seq = int(row.shard), int(row.accept_seq)
            after = seen.get(str(shard), 0)
            now_at[str(shard)] = accept_seq
            if accept_seq > after:
                bounds = {"shard": shard, "after": after, "upto": accept_seq}
                days.update(session.scalars(_TOUCHED, bounds))
                accepted.append(f"{shard}:{after}:{accept_seq}")
    if not days:
        return dg.SkipReason("No event was accepted, amended or voided since the last look.")
    key = json.dumps(now_at, sort_keys=True)
    requests = [
        dg.RunRequest(
            run_key=f"{key}:{first}",
            job_name=refresh_usage.name,
            tags={**usage_range(first, last), ACCEPTED: " ".join(accepted)},
        )
        for first, last in runs_of_days(days)
    ]
    return dg.SensorResult(run_requests=requests, cursor=key)


def _is_under_way(instance: dg.DagsterInstance) -> bool:
    unfinished = dg.RunsFilter(
        job_name=refresh_usage.name,
        statuses=[
            dg.DagsterRunStatus.QUEUED,
            dg.DagsterRunStatus.NOT_STARTED,
            dg.DagsterRunStatus.STARTING,
            dg.DagsterRunStatus.STARTED,
        ],
    )
    return bool(instance.get_runs_count(unfinished))


def runs_of_days(days: set[date]) -> Iterator[tuple[date, date]]:
    """Group days into unbroken stretches, each given by its first and last day."""
    known = sorted(day for day in days if day.isoformat() >= FIRST_DAY)
    while known:
        first = last = known.pop(0)
        while known and known[0] == last + timedelta(days=1):
            last = known.pop(0)
        yield first, last
