"""Prices many quantities at once, in integers, through points that `rater` priced."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final, NamedTuple, Protocol

import polars as pl

from billing.money import currency, to_minor
from billing.rating.cumulative import MICROS
from billing.rating.line import AMOUNT_DECIMALS
from billing.rating.plan import GRADUATED, PACKAGE, PER_UNIT, STAIRSTEP, VOLUME, Charge, Rate
from billing.rating.prices.graduated import total
from billing.rating.rater import tier_shares

_LINEAR: Final = frozenset({PER_UNIT, GRADUATED, VOLUME, STAIRSTEP})
_MOST: Final = 10**37
"""Larger amounts, in 10^-18 of the currency, would not fit 128 bits."""


class Priced(Protocol):
    """A rate of a charge."""

    @property
    def charge(self) -> Charge:
        """The charge."""
        ...

    @property
    def rate(self) -> Rate:
        """One of its rates."""
        ...


class _Piece(NamedTuple):
    """A tier as a line: what so many steps above its bound cost, in 10^-18 of the currency."""

    above: int
    slope: int
    base: int


def price(measured: pl.DataFrame, rates: Sequence[Priced]) -> pl.DataFrame:
    """`measured` with `amount_minor`, each rounded once.

    Args:
        measured: with the number of a `rate`, and `billed` millionths of a unit.
        rates: by their number.
    """
    used = measured["rate"].unique().to_list()
    most = int(str(measured["billed"].max() or 0))
    steps = {number: _step(rates[number].charge) for number in used}
    pieces = {number: _pieces(rates[number], steps[number], most) for number in used}
    in_lines = pl.col("rate").is_in([number for number in used if pieces[number]])
    linear = measured.filter(in_lines & (pl.col("billed") > 0))
    table = pl.DataFrame(
        [(number, *piece) for number in used for piece in pieces[number] or ()],
        {"rate": pl.Int32, "above": pl.Int64, "slope": pl.Int128, "base": pl.Int128},
        orient="row",
    ).sort("above")
    scales = pl.DataFrame(
        [
            (number, steps[number], 10 ** (AMOUNT_DECIMALS - currency(code).minor_exponent))
            for number in used
            for code in [rates[number].rate.currency]
        ],
        {"rate": pl.Int32, "step": pl.Int64, "scale": pl.Int128},
        orient="row",
    )
    exact = pl.col("slope") * pl.col("steps") + pl.col("base")
    on_lines = (
        linear.join(scales, on="rate")
        .with_columns(steps=(pl.col("billed") + pl.col("step") - 1) // pl.col("step"))
        # a tier holds its upper bound, so what is sought is the tier of the step before
        .with_columns(sought=pl.col("steps") - 1)
        .sort("sought")
        .join_asof(table, left_on="sought", right_on="above", by="rate", check_sortedness=False)
        .with_columns(amount_minor=(exact + pl.col("scale") // 2) // pl.col("scale"))
        .with_columns(pl.col("amount_minor").cast(pl.Int64))
    )
    rest = measured.filter(~(in_lines & (pl.col("billed") > 0)))
    columns = [*measured.columns, "amount_minor"]
    return pl.concat([on_lines.select(columns), _one_by_one(rest, rates).select(columns)])


def _one_by_one(rest: pl.DataFrame, rates: Sequence[Priced]) -> pl.DataFrame:
    """Each distinct quantity of a rate, priced by `rater`."""
    case = rest.select("rate", "billed").unique()
    amounts = [
        to_minor(_amount(rates[rate], billed), rates[rate].rate.currency)
        for rate, billed in case.iter_rows()
    ]
    priced = case.with_columns(pl.Series("amount_minor", amounts, dtype=pl.Int64))
    return rest.join(priced, on=["rate", "billed"])


def _step(charge: Charge) -> int:
    """Millionths of a unit that are sold together: those of a package."""
    return int(charge.package_size * MICROS) if charge.package_size is not None else 1


def _pieces(one: Priced, step: int, most: int) -> list[_Piece] | None:
    """The tiers as lines over steps, each proved at a point between its ends.

    None if they are no lines, or too large to be computed with in 128 bits.
    """
    if one.charge.price_model not in _LINEAR | {PACKAGE}:
        return None
    found = []
    above = 0
    for tier in one.rate.tiers:
        if tier.up_to is not None and step != 1:
            return None
        upper = max(most // step, above) + 4 if tier.up_to is None else int(tier.up_to * MICROS)
        first = _exact(one, (above + 1) * step)
        slope, odd = divmod(_exact(one, upper * step) - first, max(upper - above - 1, 1))
        base = first - slope * (above + 1)
        between = (above + 1 + upper) // 2
        proved = {_exact(one, between * step), _exact(one, between * step - step + 1)}
        if odd or proved != {slope * between + base}:
            return None
        if abs(slope) * upper >= _MOST or abs(base) >= _MOST:
            return None
        found.append(_Piece(above, slope, base))
        above = upper
    return found


def _exact(one: Priced, micros: int) -> int:
    """What so many millionths of a unit cost, in 10^-18 of the currency."""
    return int(_amount(one, micros).scaleb(AMOUNT_DECIMALS))


def _amount(one: Priced, micros: int) -> Decimal:
    return total(tier_shares(one.charge, one.rate, Decimal(micros) / MICROS))
