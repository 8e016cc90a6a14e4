"""The dated facts of the law, read once from `data/`.

Every row carries the day it takes effect; `in_force` picks the row of a day. A change of law is a
new row there, never a change of code.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any, Final

from billing.errors import InvalidError
from billing.tax.model import TaxHead

FOREIGN_STATE: Final = "96"
"""Place of supply outside India; never part of a registration number."""

OIDAR_PREFIX: Final = "99"
"""Begins the numbers of foreign online suppliers; never a place of supply."""


@dataclass(frozen=True, slots=True)
class State:
    """A State or Union territory with its GST code."""

    code: str
    name: str
    local_head: TaxHead
    """SGST, or UTGST in Union territories without a legislature."""
    successor: str | None = None
    """The code that took over, if this one is retired."""


@cache
def _rows(file_name: str) -> Mapping[str, Any]:
    text = files("billing.tax").joinpath("data", file_name).read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


@cache
def states() -> Mapping[str, State]:
    """All State codes by code, the retired ones included."""
    data = _rows("states.json")
    current = [State(row["code"], row["name"], TaxHead(row["local_tax"])) for row in data["states"]]
    by_code = {state.code: state for state in current}
    for row in data["retired"]:
        local_head = by_code[row["successor"]].local_head
        by_code[row["code"]] = State(row["code"], row["name"], local_head, row["successor"])
    return by_code


def place_name(code: str) -> str:
    """The name printed beside a place of supply code, the foreign one included.

    Raises:
        InvalidError: `unknown_state` if there is no such code.
    """
    if code == FOREIGN_STATE:
        return str(_rows("states.json")["foreign"]["name"])
    try:
        return states()[code].name
    except KeyError:
        raise InvalidError(
            f"There is no State with the code {code!r}.", code="unknown_state"
        ) from None


def in_force(rows: list[dict[str, Any]], day: date) -> dict[str, Any] | None:
    """Of rows with `from` and perhaps an exclusive `to`, the latest one that holds on that day."""
    holding = [
        row
        for row in rows
        if date.fromisoformat(row["from"]) <= day
        and (row.get("to") is None or day < date.fromisoformat(row["to"]))
    ]
    return max(holding, key=lambda row: str(row["from"]), default=None)


def facts(kind: str) -> list[dict[str, Any]]:
    """The dated rows of a threshold, such as `einvoice` or `b2cl_exceeds_rupees`."""
    rows: list[dict[str, Any]] = _rows("thresholds.json")[kind]
    return rows


def tax_rate(sac: str, day: date) -> Decimal:
    """The GST rate in percent of a service on a day; the longest matching SAC prefix decides.

    Raises:
        InvalidError: `no_tax_rate` if no row covers that SAC on that day.
    """
    return Decimal(_rate_row(sac, day)["rate"])


def tax_rate_since(sac: str, day: date) -> date:
    """The day on which what decides the rate of a day took effect.

    Raises:
        InvalidError: `no_tax_rate` if no row covers that SAC on that day.
    """
    return date.fromisoformat(_rate_row(sac, day)["from"])


def _rate_row(sac: str, day: date) -> dict[str, Any]:
    matching = [row for row in _rows("rates.json")["rates"] if sac.startswith(row["sac_prefix"])]
    for prefix in sorted({row["sac_prefix"] for row in matching}, key=len, reverse=True):
        row = in_force([row for row in matching if row["sac_prefix"] == prefix], day)
        if row is not None:
            return row
    raise InvalidError(f"There is no GST rate for SAC {sac} on {day}.", code="no_tax_rate")


def wording(key: str, day: date) -> str:
    """A sentence the law or custom wants on a document of that day.

    Raises:
        KeyError: if there is no such wording on that day.
    """
    row = in_force([row for row in _rows("wording.json")["wording"] if row["key"] == key], day)
    if row is None:
        raise KeyError(f"no wording {key} on {day}")
    return str(row["text"])


def exports_in_rupees_to(country: str) -> bool:
    """Whether payment in rupees counts for an export to that country (IGST Act s.2(6)(iv))."""
    return any(row["country"] == country for row in facts("inr_exports"))


def sac_description(sac: str) -> str:
    """What the return calls a service, in at most 30 characters; its code, if it has no name."""
    return str(_rows("sac.json")["descriptions"].get(sac, f"SAC {sac}"))[:30]
