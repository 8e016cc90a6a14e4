"""How many entries of a stream lie behind a position, without reading them."""

from collections import deque
from typing import Any, Final

from billing.usage.batch import Position

_MOST_SAMPLES: Final = 10_000


class EntryLag:
    """Remembers how many entries had been added when the stream ended where.

    What it says is never too little, and too much by at most the entries between two looks.
    """

    def __init__(self) -> None:
        self._ends: deque[tuple[Position, int]] = deque(maxlen=_MOST_SAMPLES)

    def look(self, stream: dict[str, Any], cursor: Position) -> int:
        """Entries after the cursor.

        Args:
            stream: what `XINFO STREAM` says now.
        """
        end = Position.parse(stream["last-generated-id"].decode())
        added, length = int(stream["entries-added"]), int(stream["length"])
        self._ends.append((end, added))
        if end <= cursor:
            return 0
        while len(self._ends) > 1 and self._ends[1][0] <= cursor:
            self._ends.popleft()
        known, before = self._ends[0]
        return min(length, added - before) if known <= cursor else length
