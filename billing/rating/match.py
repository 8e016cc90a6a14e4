"""Which rate an event falls under, and whether an item counts it at all.

The wallet path, previews and the SQL of rating of record (`int_rating__rate_matches`) follow the
same two rules; the parity tests hold them together.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Generic, Protocol, TypeVar

DIMENSIONS: Final = ("country", "channel", "status", "operator", "route", "traffic_type")
"""The event dimensions that rates and item filters may name."""


class Matchable(Protocol):
    """Anything with the exact values it asks for."""

    @property
    def match(self) -> Mapping[str, Any]:
        """Dimension to exact value; an absent dimension matches anything."""
        ...

    @property
    def precedence(self) -> int:
        """1 if it was agreed with one account, and so comes before the others; else 0."""
        ...


RateT = TypeVar("RateT", bound=Matchable)

_Names = tuple[int, int, tuple[str, ...]]
"""How early a group of rates is asked, and the dimensions that all of it name."""


class RateIndex(Generic[RateT]):
    """Rates by the dimensions they name, so that a deck of thousands is looked up and not read.

    The rate that fits is one whose named dimensions all equal the event's. Of several, what was
    agreed with the account comes first, then the one that names the most. Two that name equally
    many are refused when prices are published; given such a pair all the same, the first wins.
    """

    def __init__(self, rates: Iterable[RateT]) -> None:
        groups: dict[_Names, dict[tuple[str, ...], tuple[int, RateT]]] = {}
        for position, rate in enumerate(rates):
            names = tuple(sorted(rate.match))
            values = tuple(rate.match[name] for name in names)
            group = groups.setdefault((-rate.precedence, -len(names), names), {})
            group.setdefault(values, (position, rate))
        self._groups = sorted(groups.items(), key=lambda group: group[0])

    def find(self, dimensions: Mapping[str, str | None]) -> RateT | None:
        """The rate of an event with these dimensions."""
        best: tuple[int, RateT] | None = None
        rank: tuple[int, int] | None = None
        for (precedence, exactness, names), rates in self._groups:
            if best is not None and (precedence, exactness) != rank:
                break
            values: Any = tuple(dimensions.get(name) for name in names)
            found = rates.get(values)
            if found is not None and (best is None or found[0] < best[0]):
                best, rank = found, (precedence, exactness)
        return None if best is None else best[1]


def match_rate(rates: Iterable[RateT], dimensions: Mapping[str, str | None]) -> RateT | None:
    """The rate of one event; for many, keep a `RateIndex`."""
    return RateIndex(rates).find(dimensions)


def counts(event_filter: Mapping[str, Sequence[str]], dimensions: Mapping[str, str | None]) -> bool:
    """Whether an item counts an event: every dimension the filter names has a listed value.

    A dimension the event does not have is not listed.
    """
    return all(dimensions.get(name) in allowed for name, allowed in event_filter.items())
