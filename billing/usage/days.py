"""Which daily partitions of the event table exist, as far as this process knows."""

from collections.abc import Iterable
from datetime import date
from typing import Any

from psycopg import Connection

from billing.usage.storage import partition_statements

_IS_PARTITIONED = (
    "SELECT EXISTS (SELECT 1 FROM pg_partitioned_table "
    "WHERE partrelid = 'usage.raw_events'::regclass)"
)


class KnownDays:
    """The days that have a partition. New ones count only once their transaction is committed."""

    def __init__(self) -> None:
        self._known: set[date] = set()
        self._new: set[date] = set()
        self._makes_itself: bool | None = None

    def ensure(self, connection: Connection[Any], days: Iterable[date]) -> None:
        """Make the partitions that may be missing, in the caller's transaction."""
        if self._makes_itself is None:
            row = connection.execute(_IS_PARTITIONED).fetchone()
            self._makes_itself = row is not None and not row[0]
        missing = set(days) - self._known
        if not missing or self._makes_itself:
            return
        for statement in partition_statements(missing):
            connection.execute(statement)
        self._new |= missing

    def keep_new(self) -> None:
        """The transaction is committed."""
        self._known |= self._new
        self._new.clear()

    def forget_new(self) -> None:
        """The transaction came to nothing."""
        self._new.clear()

    def forget_all(self) -> None:
        """Any of them may be gone: archiving drops days."""
        self._known.clear()
        self._new.clear()
