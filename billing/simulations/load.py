"""Reads what was billed and the usage it was billed for, as frames.

The pipeline keeps the usage that each rating run read (`marts.fct_rated_usage`). Where a month was
rated again after an invoice was issued, that is no longer what the invoice counted: such periods
are counted from their events once more, by the cut-offs of the invoice's own run.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, cast
from uuid import UUID

import polars as pl
import psycopg
from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.catalog.rated import RatedVersion
from billing.rating.frames import KINDS, PARTS, USAGE
from billing.rating.simulate import BILLED, PERIODS, LonePeriod, World
from billing.subscriptions.rateable import RateablePeriod, rateable_periods
from billing.usage.as_of import AsOf, usage_as_of

_CHOSEN: Final = """
    WITH wanted AS MATERIALIZED (
        SELECT period.*, account.customer_id, account.currency
        FROM billing.billing_periods period
        JOIN billing.accounts account ON account.id = period.account_id
        WHERE period.invoice_month BETWEEN %(first)s AND %(last)s
            AND (%(accounts)s::uuid[] IS NULL OR period.account_id = ANY(%(accounts)s::uuid[]))
            AND (%(customers)s::uuid[] IS NULL
                OR account.customer_id = ANY(%(customers)s::uuid[]))
    ),
    rated AS NOT MATERIALIZED (
        SELECT id, account_id, invoice_month, period_start, period_end, rating_run_id
        FROM billing.invoices WHERE rating_run_id IS NOT NULL AND status <> 'void'
    ),
    -- on an invoice of the period's own, or on one where every line names its account
    billed_on AS (
        SELECT wanted.id, rated.id AS invoice_id, rated.rating_run_id
        FROM wanted
        JOIN rated ON rated.account_id = wanted.account_id
            AND rated.period_start = wanted.starts_on AND rated.period_end = wanted.ends_on
        UNION
        SELECT wanted.id, rated.id, rated.rating_run_id
        FROM rated
        JOIN billing.invoice_lines line ON line.invoice_id = rated.id
        JOIN wanted ON wanted.account_id = line.account_id
            AND wanted.invoice_month = rated.invoice_month
    ),
    chosen AS MATERIALIZED (
        SELECT wanted.*, billed_on.invoice_id, billed_on.rating_run_id,
            (row_number() OVER (ORDER BY wanted.id))::integer AS number,
            wanted.subscription_id || ':' || to_char(wanted.starts_on, 'YYYYMMDD') || ':' AS prefix
        FROM wanted JOIN billed_on ON billed_on.id = wanted.id
    ),
    billed AS (
        SELECT chosen.number, chosen.currency, line.line_ref, line.quantity, line.amount_minor
        FROM chosen
        JOIN billing.invoice_lines line ON line.invoice_id = chosen.invoice_id
            AND starts_with(line.line_ref, chosen.prefix)
    ),
    parts AS (
        SELECT (row_number() OVER (ORDER BY chosen.number, segment.starts_on))::integer AS part,
            chosen.number, segment.id AS segment_id, segment.plan_version_id,
            trim_scale(segment.quantity) AS quantity,
            greatest(segment.starts_on, chosen.starts_on) AS covered_start,
            least(coalesce(segment.ends_on, chosen.ends_on), chosen.ends_on) AS covered_end
        FROM chosen
        JOIN billing.subscription_segments segment
            ON segment.subscription_id = chosen.subscription_id
            AND segment.starts_on < chosen.ends_on
            AND coalesce(segment.ends_on, 'infinity') > chosen.starts_on
    )
"""

_PERIODS: Final = """
    SELECT chosen.number, chosen.subscription_id, customer.id, customer.name, chosen.currency
    FROM chosen JOIN billing.customers customer ON customer.id = chosen.customer_id
"""
_BILLED: Final = "SELECT number, substr(line_ref, 38), amount_minor FROM billed"
_PARTS: Final = """
    SELECT parts.part, parts.number, parts.plan_version_id, chosen.currency,
        chosen.full_starts_on, chosen.full_ends_on, parts.quantity, chosen.starts_on,
        chosen.ends_on, parts.covered_start, parts.covered_end
    FROM parts JOIN chosen ON chosen.number = parts.number
"""
_USAGE: Final = """
    SELECT parts.part, usage.event_type, usage.dimensions::text, usage.event_count,
        (usage.quantity * 1000000)::bigint
    FROM parts JOIN chosen ON chosen.number = parts.number
    JOIN marts.fct_rated_usage usage ON usage.billing_period_id = chosen.id
        AND usage.segment_id = parts.segment_id
