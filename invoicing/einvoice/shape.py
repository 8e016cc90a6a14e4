"""Whether a payload has the published shape of INV-01, and adds up as the portal checks it.

The shape is data (`inv01.json`); what is found are sentences, because a person reads them.
"""

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any, Final

Json = dict[str, Any]

_MOST_ITEMS: Final = 1000
_HEADS: Final = {"IgstVal": "IgstAmt", "CgstVal": "CgstAmt", "SgstVal": "SgstAmt"}
_FORBIDDEN: Final = re.compile(r'["\\]')


@cache
def shape() -> Mapping[str, Any]:
    """The published shape: blocks of fields with type, length, range and pattern."""
    text = files("invoicing.einvoice").joinpath("inv01.json").read_text(encoding="utf-8")
    loaded: Json = json.loads(text)
    return loaded


def problems(payload: Json) -> list[str]:
    """Everything that the portal would refuse; nothing if it fits."""
    found = list(_block("", payload, shape()))
    if found:
        return found  # sums of what is not there say nothing
    return [*_sums(payload)]


def _block(path: str, value: Json, wanted: Mapping[str, Any]) -> Iterator[str]:
    fields, blocks = wanted.get("fields", {}), wanted.get("blocks", {})
    for name in value:
        if name not in fields and name not in blocks:
            yield f"{path}{name} is not part of INV-01"
    for name, rule in fields.items():
        if value.get(name) is None:
            if rule["required"]:
                yield f"{path}{name} is missing"
        else:
            yield from _field(f"{path}{name}", value[name], rule)
    for name, rule in blocks.items():
        if value.get(name) is not None:
            yield from _blocks(f"{path}{name}", value[name], rule)
        elif rule["required"]:
            yield f"{path}{name} is missing"


def _blocks(path: str, value: Any, rule: Mapping[str, Any]) -> Iterator[str]:
    if not rule.get("array"):
        yield from _block(f"{path}.", value, rule)
        return
    if not 1 <= len(value) <= _MOST_ITEMS:
        yield f"{path} has {len(value)} entries, not 1 to {_MOST_ITEMS}"
    for place, one in enumerate(value, start=1):
        yield from _block(f"{path}[{place}].", one, rule)


def _field(path: str, value: object, rule: Mapping[str, Any]) -> Iterator[str]:
    if rule["type"] == "number":
        if not isinstance(value, int | Decimal) or isinstance(value, bool):
            yield f"{path} is no number"
        elif not Decimal(rule["min"]) <= value <= Decimal(rule["max"]):
            yield f"{path} is {value}, outside {rule['min']} to {rule['max']}"
        return
    if not isinstance(value, str):
        yield f"{path} is no text"
        return
    if not rule["min"] <= len(value) <= rule["max"]:
        yield f"{path} has {len(value)} characters, not {rule['min']} to {rule['max']}"
    if "enum" in rule and value not in rule["enum"]:
        yield f"{path} is {value!r}, not one of {', '.join(rule['enum'])}"
    if "pattern" in rule and re.fullmatch(rule["pattern"], value) is None:
        yield f"{path} is not written as the portal wants it"
    if _FORBIDDEN.search(value):
        yield f"{path} has a quotation mark or a backslash"


def _sums(payload: Json) -> Iterator[str]:
    items, values = payload["ItemList"], payload["ValDtls"]
    for item in items:
        if item["AssAmt"] != item["TotAmt"] - item.get("Discount", 0):
            yield f"item {item['SlNo']}: AssAmt is not TotAmt less Discount"
        taxes = sum(item.get(name, 0) for name in _HEADS.values())
        if item["TotItemVal"] != item["AssAmt"] + taxes:
            yield f"item {item['SlNo']}: TotItemVal is not AssAmt plus taxes"
    for head, amount in {"AssVal": "AssAmt", **_HEADS}.items():
        if values.get(head, 0) != sum(item.get(amount, 0) for item in items):
            yield f"ValDtls.{head} is not the sum of its items"
    whole = sum(values.get(name, 0) for name in ("AssVal", "RndOffAmt", *_HEADS))
    if values["TotInvVal"] != whole:
        yield "ValDtls.TotInvVal is not the sum of its parts"
