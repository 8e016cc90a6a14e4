"""What a validator found wrong, as errors per field in our words."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from billing.errors import FieldError

_SOURCES = frozenset({"body", "query", "path", "header"})
_OURS = "Value error, "


def field_errors(found: Iterable[Mapping[str, Any]]) -> list[FieldError]:
    """The errors of pydantic, each with its path as `charges.0.rates.1.unit_price`.

    A list is also called too short when an item of it is wrong; that is left out.
    """
    errors = list(found)
    paths = [_path(error["loc"]) for error in errors]
    return [
        FieldError(".".join(path), str(error["msg"]).removeprefix(_OURS))
        for error, path in zip(errors, paths, strict=True)
        if not (error["type"] == "too_short" and _is_above_another(path, paths))
    ]


def _path(location: Sequence[object]) -> tuple[str, ...]:
    first, *rest = [str(part) for part in location] or ["body"]
    return tuple(rest) if rest and first in _SOURCES else (first, *rest)


def _is_above_another(path: tuple[str, ...], paths: Iterable[tuple[str, ...]]) -> bool:
    return any(len(other) > len(path) and other[: len(path)] == path for other in paths)
