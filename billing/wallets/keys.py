"""The names of the keys in Redis, and how many bytes things have there.

All keys of a shard share a hash tag, so that a script finds them on one node of a cluster. All but
the epoch carry the epoch in their name: after a rebuild nothing old can be mistaken for new.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final
from uuid import UUID

DEDUPE_SECONDS: Final = 49 * 3600
"""A bucket is looked into for the rest of its day and the day after."""

REBUILDING: Final = "rebuilding:"


@dataclass(frozen=True, slots=True)
class ShardKeys:
    """The keys of one shard in one epoch."""

    shard: int
    epoch: int

    @property
    def epoch_key(self) -> str:
        """Holds the epoch that PostgreSQL issued, or says that a rebuild runs."""
        return f"{{b:{self.shard}}}:epoch"

    @property
    def prefix(self) -> str:
        """Beginning of all keys of this epoch."""
        return f"{{b:{self.shard}}}:{self.epoch}:"

    @property
    def stream(self) -> str:
        """The journal."""
        return f"{self.prefix}j"

    @property
    def compensated(self) -> str:
        """A hash of the debits that were given back."""
        return f"{self.prefix}comp"

    def wallet(self, wallet_id: UUID) -> str:
        """A hash: bal, aseq, floor, low."""
        return f"{self.prefix}w:{wallet_id.hex}"

    def buckets(self, day: date) -> str:
        """Beginning of the dedupe buckets of a UTC day; the first two bytes of a digest follow."""
        return f"{self.prefix}d:{day:%Y%m%d}:"

    def bucket(self, day: date, digest: bytes) -> str:
        """The dedupe bucket of a digest."""
        return self.buckets(day) + digest[:2].hex()


def day_before(day: date) -> date:
    """Yesterday."""
    return day - timedelta(days=1)
