"""Rates many billing periods at once, in integers over Polars, by the rules of `rater`.

No price is written down here a second time. What usage a charge counts, what a period costs without
usage and what a line is called is asked of `rater`, once for each distinct case. Within a tier an
amount is a line through points that `rater` priced; where it is none, each quantity is priced by
`rater`. Plans that need more than that (`is_plain`) are rated period by period by their caller.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from datetime import date
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import polars as pl

from billing.periods import Period
from billing.rating.counting import counted_usage
from billing.rating.cumulative import MICROS
from billing.rating.frame_prices import price
from billing.rating.line import RatedLine, line_ref
from billing.rating.plan import (
    COUNT,
    FLAT,
    GRADUATED,
    PACKAGE,
    PER_UNIT,
    STAIRSTEP,
    SUM,
    VOLUME,
    Charge,
    Rate,
    Segment,
    Tier,
    UsageRow,
)
from billing.rating.rater import rate_period

Prices = Mapping[UUID, tuple[Charge, ...]]
"""The charges of each plan version."""

_MODELS: Final = frozenset({FLAT, PER_UNIT, GRADUATED, VOLUME, STAIRSTEP, PACKAGE})
_FIELDS: Final = {
    Charge: "code name item_code sac unit price_model rates event_type event_filter aggregation "
    "prorated free_units package_size id",
    Rate: "ordinal currency tiers match id key",
    Tier: "up_to unit_price flat_amount",
}
"""What is understood here; a charge that sets anything else is not plain."""
_NOBODY: Final = UUID(int=0)
_A_DAY: Final = Period(date(2026, 1, 1), date(2026, 1, 2))

PARTS: Final = {
    "part": pl.Int32, "period": pl.Int32, "version_id": pl.String, "currency": pl.String,
    "whole_start": pl.Date, "whole_end": pl.Date, "quantity": pl.String, "period_start": pl.Date,
    "period_end": pl.Date, "covered_start": pl.Date, "covered_end": pl.Date,
}  # fmt: skip
"""The days of a segment within a billing period; both are numbered by the caller."""
KINDS: Final = {"kind": pl.Int32, "event_type": pl.String, "dimensions": pl.String}
"""Numbered sorts of usage; dimensions as a JSON object."""
USAGE: Final = {
    "part": pl.Int32, "kind": pl.Int32, "event_count": pl.Int64, "micros": pl.Int64,
}  # fmt: skip
"""What a part used, quantities in millionths of a unit."""
LINES: Final = {
    "period": pl.Int32, "rest": pl.String, "charge_code": pl.String, "amount_minor": pl.Int64,
}  # fmt: skip
"""Lines: what of their reference follows the subscription; few of these are distinct."""
SHARES: Final = {
    "currency": pl.String, "charge_code": pl.String, "country": pl.String, "channel": pl.String,
    "share": pl.Int128,
}  # fmt: skip
"""Sums of lines by where their usage went, in proportion to its units; in millionths of a minor
unit, cut off. Prices without usage have no place."""
_CASE: Final = [name for name in PARTS if name not in {"part", "period"}]
_LINE: Final = ["period", "name", "amount_minor"]


@dataclass(frozen=True, slots=True)
class RatedFrames:
    """What many periods bill."""

    lines: pl.DataFrame
    """`LINES`."""
    shares: pl.DataFrame
    """`SHARES`."""
    unrated: int
    """Events that charges count, but none of their rates matches."""


def is_plain(charges: Sequence[Charge]) -> bool:
    """Whether these frames can rate all of them."""
    return all(
        charge.price_model in _MODELS
        and bool(charge.rates)
        and charge.aggregation in {COUNT, SUM}
        and _is_understood(charge)
        and all(_is_understood(rate) for rate in charge.rates)
        and all(_is_understood(tier) for rate in charge.rates for tier in rate.tiers)
        for charge in charges
    )


def _is_understood(value: Charge | Rate | Tier) -> bool:
    known = _FIELDS[type(value)].split()
    unset = {
        field.name: field.default if field.default_factory is MISSING else field.default_factory()
        for field in fields(value)
        if field.name not in known
    }
    return all(getattr(value, name) == default for name, default in unset.items())


def rate_frames(
    parts: pl.DataFrame, usage: pl.DataFrame, kinds: pl.DataFrame, prices: Prices
) -> RatedFrames:
    """Rate every part; the charges of its version are plain.

    Args:
        parts: `PARTS`.
        usage: `USAGE` of these parts.
        kinds: `KINDS`.
    """
    cases = parts.select(_CASE).unique().with_row_index("case")
    mine = parts.join(cases, on=_CASE).select("part", "period", "case")
    rates = _number(prices)
    fixed = _fixed(cases, prices)
    counted, places = _counted(mine, usage, cases, kinds, rates)
    rated = counted.filter(pl.col("rate") >= 0)
    lines = price(_measured(rated, cases, rates), rates)
    named, names = _named(lines, cases, rates)
    both = [mine.join(fixed, on="case").select(LINES.keys()),
            named.join(names, on="name").select(LINES.keys())]  # fmt: skip
    return RatedFrames(
        lines=pl.concat(both),
        shares=pl.concat(
            [_without_place(mine, cases, fixed), _by_place(rated, places, lines, rates)]
        ),
        unrated=int(counted.filter(pl.col("rate") < 0)["event_count"].sum()),
    )


@dataclass(frozen=True, slots=True)
class _Numbered:
    """One rate of one charge of one version."""

    version_id: str
    charge: Charge
    rate: Rate


def _number(prices: Prices) -> list[_Numbered]:
    """All rates of usage; the number of one is its place."""
    return [
        _Numbered(str(version), charge, rate)
        for version, charges in prices.items()
        for charge in charges
        if charge.price_model != FLAT
        for rate in charge.rates
    ]


def _fixed(cases: pl.DataFrame, prices: Prices) -> pl.DataFrame:
    """The lines of prices without usage, case by case."""
    rows = [
        (case["case"], _rest(line.line_ref), line.charge_code, line.amount_minor)
        for case in cases.iter_rows(named=True)
        for line in _rate_case(case, prices)
    ]
    schema = {name: kind for name, kind in LINES.items() if name != "period"}
    return pl.DataFrame(rows, {"case": pl.UInt32, **schema}, orient="row")


def _rate_case(case: Mapping[str, Any], prices: Prices) -> Sequence[RatedLine]:
    fixed = tuple(one for one in prices[UUID(case["version_id"])] if one.price_model == FLAT)
    segment = Segment(case["covered_start"], case["covered_end"], fixed, Decimal(case["quantity"]))
    period = Period(case["period_start"], case["period_end"])
    return rate_period(
        _NOBODY,
        period,
        [segment],
        [],
        currency=case["currency"],
        whole=Period(case["whole_start"], case["whole_end"]),
    ).lines


def _rest(reference: str) -> str:
    """What follows the subscription."""
    return reference.partition(":")[2]


def _key(first: str, second: str, *, of: int) -> pl.Expr:
    """Two numbers as one, `of` more than any second one: joins and groups by one are half as
    dear as by two."""
    return pl.col(first).cast(pl.Int64) * of + pl.col(second)


def _counted(
    mine: pl.DataFrame,
    usage: pl.DataFrame,
    cases: pl.DataFrame,
    kinds: pl.DataFrame,
    rates: list[_Numbered],
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The usage that charges count, and the places: its units, its rate (-1 if none fits), the
    number of its place and of the line it falls to."""
    charges: dict[str, dict[int, list[tuple[int, _Numbered]]]] = {}
    for number, one in enumerate(rates):
        by_charge = charges.setdefault(one.version_id, {})
        by_charge.setdefault(id(one.charge), []).append((number, one))
    prices = cases.select("version_id", "currency").unique().with_row_index("book")
    rows = [
        (book, kind, rate, charge.aggregation == SUM, *_place(dimensions))
        for version, code, book in prices.select("version_id", "currency", "book").iter_rows()
        for kind, event_type, dimensions in kinds.iter_rows()
        for numbered in charges.get(version, {}).values()
        for rate, charge in _counts(numbered, code, event_type, dimensions)
    ]
    schema = {
        "book": pl.UInt32, "kind": pl.Int32, "rate": pl.Int32, "sums": pl.Boolean,
        "country": pl.String, "channel": pl.String,
    }  # fmt: skip
    found = pl.DataFrame(rows, schema, orient="row")
    places = found.select("country", "channel").unique().with_row_index("place")
    found = found.join(places, on=["country", "channel"], nulls_equal=True)
    books = cases.join(prices, on=["version_id", "currency"]).select("case", "book")
    most = int(str(kinds["kind"].max() or 0)) + 1
    sorts = found.select("rate", "sums", "place", sort=_key("book", "kind", of=most))
    counted = (
        usage.join(mine.join(books, on="case"), on="part")
        .with_columns(sort=_key("book", "kind", of=most))
        .join(sorts, on="sort")
        .select(
            "part", "period", "case", "rate", "place", "event_count",
            units=pl.when("sums").then("micros").otherwise(pl.col("event_count") * MICROS),
            line=_key("part", "rate", of=len(rates)),
        )
    )  # fmt: skip
    return counted, places


