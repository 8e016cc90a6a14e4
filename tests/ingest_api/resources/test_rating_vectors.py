"""Worked amounts of other billing systems, through the preview of prices.

Every row is either priced here and equal, or listed below by its number with what it would need.
"""

import json
from collections.abc import Callable
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

from billing.periods import add_months
from tests.support.api import Api
from tests.support.bodies import create_items, platform_charge, sms_charge

VECTORS = json.loads(
    (Path(__file__).parents[2] / "vectors" / "rating-vectors.json").read_text(encoding="utf-8")
)
BY_ID = {row["id"]: row for row in VECTORS}

FLAWED = {
    "v066": "a last tier with an end bills nothing above it: refused",
    "v236": "slices rounded one by one bill more than the whole: they are differences here",
    "v334": "the amount was published as wrong by a cent; of credit notes, not of prices",
}

_MODELS_ELSEWHERE = {
    "volume_prorated": "units prorated by days",
    "graduated_prorated": "units prorated by days",
    "weighted_sum": "units prorated by days",
    "commitment_windowed_overage": "a commitment by window",
    "period_anchor": "periods: not a price",
    "tax_exclusive": "tax: not a price",
    "tax_total": "tax: not a price",
    "wallet_balance_after": "wallets: not a price",
    "wallet_credit_to_money": "wallets: not a price",
    "wallet_money_to_credits": "wallets: not a price",
    "credit_note_total": "credit notes: not a price",
}
_ROWS_ELSEWHERE = {
    "v019": "prices finer than a wallet unit, which are refused",
    "v152": "bands of several items",
    "v153": "bands of several items",
    "v154": "bands of several items",
    "v155": "bands of several items",
    "v156": "bands of several items",
    "v192": "no minimum before the period is over: a preview is of a whole one",
    "v221": "a currency that is not sold",
    "v306": "a currency that is not sold",
    "v310": "a currency that is not sold",
    "v313": "an amount below zero, which no price has",
    "v320": "a currency that is not sold",
}

Body = dict[str, Any]
Case = list[tuple[int, Body]]
"""Previews to be added or, with -1, taken away."""


def _body(
    model: str, tiers: list[Body], quantity: str, *, currency: str = "INR", **other: Any
) -> Body:
    rate = {"currency": currency, "tiers": tiers}
    charge = sms_charge(rate, price_model=model, match_dimensions=[], **other)
    return {"charge": charge, "quantity": quantity}


def _tiers(params: Body) -> list[Body]:
    return [
        {
            "up_to": tier["up_to"],
            "unit_price": tier["unit_amount"],
            "flat_amount": tier["flat_amount"],
        }
        for tier in params["tiers"]
    ]


def _unit_price(row: Body) -> Case:
    params = row["params"]
    tiers = [{"unit_price": params["unit_amount"]}]
    currency = params.get("currency", "INR")
    cap = _limits(maximum=params["cap_amount"]) if "cap_amount" in params else {}
    return [(1, _body("per_unit", tiers, row["usage"], currency=currency, **cap))]


def _limits(**limits: str) -> Body:
    return {"limits": [{"currency": "INR", **limits}]}


def _tiered(row: Body) -> Case:
    """A cap of the only tier is a maximum of the charge."""
    params = row["params"]
    caps = [tier["tier_cap"] for tier in params["tiers"] if "tier_cap" in tier]
    other = _limits(maximum=caps[0]) if caps else {}
    zero = bool(params.get("bill_first_tier_flat_on_zero"))
    return [(1, _body(row["model"], _tiers(params), row["usage"], bills_zero=zero, **other))]


