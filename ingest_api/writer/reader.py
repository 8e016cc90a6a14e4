"""Reading ahead: the next entries are fetched while the last ones are committed.

That is for many of them. After a read that found few, the next one waits until somebody wants it:
entries that come one by one would else cost a read each, and they are committed together anyway.
"""

import queue
import threading
from time import monotonic
from typing import Final, Self

from redis import Redis

from billing.usage.batch import JournalEntry, Position
from billing.wallets.journal import read_entries
from billing.wallets.keys import ShardKeys
from billing.wallets.ports import RebuildNeededError

_ENTRIES_PER_READ: Final = 64
_READS_AHEAD: Final = 8
_BLOCK_MS: Final = 200
_LOOK_UP_SECONDS: Final = 0.1


class Reader:
    """A thread that follows the stream from a position on."""

    def __init__(self, redis: "Redis", keys: ShardKeys, after: Position) -> None:
        self._redis = redis
        self._keys = keys
        self._after = after
        self._found: queue.Queue[list[JournalEntry] | Exception] = queue.Queue(_READS_AHEAD)
        self._stop = threading.Event()
        self._wanted = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"reader-{keys.shard}", daemon=True)
        self.heard_at = monotonic()
        """When Redis last answered."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._wanted.set()
        while self._thread.is_alive():
            self._drop_found()
            self._thread.join(0.05)

    def take(self, most_events: int, timeout: float) -> list[JournalEntry]:
        """Entries that are there, in order; waits up to `timeout` seconds for the first.

        Raises:
            RedisError: if the stream cannot be read.
            RebuildNeededError: if the epoch is not this one any more.
        """
        self._wanted.set()
        entries: list[JournalEntry] = []
        events = 0
        try:
            found = self._found.get(timeout=timeout)
            while True:
                if isinstance(found, Exception):
                    raise found
                entries += found
                events += sum(entry.count for entry in found)
                if events >= most_events:
                    return entries
                found = self._found.get_nowait()
        except queue.Empty:
            return entries

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                entries = read_entries(
                    self._redis,
                    self._keys,
                    self._after,
                    count=_ENTRIES_PER_READ,
                    block_ms=_BLOCK_MS,
                )
                self.heard_at = monotonic()
                if entries:
                    self._after = entries[-1].position
                    self._wanted.clear()
                    self._put(entries)
                    if len(entries) < _ENTRIES_PER_READ:
                        self._wait_until_wanted()
                else:
                    self._require_epoch()
        except Exception as error:  # noqa: BLE001 - whatever it is, the writer decides
            self._put(error)

    def _wait_until_wanted(self) -> None:
        # in turns: whoever ends us may have asked before `clear` took it back
        while not self._stop.is_set() and not self._wanted.wait(_LOOK_UP_SECONDS):
            pass

    def _require_epoch(self) -> None:
        if self._redis.get(self._keys.epoch_key) != str(self._keys.epoch).encode():
            raise RebuildNeededError("the epoch is gone")

    def _put(self, found: list[JournalEntry] | Exception) -> None:
        while not self._stop.is_set():
            try:
                self._found.put(found, timeout=_LOOK_UP_SECONDS)
            except queue.Full:
                continue
            return

    def _drop_found(self) -> None:
        try:
            while True:
                self._found.get_nowait()
        except queue.Empty:
            return