def _counts(
    numbered: list[tuple[int, _Numbered]], code: str, event_type: str, dimensions: str
) -> Iterator[tuple[int, Charge]]:
    """Whether a charge counts such usage, and the number of the rate that it falls under."""
    charge = numbered[0][1].charge
    row = UsageRow(_A_DAY.start, event_type, json.loads(dimensions), 1, Decimal(1))
    for _, rate in counted_usage(charge, _A_DAY, [row], code):
        yield next((number for number, one in numbered if one.rate is rate), -1), charge


def _place(dimensions: str) -> tuple[str | None, str | None]:
    found = json.loads(dimensions)
    return found.get("country"), found.get("channel")


def _measured(rated: pl.DataFrame, cases: pl.DataFrame, rates: list[_Numbered]) -> pl.DataFrame:
    """Units to pay by part and rate; the earliest segment takes the free ones first."""
    found = rated.group_by("line").agg(
        pl.col("units").sum(), pl.col("part", "rate", "period", "case").first()
    )
    free = [(number, int(one.charge.free_units * MICROS)) for number, one in enumerate(rates)]
    if not any(units for _, units in free):
        return found.with_columns(billed="units")
    given = pl.DataFrame(free, {"rate": pl.Int32, "free": pl.Int64}, orient="row")
    before = pl.col("units").cum_sum().over("period", "rate") - pl.col("units")
    return (
        found.join(given, on="rate")
        .join(cases.select("case", "covered_start"), on="case")
        .sort("covered_start")
        .with_columns(left=(pl.col("free") - before).clip(0))
        .with_columns(billed=pl.col("units") - pl.min_horizontal("left", "units"))
    )