def _percentage(row: Body) -> Case:
    """Where the source gives sums, events with its running totals and the same sum."""
    params, usage = row["params"], row["usage"]
    if "events" in usage:
        amounts = usage["events"]
    else:
        totals = [Decimal(total) for total in usage["free_running_totals"]]
        last = [Decimal(usage["sum"])]
        # all others are nothing, before the last
        missing = usage["event_count"] - len(totals) - 1
        marks = [Decimal(0), *totals, *[totals[-1] if totals else Decimal(0)] * missing, *last]
        marks = marks[: usage["event_count"] + 1]
        amounts = [str(after - before) for before, after in pairwise(marks)]
    tier = {
        "unit_price": str(Decimal(params["rate_percent"]) / 100),
        "flat_amount": params.get("fixed_per_event") or "0",
        "event_minimum": params.get("min_per_event"),
        "event_maximum": params.get("max_per_event"),
    }
    charge = sms_charge(
        {"currency": "INR", "tiers": [tier]},
        price_model="percentage",
        match_dimensions=[],
        free_events=params.get("free_events") or 0,
        free_units=params.get("free_amount") or "0",
    )
    events = [{"quantity": amount, "dimensions": {"status": "sent"}} for amount in amounts]
    return [(1, {"charge": charge, "events": events})]


def _graduated_percentage(row: Body) -> Case:
    """Amounts are units whose price is a part of them."""
    tiers = [
        {
            "up_to": tier["up_to"],
            "unit_price": str(Decimal(tier["rate_percent"]) / 100),
            "flat_amount": tier["flat_amount"],
        }
        for tier in row["params"]["tiers"]
    ]
    return [(1, _body("graduated", tiers, row["usage"], bills_zero=True))]


def _blocks(blocks: list[Body]) -> list[Body]:
    """Blocks of units, so many of each size, as tiers with packages; the last one is open."""
    tiers, bound = [], Decimal(0)
    for block in blocks:
        if block["max_blocks"] is not None:
            bound += Decimal(block["block_size"]) * Decimal(block["max_blocks"])
        tier = {"unit_price": block["block_amount"], "package_size": block["block_size"]}
        tiers.append(tier | {"up_to": str(bound)})
    tiers[-1]["up_to"] = None
    return tiers


def _block_price(row: Body) -> Case:
    model = "volume" if row["model"] == "package_volume" else "graduated"
    if row["model"] == "package_graduated_multi_unit":
        units = row["params"]["units"]
        return [
            (1, _body(model, _blocks(units[name]), used)) for name, used in row["usage"].items()
        ]
    return [(1, _body(model, _blocks(row["params"]["blocks"]), row["usage"]))]


def _limited(row: Body) -> Case:
    """What was billed before counts for the limit, as the units that bill as much do."""
    params, usage = row["params"], row["usage"]
    limits = _limits(
        **{
            name: params[f"{name}_amount"]
            for name in ("minimum", "maximum")
            if f"{name}_amount" in params
        }
    )
    model, tiers, other = "per_unit", [{"unit_price": params.get("unit_amount", "0")}], limits
    size = Decimal(1)
    if "package_size" in params:
        model, tiers = "package", [{"unit_price": params["package_amount"]}]
        other = limits | {"package_size": params["package_size"]}
        size = Decimal(params["package_size"])
    elif "tiers" in params:
        model, tiers = params["tier_mode"], _tiers(params)
    if isinstance(usage, dict):
        before, more = Decimal(usage["already_billed_usage"]), Decimal(usage["new_usage"])
    else:
        price = Decimal(params.get("unit_amount") or params.get("package_amount") or 1)
        before = Decimal(params.get("previously_billed", "0")) / price * size
        more = Decimal(usage)
    case = [(1, _body(model, tiers, str(before + more), **other))]
    if before:
        without = {name: value for name, value in other.items() if name != "limits"}
        case.append((-1, _body(model, tiers, str(before), **without)))
    return case


def _true_up(row: Body) -> Case:
    params = row["params"]
    charged = row["usage"].get("charged_unrounded") or row["usage"]["charged"]
    rate = {"currency": "INR", "tiers": [{"flat_amount": params["minimum"]}]}
    charge = platform_charge() | {"price_model": "commitment", "rates": [rate]}
    if "days_used" not in params:
        return [(1, {"charge": charge, "quantity": charged})]
    days = {"billed": params["days_used"], "full": params["days_in_period"]}
    return [(1, {"charge": charge, "quantity": charged, "days": days})]


