"""Worked amounts of other billing systems, as charges and usage that say the same here.

`VECTORS` holds their rows. A row that a price can say is a `Case`: previews to be added, or, with
-1, taken away. Other rows are of another door, or listed with what is against them.
"""

import json
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Final

from billing.money import from_minor
from billing.periods import add_months
from tests.support.bodies import PLATFORM_ITEM, SMS_ITEM, platform_charge, sms_charge

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "rating-vectors.json").read_text(encoding="utf-8")
)
BY_ID = {row["id"]: row for row in VECTORS}

FLAWED: Final = {
    "v066": "a last tier with an end bills nothing above it: refused",
    "v236": "slices rounded one by one bill more than the whole: they are differences here",
    "v248": "95 seats fewer than none: nobody gives back more than there is",
    "v250": "the source rounds up to cents",
    "v334": "the amount was published as wrong by a cent; of credit notes, not of prices",
    "v340": "the noise of a float in what a client sends: refused, not rounded away",
}
"""Rows whose notes name a flaw: behaviours to refuse."""
OTHER_DOORS: Final = {
    "v192": "wallets",
    "v313": "subscriptions",
    "v324": "tax",
    "v326": "invoices",
    "v327": "wallets",
    "v328": "invoices",
    "v329": "invoices",
    "v330": "invoices",
    "v331": "credit notes",
    "v332": "credit notes",
    "v333": "credit notes",
    "v345": "subscriptions",
    "v349": "subscriptions",
}
"""Rows that are no price of a usage, by where they are."""
SOLD: Final = {"JPY": "IDR", "GBP": "INR"}
"""Of a currency that is not sold, one with as many decimals: nothing else of it is in its rows."""

Body = dict[str, Any]
Case = list[tuple[int, Body]]
"""Previews to be added or, with -1, taken away."""
WALLET_DECIMALS: Final = 6
"""Of a wallet unit of a rupee, and so of a price."""


UNITS: Final = ("unit1", "unit2", "unit3")
"""Items that one price is reached by, whichever is the most; each has events of its own."""


def other_items() -> list[Body]:
    """Those items as they are created, and seats."""
    units = [SMS_ITEM | {"code": unit, "event_type": f"otp.{unit}"} for unit in UNITS]
    return [*units, PLATFORM_ITEM | {"code": "seat", "name": "Seats", "kind": "licence"}]


def body_of(
    model: str, tiers: list[Body], quantity: str, *, currency: str = "INR", **other: Any
) -> Body:
    """A charge for messages with that price, and how many."""
    rate = {"currency": currency, "tiers": tiers}
    charge = sms_charge(rate, price_model=model, match_dimensions=[], **other)
    return {"charge": charge, "quantity": quantity}


def tiers_of(params: Body) -> list[Body]:
    """The tiers of a row."""
    return [
        {
            "up_to": tier["up_to"],
            "unit_price": tier["unit_amount"],
            "flat_amount": tier["flat_amount"],
        }
        for tier in params["tiers"]
    ]


def _unit_price(row: Body) -> Case:
    """A price finer than a wallet unit, which none can be, is one of ten million, less a discount.

    The source's is 1e-14: 1e-6 for each 1e7, and of that a tenth.
    """
    params = row["params"]
    price = Decimal(params["unit_amount"])
    other = _limits(maximum=params["cap_amount"]) if "cap_amount" in params else {}
    if -int(price.as_tuple().exponent) > WALLET_DECIMALS:
        price = price.scaleb(8)
        other |= {"unit_divisor": "10000000", "discount_percent": "90"}
    tiers = [{"unit_price": f"{price:f}"}]
    return [(1, body_of("per_unit", tiers, row["usage"], currency=_currency(params), **other))]


def _currency(params: Body) -> str:
    named = str(params.get("currency", "INR"))
    return SOLD.get(named, named)


def _limits(**limits: str) -> Body:
    return {"limits": [{"currency": "INR", **limits}]}


def _tiered(row: Body) -> Case:
    """A cap of the only tier is a maximum of the charge."""
    params = row["params"]
    caps = [tier["tier_cap"] for tier in params["tiers"] if "tier_cap" in tier]
    other = _limits(maximum=caps[0]) if caps else {}
    zero = bool(params.get("bill_first_tier_flat_on_zero"))
    return [(1, body_of(row["model"], tiers_of(params), row["usage"], bills_zero=zero, **other))]


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
    return [(1, body_of("graduated", tiers, row["usage"], bills_zero=True))]


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
            (1, body_of(model, _blocks(units[name]), used)) for name, used in row["usage"].items()
        ]
    return [(1, body_of(model, _blocks(row["params"]["blocks"]), row["usage"]))]


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
        model, tiers = params["tier_mode"], tiers_of(params)
    if isinstance(usage, dict):
        before, more = Decimal(usage["already_billed_usage"]), Decimal(usage["new_usage"])
    else:
        price = Decimal(params.get("unit_amount") or params.get("package_amount") or 1)
        before = Decimal(params.get("previously_billed", "0")) / price * size
        more = Decimal(usage)
    case = [(1, body_of(model, tiers, str(before + more), **other))]
    if before:
        without = {name: value for name, value in other.items() if name != "limits"}
        case.append((-1, body_of(model, tiers, str(before), **without)))
    return case


