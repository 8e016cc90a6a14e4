"""A day of one merchant's messages: the same seed and day give the same events, always.

Every merchant and day has a generator of its own, so that neither the order in which days are
asked for nor the hour at which the demo runs changes an event.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from random import Random
from typing import Final
from zoneinfo import ZoneInfo

from billing.demo import catalogue
from billing.demo.calendar import DemoCalendar
from billing.demo.merchants import Merchant

SEED: Final = 20261
SOURCE: Final = "otpless-core"
CURRENT_MONTH_SHARE: Final = 0.2

_HOURS: Final = (
    *(8, 5, 3, 2, 3, 7, 16, 30, 48, 66, 78, 82),
    *(80, 74, 68, 66, 70, 78, 90, 100, 96, 76, 46, 20),
)
"""How busy each local hour is: quiet nights, a morning, and the evening's peak."""
_FESTIVAL: Final = {19: 1.5, 20: 2.6, 21: 1.3}
"""Days of the third month on which everybody shops."""
_OUTAGE: Final = (1, 14)
"""Month and day on which the direct routes fail, and traffic moves to the backup."""
_OPERATORS: Final[Mapping[str, Mapping[str, int]]] = {
    "IN": {"jio": 41, "airtel": 34, "vi": 18, "bsnl": 7},
    "AE": {"etisalat": 58, "du": 42},
    "US": {"verizon": 37, "tmobile": 33, "att": 30},
    "ID": {"telkomsel": 51, "indosat": 28, "xl": 21},
    "SG": {"singtel": 49, "starhub": 29, "m1": 22},
    "GB": {"ee": 36, "o2": 34, "vodafone": 30},
}
_ROUTES: Final = {"direct": 55, "primary": 36, "backup": 9}
_ROUTES_IN_OUTAGE: Final = {"direct": 8, "primary": 31, "backup": 61}
_STATUSES: Final = {"delivered": 930, "failed": 46, "sent": 17, "pending": 7}
_STATUSES_IN_OUTAGE: Final = {"delivered": 845, "failed": 128, "sent": 17, "pending": 10}


@dataclass(frozen=True, slots=True)
class UsageEvent:
    """A usage event as its sender knows it."""

    event_id: str
    account: str
    """The merchant's alias."""
    event_type: str
    occurred_at: datetime
    quantity: int
    dimensions: Mapping[str, str]
    cost: Decimal
    """What the vendor asked, in rupees."""

    @property
    def is_billed(self) -> bool:
        """Whether its status makes it count."""
        return self.dimensions["status"] in catalogue.COUNTED_STATUSES

    def with_status(self, status: str) -> "UsageEvent":
        """The same message after its delivery receipt came."""
        return replace(self, dimensions={**self.dimensions, "status": status})


def merchant_day(merchant: Merchant, day: date, calendar: DemoCalendar) -> list[UsageEvent]:
    """The events of one merchant on one of its local days, in order, up to now."""
    rng = Random(f"{SEED}:{merchant.code}:{day}")  # noqa: S311 - made-up traffic, not a secret
    count = _how_many(merchant, day, calendar, rng)
    if count == 0:
        return []
    midnight = datetime.combine(day, time(), ZoneInfo(merchant.zone)).astimezone(UTC)
    hours = rng.choices(range(24), _HOURS, k=count)
    instants = sorted(
        midnight + timedelta(hours=hour, milliseconds=rng.randrange(3_600_000)) for hour in hours
    )
    outage = (calendar.month_index(day), day.day) == _OUTAGE
    draws = _Draws(merchant, rng, count, outage=outage)
    prefix = f"{merchant.code}-{day:%Y%m%d}"
    return [
        draws.event(index, f"{prefix}-{index:05d}", instant)
        for index, instant in enumerate(instants)
        if instant < calendar.until
    ]


def _how_many(merchant: Merchant, day: date, calendar: DemoCalendar, rng: Random) -> int:
    first = calendar.first_month
    if day < merchant.starts.on(first):
        return 0
    if merchant.leaves and day >= merchant.leaves.on(first):
        return 0
    month = calendar.month_index(day)
    if month >= 3 and merchant.wallet and merchant.wallet.runs_dry:
        return 0  # an empty wallet gets no authorisations, so nothing is sent
    traffic = merchant.traffic
    expected = traffic.events_per_day * traffic.monthly_growth ** ((day - first).days / 30)
    expected *= traffic.weekend if day.weekday() >= 5 else 1.0
    expected *= _FESTIVAL.get(day.day, 1.0) if month == 2 else 1.0
    expected *= CURRENT_MONTH_SHARE if month >= 3 else 1.0
    return int(expected * rng.uniform(0.92, 1.08))


class _Draws:
    """All random choices of a merchant's day, drawn at once."""

    def __init__(self, merchant: Merchant, rng: Random, count: int, *, outage: bool) -> None:
        self._account = merchant.alias
        self._channels = _draw(rng, merchant.traffic.channels, count)
        self._countries = _draw(rng, merchant.traffic.countries, count)
        self._routes = _draw(rng, _ROUTES_IN_OUTAGE if outage else _ROUTES, count)
        self._statuses = _draw(rng, _STATUSES_IN_OUTAGE if outage else _STATUSES, count)
        self._operators = {
            country: _draw(rng, _OPERATORS[country], count)
            for country in merchant.traffic.countries
        }
        low, high = merchant.traffic.messages_per_event
        self._quantities = rng.choices(range(low, high + 1), k=count)
        self._costs: dict[tuple[str, str, str], Decimal] = {}

    def event(self, index: int, event_id: str, occurred_at: datetime) -> UsageEvent:
        channel, country = self._channels[index], self._countries[index]
        quantity, event_type = self._quantities[index], f"otp.{channel}"
        key = (event_type, country, self._routes[index])
        if key not in self._costs:
            self._costs[key] = catalogue.vendor_cost(*key)
        return UsageEvent(
            event_id=event_id,
            account=self._account,
            event_type=event_type,
            occurred_at=occurred_at,
            quantity=quantity,
            dimensions={
                "country": country,
                "channel": channel,
                "status": self._statuses[index],
                "operator": _carrier(channel, self._operators[country][index]),
                "route": self._routes[index],
            },
            cost=self._costs[key] * quantity,
        )


def _draw(rng: Random, weights: Mapping[str, int], count: int) -> list[str]:
    return rng.choices(list(weights), list(weights.values()), k=count)


def _carrier(channel: str, operator: str) -> str:
    return {"whatsapp": "meta", "email": "mail"}.get(channel, operator)