def _part(row: Body) -> Case:
    params = row["params"]
    days = {"billed": row["usage"]["days"], "full": params["period_days"]}
    return [(1, {"charge": platform_charge(params["amount"]), "quantity": "1", "days": days})]


def _cycle(params: Body) -> tuple[date, date]:
    """The period in which something changes."""
    if "cycle_start" in params:
        start = date.fromisoformat(params["cycle_start"])
        return start, add_months(start, 12 if params["interval"] == "year" else 1, start.day)
    start = date.fromisoformat(params["period_start"])
    if "period_end_exclusive" in params:
        return start, date.fromisoformat(params["period_end_exclusive"])
    return start, date.fromisoformat(params["period_end_inclusive"]) + timedelta(days=1)


def _left(price: str, changed: str, cycle: tuple[date, date]) -> Body | None:
    """What a price bills from the day of a change on; nothing, if no day is left."""
    start, end = cycle
    days = {"billed": (end - date.fromisoformat(changed)).days, "full": (end - start).days}
    if not days["billed"]:
        return None
    return {"charge": platform_charge(price), "quantity": "1", "days": days}


def _changed(row: Body) -> Case:
    """What the new price adds, less the part of the old one that is not used."""
    params = row["params"]
    parts = [
        (sign, _left(params[name], params["change_date"], _cycle(params)))
        for sign, name in ((1, "new_amount"), (-1, "old_amount"))
    ]
    return [(sign, body) for sign, body in parts if body is not None]


def _rest_of_cycle(row: Body) -> Case:
    """The part of a price that is left; of another interval, a whole cycle begins."""
    params = row["params"]
    if params.get("old_interval", params["interval"]) != params["interval"]:
        return [(1, {"charge": platform_charge(params["amount"]), "quantity": "1"})]
    body = _left(params["amount"], params["change_at"], _cycle(params))
    return [(1, body)] if body else []


def _ratio(row: Body) -> Case:
    """Days of a period as what a price of 1 bills for them."""
    params = row["params"]
    first = date.fromisoformat(params["from"])
    if "to_inclusive" in params:
        end = date.fromisoformat(params["to_inclusive"]) + timedelta(days=1)
        full = params["period_days"]
    else:
        end = date.fromisoformat(params["to_exclusive"])
        full = params.get("fixed_days_in_month")
    billed = (end - first).days
    if "fixed_days_in_month" in params:
        billed = (end.month - first.month) * full + end.day - first.day
    elif "period_start" in params:
        full = (add_months(first, 1, first.day) - first).days
    elif "period_end" in params:
        full = (end - add_months(end, -1, end.day)).days
    days = {"billed": billed, "full": full}
    return [(1, {"charge": platform_charge("1"), "quantity": "1", "days": days})]


def _buckets(row: Body) -> Case:
    """Each hour is a usage of its own."""
    params = row["params"]
    values = row["usage"]["bucket_values"] or ["0"]
    if "tiers" in params:
        return [(1, _body(params["tier_mode"], _tiers(params), value)) for value in values]
    if "package_size" in params:
        size = {"package_size": params["package_size"]}
        tiers = [{"unit_price": params["amount"]}]
        return [(1, _body("package", tiers, value, **size)) for value in values]
    return [(1, _body("per_unit", [{"unit_price": params["unit_amount"]}], v)) for v in values]


def _converted(row: Body) -> Case:
    params = row["params"]
    other = {
        "unit_divisor": params["divide_by"],
        "unit_rounding": "up",
        "free_units": params.get("free_units_after_rounding", "0"),
    }
    if "tiers" in params:
        return [(1, _body(params["tier_mode"], _tiers(params), row["usage"], **other))]
    tiers = [{"unit_price": params["unit_amount"]}]
    return [(1, _body("per_unit", tiers, row["usage"], **other))]