def _true_up(row: Body) -> Case:
    params = row["params"]
    charged = row["usage"].get("charged_unrounded") or row["usage"]["charged"]
    currency = _currency(params)
    rate = {"currency": currency, "tiers": [{"flat_amount": params["minimum"]}]}
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
        return [(1, body_of(params["tier_mode"], tiers_of(params), value)) for value in values]
    if "package_size" in params:
        size = {"package_size": params["package_size"]}
        tiers = [{"unit_price": params["amount"]}]
        return [(1, body_of("package", tiers, value, **size)) for value in values]
    return [(1, body_of("per_unit", [{"unit_price": params["unit_amount"]}], v)) for v in values]


def _converted(row: Body) -> Case:
    params = row["params"]
    other = {
        "unit_divisor": params["divide_by"],
        "unit_rounding": "up",
        "free_units": params.get("free_units_after_rounding", "0"),
    }
    if "tiers" in params:
        return [(1, body_of(params["tier_mode"], tiers_of(params), row["usage"], **other))]
    tiers = [{"unit_price": params["unit_amount"]}]
    return [(1, body_of("per_unit", tiers, row["usage"], **other))]


def _stairstep(row: Body) -> Case:
    """The source ends its last band; ours is open, which changes nothing below that end."""
    if "capacity_tiers" in row["params"]:
        return _capacity(row)
    tiers = tiers_of(row["params"])
    tiers[-1]["up_to"] = None
    return [(1, body_of("stairstep", tiers, row["usage"]))]


def _capacity(row: Body) -> Case:
    """A band of each unit, of which the dearest is billed."""
    levels = row["params"]["capacity_tiers"]
    parts = []
    for unit in UNITS:
        tiers = [{"up_to": one["limits"][unit], "flat_amount": one["price"]} for one in levels]
        other = {"code": unit, "item_code": unit, "dearest_of": "capacity"}
        parts.append(body_of("stairstep", tiers, row["usage"].get(unit, "0"), **other))
    return [(1, parts[0] | {"beside": parts[1:]})]


def _package(row: Body) -> Case:
    params = row["params"]
    size = {"package_size": params["package_size"], "free_units": params.get("free_units", "0")}
    tiers = [{"unit_price": params["amount"]}]
    if params.get("round") == "down":
        whole = {"unit_divisor": params["package_size"], "unit_rounding": "down"}
        return [(1, body_of("per_unit", tiers, row["usage"], **whole))]
    if isinstance(row["usage"], str):
        return [(1, body_of("package", tiers, row["usage"], **size))]
    return sliced(row["usage"], lambda quantity: body_of("package", tiers, quantity, **size))


def _progressive(row: Body) -> Case:
    return sliced(row["usage"], lambda used: body_of("graduated", tiers_of(row["params"]), used))


def _free_units(row: Body) -> Case:
    free = row["params"]["free_units"]
    one = [{"unit_price": "1"}]
    return sliced(row["usage"], lambda used: body_of("per_unit", one, used, free_units=free))


def _late(row: Body) -> Case:
    """The source books 5 of the units before: 50; or one block."""
    if "blocks" in row["params"]:
        (block,) = row["params"]["blocks"]
        size, tiers = block["block_size"], [{"unit_price": block["block_amount"]}]
        more = str(Decimal(row["usage"]) - Decimal(size))
        return sliced(
            {"already_billed_usage": size, "new_usage": more},
            lambda quantity: body_of("package", tiers, quantity, package_size=size),
        )
    booked = str(Decimal(row["params"]["already_invoiced"]) / Decimal(row["params"]["unit_amount"]))
    used = {"already_billed_usage": booked, "new_usage": str(Decimal(row["usage"]) - int(booked))}
    one = [{"unit_price": row["params"]["unit_amount"]}]
    return sliced(used, lambda quantity: body_of("per_unit", one, quantity))


def _windows(row: Body) -> Case:
    """Each window is a period of its own: its minimum, and what is above it at a dearer price."""
    params = row["params"]
    price, least = Decimal(params["unit_amount"]), Decimal(params["commitment_per_window"])
    tiers = [
        {"up_to": str(least / price), "unit_price": str(price)},
        {"unit_price": str(price * Decimal(params["overage_factor"]))},
    ]
    minimum = _limits(minimum=str(least))
    return [
        (1, body_of("graduated", tiers, quantity, **minimum))
        for quantity in row["usage"]["windows"]
    ]


