"""Counts and sums of a day's events: what a manifest says, and a table must say too."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from itertools import groupby
from typing import Any

from sqlalchemy import Connection

from billing.usage.archive.tables import ArchivedDay
from billing.usage.storage import StoredDay, stored_days


def by_day(stored: Sequence[StoredDay]) -> dict[date, list[StoredDay]]:
    """Grouped; they come in the order of days."""
    return {day: list(shards) for day, shards in groupby(stored, key=lambda one: one.day)}


def stored_on(connection: Connection, day: date) -> list[StoredDay]:
    """What is stored of one UTC day."""
    return stored_days(connection, day, date.fromordinal(day.toordinal() + 1))


def facts_of(shards: Sequence[StoredDay | ArchivedDay]) -> dict[str, dict[str, Any]]:
    """Counts and sums by shard, as they stand in a manifest."""
    return {
        str(one.shard): {
            "rows": one.rows,
            "first_revisions": one.first_revisions,
            "quantity": f"{one.quantity:.6f}",
            "vendor_cost": f"{one.vendor_cost:.6f}",
        }
        for one in shards
    }


def added(one: dict[str, dict[str, Any]], other: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The facts of both together."""
    total = {shard: dict(facts) for shard, facts in one.items()}
    for shard, facts in other.items():
        mine = total.setdefault(shard, dict.fromkeys(facts, 0))
        for name, value in facts.items():
            is_count = isinstance(value, int)
            mine[name] = mine[name] + value if is_count else _sum(mine[name], value)
    return total


def _sum(one: object, other: object) -> str:
    return f"{Decimal(str(one)) + Decimal(str(other)):.6f}"