def _named(
    lines: pl.DataFrame, cases: pl.DataFrame, rates: list[_Numbered]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The lines with the number of their name, and the names."""
    days = cases.select("case", "period_start", "covered_start")
    lines = lines.with_columns(kind=_key("case", "rate", of=len(rates)))
    distinct = lines.unique("kind").join(days, on="case").with_row_index("name")
    rows = []
    for name, _, number, start, covered in distinct.select(
        "name", "case", "rate", "period_start", "covered_start"
    ).iter_rows():
        charge, rate = rates[number].charge, rates[number].rate
        reference = line_ref(_NOBODY, start, covered, charge.code, rate.key)
        rows.append((name, _rest(reference), charge.code))
    schema = {"name": pl.UInt32, "rest": pl.String, "charge_code": pl.String}
    named = lines.join(distinct.select("kind", "name"), on="kind")
    return named.select(_LINE), pl.DataFrame(rows, schema, orient="row")


def _without_place(mine: pl.DataFrame, cases: pl.DataFrame, fixed: pl.DataFrame) -> pl.DataFrame:
    times = mine.group_by("case").agg(times=pl.len())
    nowhere = pl.lit(None, dtype=pl.String)
    share = pl.col("amount_minor").cast(pl.Int128) * pl.col("times") * MICROS
    return (
        fixed.join(times, on="case")
        .join(cases.select("case", "currency"), on="case")
        .group_by("currency", "charge_code")
        .agg(share=share.sum())
        .with_columns(country=nowhere, channel=nowhere)
        .select(SHARES.keys())
        .cast(SHARES)  # type: ignore[arg-type]
    )


def _by_place(
    rated: pl.DataFrame, places: pl.DataFrame, lines: pl.DataFrame, rates: list[_Numbered]
) -> pl.DataFrame:
    """Each line shared out in proportion to the units of each place."""
    whole = lines.select("line", "amount_minor", whole=pl.col("units").clip(1))
    # nothing was used where there are no units; such a line has no place either
    share = pl.col("amount_minor").cast(pl.Int128) * MICROS * pl.col("units") // pl.col("whole")
    charges = pl.DataFrame(
        [(number, one.charge.code, one.rate.currency) for number, one in enumerate(rates)],
        {"rate": pl.Int32, "charge_code": pl.String, "currency": pl.String},
        orient="row",
    )
    return (
        rated.select("line", "rate", "place", "units")
        .join(whole, on="line")
        .with_columns(share=share, both=_key("rate", "place", of=places.height))
        .group_by("both")
        .agg(pl.col("share").sum(), pl.col("rate", "place").first())
        .join(places, on="place")
        .join(charges, on="rate")
        .group_by("currency", "charge_code", "country", "channel")
        .agg(pl.col("share").sum())
        .select(SHARES.keys())
        .cast(SHARES)  # type: ignore[arg-type]
    )
