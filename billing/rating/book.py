"""The rates of a charge in one currency, by the days on which they are in force."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from datetime import date
from itertools import pairwise

from billing.periods import Period
from billing.rating.match import RateIndex
from billing.rating.plan import Rate


class RateBook:
    """Finds the rate for a day and dimensions; each stretch of days is indexed when first asked."""

    def __init__(self, rates: Iterable[Rate], currency: str) -> None:
        self._rates = [rate for rate in rates if rate.currency == currency]
        begins = {rate.starts_on for rate in self._rates} | {rate.ends_on for rate in self._rates}
        self._bounds = sorted({date.min} | {day for day in begins if day is not None})
        self._indexes: dict[date, RateIndex[Rate]] = {}

    def find(self, day: date, dimensions: Mapping[str, str | None]) -> Rate | None:
        """The rate in force that day for usage with these dimensions."""
        begins = self._bounds[bisect_right(self._bounds, day) - 1]
        index = self._indexes.get(begins)
        if index is None:
            index = RateIndex(rate for rate in self._rates if in_force(rate, begins))
            self._indexes[begins] = index
        return index.find(dimensions)

    def days_by_rate(self, days: Period) -> list[tuple[Rate | None, int]]:
        """Each rate that prices some of the days without dimensions, and how many it does."""
        found: dict[str | None, tuple[Rate | None, int]] = {}
        inside = (day for day in self._bounds if days.start < day < days.end)
        for start, end in pairwise([days.start, *inside, days.end]):
            rate = self.find(start, {})
            key = None if rate is None else rate.key
            found[key] = (rate, found.get(key, (rate, 0))[1] + (end - start).days)
        return list(found.values())


def in_force(rate: Rate, day: date) -> bool:
    """Whether a rate prices that local day."""
    began = rate.starts_on is None or rate.starts_on <= day
    return began and (rate.ends_on is None or day < rate.ends_on)
