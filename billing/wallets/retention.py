"""How much of the journal must be kept for a PostgreSQL that is restored from its archive.

A restored database stands at a cursor of the past and takes from the journal what it lacks. Where
WAL is archived, that is the cursor which the last archived segment contains: the entries from
there on must be in the journal, however long the archiver is behind.
"""

import re
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

from psycopg import Connection

from billing.wallets.ports import JournalPoint

_ARCHIVER = """
SELECT current_setting('archive_mode') <> 'off', last_archived_wal,
    (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint,
    pg_size_bytes(current_setting('wal_segment_size'))
FROM pg_stat_archiver
"""
_SEGMENT: Final = re.compile(r"^[0-9A-F]{24}$")
_MOST_SAMPLES: Final = 20_000


@dataclass(frozen=True, slots=True)
class Archiver:
    """How far PostgreSQL's log is written and archived, in bytes."""

    is_on: bool
    archived: int | None
    """End of the last archived segment; None if that is not known."""
    written: int


def read_archiver(connection: Connection[Any]) -> Archiver:
    """Ask PostgreSQL."""
    row = connection.execute(_ARCHIVER).fetchone()
    if row is None:
        return Archiver(is_on=False, archived=None, written=0)
    is_on, last, written, segment_bytes = row
    return Archiver(is_on, segment_end(last, segment_bytes), written)


def segment_end(name: str | None, segment_bytes: int) -> int | None:
    """Where a WAL segment ends, by its name; None if it is no segment's."""
    if name is None or not _SEGMENT.match(name):
        return None
    per_log = 0x1_0000_0000 // segment_bytes
    return (int(name[8:16], 16) * per_log + int(name[16:24], 16) + 1) * segment_bytes


class Recoverable:
    """Remembers where the journal stood when the log was how long."""

    def __init__(self) -> None:
        self._samples: deque[tuple[int, JournalPoint]] = deque(maxlen=_MOST_SAMPLES)
        self._point: JournalPoint | None = None

    def look(self, archiver: Archiver, cursor: JournalPoint) -> JournalPoint | None:
        """What a restore from the archive has for certain; None as long as that is not known.

        Args:
            archiver: asked for after `cursor` was committed.
        """
        if not archiver.is_on:
            return cursor
        self._samples.append((archiver.written, cursor))
        while archiver.archived is not None and self._samples[0][0] <= archiver.archived:
            self._point = self._samples.popleft()[1]
            if not self._samples:
                break
        return self._point