def _stairstep(row: Body) -> Case:
    """The source ends its last band; ours is open, which changes nothing below that end."""
    tiers = _tiers(row["params"])
    tiers[-1]["up_to"] = None
    return [(1, _body("stairstep", tiers, row["usage"]))]


def _package(row: Body) -> Case:
    params = row["params"]
    size = {"package_size": params["package_size"], "free_units": params.get("free_units", "0")}
    tiers = [{"unit_price": params["amount"]}]
    if params.get("round") == "down":
        whole = {"unit_divisor": params["package_size"], "unit_rounding": "down"}
        return [(1, _body("per_unit", tiers, row["usage"], **whole))]
    if isinstance(row["usage"], str):
        return [(1, _body("package", tiers, row["usage"], **size))]
    return _slice(row["usage"], lambda quantity: _body("package", tiers, quantity, **size))


def _slice(usage: Body, at: Callable[[str], Body]) -> Case:
    """What usage adds to what is billed already: a difference of two amounts of the period."""
    before = Decimal(usage["already_billed_usage"])
    return [(1, at(str(before + Decimal(usage["new_usage"])))), (-1, at(str(before)))]


def _progressive(row: Body) -> Case:
    return _slice(row["usage"], lambda used: _body("graduated", _tiers(row["params"]), used))


def _free_units(row: Body) -> Case:
    free = row["params"]["free_units"]
    one = [{"unit_price": "1"}]
    return _slice(row["usage"], lambda used: _body("per_unit", one, used, free_units=free))


def _late(row: Body) -> Case:
    """The source books 5 of the units before: 50; or one block."""
    if "blocks" in row["params"]:
        (block,) = row["params"]["blocks"]
        size, tiers = block["block_size"], [{"unit_price": block["block_amount"]}]
        more = str(Decimal(row["usage"]) - Decimal(size))
        return _slice(
            {"already_billed_usage": size, "new_usage": more},
            lambda quantity: _body("package", tiers, quantity, package_size=size),
        )
    booked = str(Decimal(row["params"]["already_invoiced"]) / Decimal(row["params"]["unit_amount"]))
    used = {"already_billed_usage": booked, "new_usage": str(Decimal(row["usage"]) - int(booked))}
    one = [{"unit_price": row["params"]["unit_amount"]}]
    return _slice(used, lambda quantity: _body("per_unit", one, quantity))


def _grouped(row: Body) -> Case:
    """A rate for each group has tiers of its own."""
    params, groups = row["params"], row["usage"]["group_values"]
    rates = [
        {"currency": "INR", "match": {"route": f"g{n}"}, "tiers": _tiers(params)}
        for n, _ in enumerate(groups)
    ]
    charge = sms_charge(*rates, price_model=params["tier_mode"], match_dimensions=["route"])
    events = [
        {"dimensions": {"route": f"g{n}", "status": "sent"}, "quantity": quantity}
        for n, quantity in enumerate(groups)
    ]
    return [(1, {"charge": charge, "events": events})]


def _rounding(row: Body) -> Case:
    one = [{"unit_price": "1"}]
    given = row["usage"] if isinstance(row["usage"], list) else [row["usage"]]
    return [
        (1, _body("per_unit", one, quantity, currency=row["params"]["currency"]))
        for quantity in given
    ]


CASES: dict[str, Callable[[Body], Case]] = {
    "standard": _unit_price,
    "graduated": _tiered,
    "volume": _tiered,
    "stairstep": _stairstep,
    "package": _package,
    "package_progressive": _package,
    "progressive_graduated": _progressive,
    "usage_discount_quantity": _free_units,
    "late_usage_delta": _late,
    "grouped": _grouped,
    "percentage": _percentage,
    "percentage_min_max": _percentage,
    "graduated_percentage": _graduated_percentage,
    "package_volume": _block_price,
    "package_graduated": _block_price,
    "package_graduated_multi_unit": _block_price,
    "commitment_minimum": _limited,
    "commitment_maximum": _limited,
    "true_up": _true_up,
    "true_up_prorated": _true_up,
    "proration_amount": _part,
    "proration_ratio": _ratio,
    "proration_change": _changed,
    "proration_credit": _rest_of_cycle,
    "proration_debit": _rest_of_cycle,
    "bucketed": _buckets,
    "unit_conversion": _converted,
    "usage_discount": _converted,
    "rounding": _rounding,
    "rounding_sum": _rounding,
}