def _held(row: Body) -> Case:
    """Units that are held are seats: each number of them is billed for its days of the period."""
    first, end = (date.fromisoformat(day) for day in row["params"]["period"])
    level, since, case = Decimal(row["usage"]["initial"]), first, []
    for day, change in [*row["usage"]["events"], [end.isoformat(), "0"]]:
        until = date.fromisoformat(day)
        if level and until > since:
            days = {"billed": (until - since).days, "full": (end - first).days}
            charge = platform_charge(row["params"]["unit_amount"])
            case.append((1, {"charge": charge, "quantity": str(level), "days": days}))
        level, since = level + Decimal(change), until
    return case


def seats_body(mode: str, tiers: list[Body], held: list[tuple[int, int]], full: int) -> Body:
    """Seats in tiers: so many for so many days, one after the other."""
    charge = platform_charge() | {
        "item_code": "seat",
        "price_model": "licence",
        "tier_mode": mode,
        "rates": [{"currency": "INR", "tiers": tiers}],
    }
    parts = [{"quantity": str(seats), "days": days} for seats, days in held]
    billed = sum(days for _, days in held)
    return {"charge": charge, "held": parts, "days": {"billed": billed, "full": full}}


def changes_of(usage: Body) -> tuple[list[tuple[int, int]], int]:
    """How many units there are after each change, for how many days; and those of the period.

    The source gives the units of each change and what they come to by the days that are left.
    """
    changes = [int(units) for units in usage["event_units"]]
    parts = [Decimal(part) for part in usage["event_prorated_units"]]
    shares = [part / change for part, change in zip(parts, changes, strict=True)]
    full = next(
        days
        for days in (30, 31)
        if all(abs(share * days - round(share * days)) < Decimal("0.01") for share in shares)
    )
    left = [round(share * full) for share in shares]
    ends = [*left[1:], 0]
    levels = list(accumulate(changes))
    return [(n, a - b) for n, a, b in zip(levels, left, ends, strict=True)], full


def _seats(row: Body) -> Case:
    """Seats in tiers, with what they were on each day.

    The sums of v081 are those of 131 seats, and 300 on the last 12 of 30 days. The third and
    fourth change of v241 are not in the order of their days: what its seats would have come to
    for the days between is taken off, without what their tiers bill once.
    """
    tiers = tiers_of(row["params"])
    if row["model"] == "volume_prorated":
        return [(1, seats_body("volume", tiers, [(131, 18), (300, 12)], 30))]
    held, full = changes_of(row["usage"])
    known = [(seats, days) for seats, days in held if seats and days > 0]
    case = [(1, seats_body("graduated", tiers, known, full))]
    by_days = [tier | {"flat_amount": "0"} for tier in tiers]
    case += [
        (-1, seats_body("graduated", by_days, [(seats, -days)], full))
        for seats, days in held
        if days < 0
    ]
    return case


def _credits(row: Body) -> Case:
    """Credits that are sold are units with a price; as many as a price buys are its units."""
    rate, usage = row["params"]["rate"], row["usage"]
    if "amount" in usage:
        tiers = [{"unit_price": "1"}]
        return [(1, body_of("per_unit", tiers, usage["amount"], unit_divisor=rate))]
    return [(1, body_of("per_unit", [{"unit_price": rate}], usage["credits"]))]


def _grouped(row: Body) -> Case:
    """A rate for each group has tiers of its own."""
    params, groups = row["params"], row["usage"]["group_values"]
    rates = [
        {"currency": "INR", "match": {"route": f"g{n}"}, "tiers": tiers_of(params)}
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
        (1, body_of("per_unit", one, quantity, currency=_currency(row["params"])))
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
    "commitment_windowed_overage": _windows,
    "weighted_sum": _held,
    "volume_prorated": _seats,
    "graduated_prorated": _seats,
    "wallet_credit_to_money": _credits,
    "wallet_money_to_credits": _credits,
}


def is_priced(row: Body) -> bool:
    """Whether it is what a charge bills for a usage."""
    return row["id"] not in {*FLAWED, *OTHER_DOORS}


def priced_cases() -> dict[str, Case]:
    """Every row that a price can say."""
    return {row["id"]: CASES[row["model"]](row) for row in VECTORS if is_priced(row)}


def comes_to(row: Body, found: Iterable[tuple[int, Decimal, int, str]]) -> Decimal:
    """What the parts of a case come to together, as its row counts.

    Args:
        found: of each its sign, the amount before rounding, that in minor units, the currency.
    """
    rounds = "round_dp" in row["params"]
    total = sum(
        (
            sign * (from_minor(amount_minor, currency) if rounds else amount)
            for sign, amount, amount_minor, currency in found
        ),
        Decimal(0),
    )
    if row["model"] == "proration_ratio":
        return total.quantize(Decimal(row["expected_amount"]), ROUND_HALF_UP)
    return total


def sliced(usage: Body, at: Callable[[str], Body]) -> Case:
    """What usage adds to what is billed already: a difference of two amounts of the period."""
    before = Decimal(usage["already_billed_usage"])
    return [(1, at(str(before + Decimal(usage["new_usage"])))), (-1, at(str(before)))]
