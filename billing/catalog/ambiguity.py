"""Rates that one event could match equally well; they are refused before they price anything."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Priced(Protocol):
    """Anything that names the values it is for, in one currency."""

    @property
    def currency(self) -> str:
        """Only rates of one currency are in each other's way."""
        ...

    @property
    def match(self) -> Mapping[str, Any]:
        """Dimension to exact value; an absent dimension matches anything."""
        ...


def equal_matches(rates: Sequence[Priced]) -> dict[int, int]:
    """Rates that name as many dimensions as an earlier one, and none that differs.

    Compared by groups of rates that name the same dimensions, not pair by pair, so that a long
    list costs no more than its length.

    Returns:
        The position of each, with that of the earlier one.
    """
    groups: dict[tuple[str, frozenset[str]], list[int]] = {}
    for index, rate in enumerate(rates):
        groups.setdefault((rate.currency, frozenset(rate.match)), []).append(index)
    found: dict[int, int] = {}
    for names, members in groups.items():
        for other_names, others in groups.items():
            if names[0] == other_names[0] and len(names[1]) == len(other_names[1]):
                shared = sorted(names[1] & other_names[1])
                _note_equals(rates, (members, others), shared, found)
    return dict(sorted(found.items()))


def _note_equals(
    rates: Sequence[Priced],
    groups: tuple[Sequence[int], Sequence[int]],
    shared: Sequence[str],
    found: dict[int, int],
) -> None:
    """Note each rate of the second group that equals an earlier one of the first where it can."""
    first_with: dict[tuple[str, ...], int] = {}
    for index in groups[0]:
        first_with.setdefault(tuple(rates[index].match[name] for name in shared), index)
    for index in groups[1]:
        earlier = first_with.get(tuple(rates[index].match[name] for name in shared))
        if earlier is not None and earlier < index:
            found.setdefault(index, earlier)