def batched(calls: list[Any]) -> list[list[Any]]:
    """As many at once as there are connections."""
    return [calls[start : start + 8] for start in range(0, len(calls), 8)]


def _is_elsewhere(row: Body) -> bool:
    return row["model"] in _MODELS_ELSEWHERE or row["id"] in _ROWS_ELSEWHERE


def test_every_row_is_priced_or_listed_and_the_list_does_not_grow() -> None:
    assert set(_ROWS_ELSEWHERE) | set(FLAWED) <= set(BY_ID)
    assert {row["model"] for row in VECTORS} == set(_MODELS_ELSEWHERE) | set(CASES)
    priced = [row for row in VECTORS if not _is_elsewhere(row) and row["id"] not in FLAWED]
    elsewhere = [row for row in VECTORS if _is_elsewhere(row) and row["id"] not in FLAWED]
    assert (len(priced), len(elsewhere), len(FLAWED)) == (170, 36, 3)


def test_every_row_that_a_price_can_say_is_previewed_as_published(api: Api) -> None:
    create_items(api)
    cases = {
        row["id"]: CASES[row["model"]](row)
        for row in VECTORS
        if not _is_elsewhere(row) and row["id"] not in FLAWED
    }
    calls = [
        ("POST", "/api/v1/pricing/preview", {"json": body})
        for case in cases.values()
        for _, body in case
    ]
    answers = (answer for batch in batched(calls) for answer in api.together(*batch))
    wrong = {}
    for number, case in cases.items():
        rounds = "round_dp" in BY_ID[number]["params"]
        got = Decimal(0)
        for sign, _ in case:
            answer = next(answers)
            assert answer.status_code == 200, (number, answer.text)
            found = answer.json()["data"]["attributes"]
            got += sign * (
                Decimal(found["amount_minor"]) / 100 if rounds else Decimal(found["amount"])
            )
        expected = Decimal(BY_ID[number]["expected_amount"])
        if BY_ID[number]["model"] == "proration_ratio":
            got = got.quantize(expected, ROUND_HALF_UP)
        if got != expected:
            wrong[number] = got
    assert not wrong


def test_a_last_tier_with_an_end_is_refused(api: Api) -> None:
    create_items(api)
    row = BY_ID["v066"]
    body = _body("graduated", _tiers(row["params"]), row["usage"])
    error = api.refused("POST", "/pricing/preview", 400, json=body)
    assert [found["field"] for found in error["fields"]] == ["charge.rates.0.tiers"]


def test_slices_of_a_period_add_up_to_the_whole(api: Api) -> None:
    """The published amount for the second slice is 20, so that 2,700 units would bill 40."""
    create_items(api)
    row = BY_ID["v236"]
    size = {"package_size": row["params"]["divide_by"]}
    tiers = [{"unit_price": row["params"]["unit_amount"]}]
    amounts = [
        Decimal(api.post("/pricing/preview", body)["attributes"]["amount"])
        for _, body in _slice(row["usage"], lambda used: _body("package", tiers, used, **size))
    ]
    assert amounts == [30, 20]


def test_a_quantity_between_whole_bounds_is_never_free(api: Api) -> None:
    """The source of v096 has a gap between 99 and 100 that bills nothing."""
    create_items(api)
    body = _body("volume", _tiers(BY_ID["v096"]["params"]), "99.5")
    assert api.post("/pricing/preview", body)["attributes"]["amount"] == "49.75"