"""
_SAID: Final = {
    "part": pl.Int32, "event_type": pl.String, "dimensions": pl.String, "event_count": pl.Int64,
    "micros": pl.Int64,
}  # fmt: skip
_KEYS: Final = "SELECT number, id, rating_run_id FROM chosen"
_OUTDATED: Final = """
    SELECT DISTINCT coalesce(billed.number, chosen.number)
    FROM chosen
    JOIN marts.fct_invoice_lines line ON line.billing_period_id = chosen.id
    FULL JOIN billed ON billed.line_ref = line.line_ref
    WHERE (billed.quantity, billed.amount_minor) IS DISTINCT FROM (line.quantity, line.amount_minor)
        AND coalesce(billed.number, chosen.number) IS NOT NULL
    UNION
    SELECT number FROM chosen WHERE NOT EXISTS (
        SELECT 1 FROM marts.fct_rated_usage usage
        JOIN billing.billing_periods period ON period.id = usage.billing_period_id
        WHERE usage.invoice_month = chosen.invoice_month
    )
"""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which invoices are looked at; None looks at all."""

    first_month: date
    last_month: date
    account_ids: tuple[UUID, ...] | None = None
    customer_ids: tuple[UUID, ...] | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """For the statements here."""
        return {
            "first": self.first_month,
            "last": self.last_month,
            "accounts": None if self.account_ids is None else list(self.account_ids),
            "customers": None if self.customer_ids is None else list(self.customer_ids),
        }


@dataclass(frozen=True, slots=True)
class Read:
    """What was read at one moment; some periods may have to be rated by themselves yet."""

    world: World
    keys: Mapping[int, tuple[UUID, UUID]]
    """Billing period and rating run by the number of the period."""
    outdated: frozenset[int]
    """Periods whose usage is not kept any more as it was billed."""


def read_frames(session: Session, chosen: Chosen) -> Read:
    """The billed periods with their usage, as far as the pipeline keeps it."""
    parameters = chosen.parameters
    periods = _frame(session, _PERIODS, parameters, PERIODS)
    keys = {
        number: (UUID(period), UUID(run))
        for number, period, run in _frame(
            session, _KEYS, parameters, {"number": pl.Int32, "id": pl.String, "run": pl.String}
        ).iter_rows()
    }
    if session.scalar(text("SELECT to_regclass('marts.fct_rated_usage')")) is None:
        outdated = frozenset(keys)
        said = pl.DataFrame(schema=_SAID)
    else:
        found = _frame(session, _OUTDATED, parameters, {"number": pl.Int32})
        outdated = frozenset(found["number"])
        said = _frame(session, _USAGE, parameters, _SAID)
    kinds = said.select("event_type", "dimensions").unique().with_row_index("kind")
    kinds = kinds.select(KINDS.keys()).cast(KINDS)  # type: ignore[arg-type]
    usage = said.join(kinds, on=["event_type", "dimensions"]).select(USAGE.keys())
    world = World(
        periods,
        _frame(session, _BILLED, parameters, BILLED),
        _frame(session, _PARTS, parameters, PARTS),
        usage,
        kinds,
    )
    return Read(world, keys, outdated)


def set_apart(
    session: Session,
    read: Read,
    numbers: Collection[int],
    actual: Mapping[UUID, RatedVersion],
    changed: Mapping[UUID, RatedVersion],
) -> World:
    """The same with some periods rated by themselves, on usage counted from their events."""
    if not numbers:
        return read.world
    ids = [read.keys[number][0] for number in numbers]
    before = rateable_periods(session, ids, actual)
    after = rateable_periods(session, ids, {**actual, **changed})
    alone = []
    for number in sorted(numbers):
        period_id, run_id = read.keys[number]
        alone.append(_alone(session, number, before[period_id], after[period_id], run_id))
    parts = read.world.parts.filter(~pl.col("period").is_in(list(numbers)))
    return World(
        read.world.periods,
        read.world.billed,
        parts,
        read.world.usage,
        read.world.kinds,
        alone,
    )


def _alone(
    session: Session, number: int, before: RateablePeriod, after: RateablePeriod, run_id: UUID
) -> LonePeriod:
    wanted = AsOf(
        run_id, before.account.id, before.account.zone, before.row.starts_at, before.row.ends_at
    )
    return LonePeriod(
        number=number,
        subscription_id=before.row.subscription_id,
        period=before.period,
        currency=before.account.currency,
        whole=before.whole,
        subscribed_on=before.subscribed_on,
        actual=[one.segment for one in before.segments],
        changed=[one.segment for one in after.segments],
        usage=usage_as_of(session, wanted, before.priced_singly | after.priced_singly),
        ahead=before.ahead,
        changed_ahead=after.ahead,
        coupon=before.coupon,
    )


def _frame(
    session: Session, statement: str, parameters: Mapping[str, Any], schema: Mapping[str, Any]
) -> pl.DataFrame:
    """The rows of a statement, as fast as PostgreSQL can say them."""
    connection = cast("psycopg.Connection", session.connection().connection.driver_connection)
    query = psycopg.ClientCursor(connection).mogrify(_CHOSEN + statement, dict(parameters))
    with connection.cursor().copy(f"COPY ({query}) TO STDOUT (FORMAT csv)") as copied:
        said = b"".join(copied)
    if not said:
        return pl.DataFrame(schema=dict(schema))
    return pl.read_csv(said, has_header=False, schema=dict(schema))
