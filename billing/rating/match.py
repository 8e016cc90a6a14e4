"""Which rate an event falls under, and whether an item counts it at all.

The wallet path, previews and the SQL of rating of record (`int_rating__rate_matches`) follow the
same two rules; the parity tests hold them together.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

DIMENSIONS: Final = ("country", "channel", "status", "operator", "route")
"""The event dimensions that rates and item filters may name."""


class Matchable(Protocol):
    """Anything with the exact values it asks for."""

    @property
    def match(self) -> Mapping[str, Any]:
        """Dimension to exact value; an absent dimension matches anything."""
        ...


RateT = TypeVar("RateT", bound=Matchable)


def match_rate(rates: Iterable[RateT], dimensions: Mapping[str, str | None]) -> RateT | None:
    """The rate whose named dimensions all equal the event's, and that names the most of them.

    Two that name equally many are refused when a plan is published; given such a pair all the
    same, the first wins.
    """
    best: RateT | None = None
    for rate in rates:
        fits = all(dimensions.get(name) == value for name, value in rate.match.items())
        if fits and (best is None or len(rate.match) > len(best.match)):
            best = rate
    return best


def counts(event_filter: Mapping[str, Sequence[str]], dimensions: Mapping[str, str | None]) -> bool:
    """Whether an item counts an event: every dimension the filter names has a listed value.

    A dimension the event does not have is not listed.
    """
    return all(dimensions.get(name) in allowed for name, allowed in event_filter.items())
