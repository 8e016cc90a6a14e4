"""The names of the keys in Redis, and how many bytes things have there.

All keys of a shard share a hash tag, so that a script finds them on one node of a cluster. All but
the epoch carry the epoch in their name: after a rebuild nothing old can be mistaken for new.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final
from uuid import UUID

DEDUPE_SECONDS: Final = 49 * 3600
"""A bucket is looked into for the rest of its day and the day after."""

COUNTER_SECONDS: Final = 100 * 24 * 3600
"""A counter is kept this long after it last moved; then its period takes no events any more."""

REMEMBER_SECONDS: Final = 300
"""How long a hold is known after it was captured, released or has expired."""

MOVE_SECONDS: Final = 7 * 24 * 3600
"""How long it is known that a move was done; whoever is late with it changes nothing."""

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

    @property
    def gone(self) -> str:
        """A hash of the accounts of which nothing is taken in here: see moved.lua."""
        return f"{self.prefix}gone"

    @property
    def told(self) -> str:
        """A hash: account to the token of the news of it that Redis has; see news.py."""
        return f"{self.prefix}told"

    def moved(self, move_id: UUID, moved_at: datetime | None) -> str:
        """Set once a move has brought its account here, or away from here.

        By when PostgreSQL wrote it down: one restored to a backup may do so once more.
        """
        return f"{self.prefix}m:{move_id.hex}:{moved_at and moved_at.isoformat()}"

    @property
    def open_holds(self) -> str:
        """A sorted set of the holds that bind something, by when they expire."""
        return f"{self.prefix}x"

    @property
    def holds(self) -> str:
        """Beginning of the keys of holds; the hold's name follows."""
        return f"{self.prefix}h:"

    @property
    def quotas(self) -> str:
        """Beginning of the keys of quotas; the quota's name follows."""
        return f"{self.prefix}q:"

    @property
    def wallets(self) -> str:
        """Beginning of the keys of wallets."""
        return f"{self.prefix}w:"

    def counters(self, wallet_id: UUID, counted_on: date) -> str:
        """A hash: rate (its id in hex) to the millionths of a unit counted since that local day."""
        return f"{self.prefix}c:{wallet_id.hex}:{counted_on:%Y%m%d}"

    def wallet(self, wallet_id: UUID) -> str:
        """A hash: bal, aseq, floor, low, held."""
        return f"{self.wallets}{wallet_id.hex}"

    def buckets(self, day: date) -> str:
        """Beginning of the dedupe buckets of a UTC day; the first two bytes of a digest follow."""
        return f"{self.prefix}d:{day:%Y%m%d}:"

    def bucket(self, day: date, digest: bytes) -> str:
        """The dedupe bucket of a digest."""
        return self.buckets(day) + digest[:2].hex()


def day_before(day: date) -> date:
    """Yesterday."""
    return day - timedelta(days=1)
