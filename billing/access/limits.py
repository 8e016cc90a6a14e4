"""How much a key may send and ask: its own limits, and those it shares with its holder's keys.

More keys do not give more: all keys of one holder draw from one allowance, which is that of the
most generous of them. A key with less than that draws from its own as well.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from billing.access.tables import ApiKey
from billing.settings import Settings

SECONDS_PER_MINUTE: Final = 60


@dataclass(frozen=True, slots=True)
class Allowance:
    """What may be done in a while; both numbers are positive."""

    events_per_second: int
    requests_per_minute: int

    @property
    def events_per_minute(self) -> int:
        """The same limit, over a minute."""
        return self.events_per_second * SECONDS_PER_MINUTE


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """The allowances a key draws from, by the names of who shares them."""

    holder: str
    shared: Allowance
    key: str
    own: Allowance


def limits_of(session: Session, key: ApiKey, settings: Settings, now: datetime) -> KeyLimits:
    """What this key may do now."""
    same_holder = (
        ApiKey.customer_id == key.customer_id if key.customer_id else ApiKey.name == key.name
    )
    events = func.coalesce(ApiKey.events_per_second, settings.events_per_second)
    requests = func.coalesce(ApiKey.requests_per_minute, settings.requests_per_minute)
    most = session.execute(
        select(func.max(events), func.max(requests)).where(
            same_holder,
            ApiKey.revoked_at.is_(None),
            or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now),
        )
    ).one()
    own = Allowance(
        key.events_per_second or settings.events_per_second,
        key.requests_per_minute or settings.requests_per_minute,
    )
    return KeyLimits(
        holder=f"customer:{key.customer_id}" if key.customer_id else f"holder:{key.name}",
        shared=Allowance(most[0] or own.events_per_second, most[1] or own.requests_per_minute),
        key=f"key:{key.prefix}",
        own=own,
    )
