"""What other prices would have billed for the usage there was, and how that differs.

The same usage is rated twice: by the prices it was billed with, and by others. The first must come
to what was billed, line by line; that comparison is part of every result.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final
from uuid import UUID

import polars as pl

from billing.money import from_minor, split
from billing.periods import Period
from billing.rating.ahead import NOTHING_AHEAD, Ahead
from billing.rating.counting import counted_usage
from billing.rating.coupon import Coupon
from billing.rating.cumulative import MICROS
from billing.rating.frames import LINES, SHARES, Prices, RatedFrames, is_plain, rate_frames
from billing.rating.line import RatedLine
from billing.rating.plan import SUM, Segment, UsageRow
from billing.rating.rater import rate_period

BILLED: Final = {"period": pl.Int32, "rest": pl.String, "amount_minor": pl.Int64}
"""Lines of invoices, as they were billed; of their reference what follows the subscription."""
PERIODS: Final = {
    "period": pl.Int32, "subscription_id": pl.String, "customer_id": pl.String,
    "customer": pl.String, "currency": pl.String,
}  # fmt: skip
"""Whose the numbered billing periods are."""
_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class LonePeriod:
    """A billing period that is rated by itself: its plan or its usage asks for more than frames."""

    number: int
    subscription_id: UUID
    period: Period
    currency: str
    whole: Period
    subscribed_on: date
    actual: Sequence[Segment]
    changed: Sequence[Segment]
    usage: Sequence[UsageRow]
    ahead: Ahead = NOTHING_AHEAD
    changed_ahead: Ahead = NOTHING_AHEAD
    coupon: Coupon | None = None


@dataclass(frozen=True, slots=True)
class World:
    """Billed periods and their usage."""

    periods: pl.DataFrame
    """`PERIODS`."""
    billed: pl.DataFrame
    """`BILLED`."""
    parts: pl.DataFrame
    """`frames.PARTS` of the periods that frames can rate."""
    usage: pl.DataFrame
    """`frames.USAGE` of these."""
    kinds: pl.DataFrame
    """`frames.KINDS`."""
    alone: Sequence[LonePeriod] = ()
    """All other periods."""


@dataclass(frozen=True, slots=True)
class Differing:
    """A line that does not come out as it was billed; None where there is no such line."""

    line_ref: str
    billed_minor: int | None
    replayed_minor: int | None


@dataclass(frozen=True, slots=True)
class Replay:
    """The prices that were billed, applied again."""

    lines: int
    billed_minor: int
    replayed_minor: int
    differing: int
    examples: Sequence[Differing]

    @property
    def is_exact(self) -> bool:
        """Whether every line came out as it was billed."""
        return not self.differing


@dataclass(frozen=True, slots=True)
class Difference:
    """What something billed, and what it would have, in minor units of one currency."""

    key: str | None
    """Of a customer its id; None for prices without a country or channel."""
    name: str | None
    currency: str
    before_minor: int
    after_minor: int

    @property
    def difference_minor(self) -> int:
        """Positive where the other prices bill more."""
        return self.after_minor - self.before_minor


@dataclass(frozen=True, slots=True)
class Simulation:
    """The comparison, and what it is worth: the replay of what was billed."""

    periods: int
    replay: dict[str, Replay]
    """By currency."""
    totals: Sequence[Difference]
    customers: Sequence[Difference]
    channels: Sequence[Difference]
    countries: Sequence[Difference]
    charges: Sequence[Difference]
    unrated_before: int
    unrated_after: int
    """Events that no rate matches: such invoices would wait."""

    @property
    def is_exact(self) -> bool:
        """Whether the replay came out as it was billed."""
        return all(replay.is_exact for replay in self.replay.values())

    @property
    def verdict(self) -> str:
        """The check in words, currency by currency."""
        return "; ".join(
            f"replaying {replay.lines} billed {code} lines: difference "
            f"{from_minor(replay.replayed_minor - replay.billed_minor, code)}"
            + (f", {replay.differing} lines differ" if replay.differing else "")
            for code, replay in sorted(self.replay.items())
        )


def simulate(world: World, actual: Prices, changed: Prices) -> Simulation:
    """Compare the usage under other prices with what it billed.

    Args:
        actual: the prices of every plan version that is in `world.parts`.
        changed: the other prices of those versions that are to have some.
    """
    is_touched = pl.col("version_id").is_in([str(version) for version in changed])
    touched = world.parts.filter(is_touched).select("period").unique()
    mine = world.parts.join(touched, on="period", how="semi")
    others = world.parts.join(touched, on="period", how="anti")
    kept = _rate(world, others, actual)
    actual_alone = [_rate_alone(one, one.actual, one.ahead) for one in world.alone]
    changed_alone = [_rate_alone(one, one.changed, one.changed_ahead) for one in world.alone]
    before = _together([kept, _rate(world, mine, actual), *actual_alone])
    after = _together([kept, _rate(world, mine, {**actual, **changed}), *changed_alone])
    sums = _sums(world, before, after)
    return Simulation(
        periods=world.periods.height,
        replay=_replayed(world, before.lines),
        totals=_by_period(sums, []),
        customers=_by_period(sums, ["customer_id", "customer"]),
        channels=_by_share(before, after, "channel"),
        countries=_by_share(before, after, "country"),
        charges=_by_share(before, after, "charge_code"),
        unrated_before=before.unrated,
        unrated_after=after.unrated,
    )


def frames_can_rate(version: UUID, actual: Prices, changed: Prices) -> bool:
    """Whether periods with a version may be among `World.parts`."""
    return is_plain(actual[version]) and is_plain(changed.get(version, ()))


def _rate(world: World, parts: pl.DataFrame, prices: Prices) -> RatedFrames:
    return rate_frames(parts, world.usage, world.kinds, prices)


def _together(found: Sequence[RatedFrames]) -> RatedFrames:
    return RatedFrames(
        pl.concat([one.lines for one in found]),
        pl.concat([one.shares for one in found]),
        sum(one.unrated for one in found),
    )


def _rate_alone(one: LonePeriod, segments: Sequence[Segment], ahead: Ahead) -> RatedFrames:
    rating = rate_period(
        one.subscription_id,
        one.period,
        segments,
        one.usage,
        currency=one.currency,
        subscribed_on=one.subscribed_on,
        whole=one.whole,
        ahead=ahead,
        coupon=one.coupon,
    )
    lines = [
        (one.number, line.line_ref.partition(":")[2], line.charge_code, line.amount_minor)
        for line in rating.lines
    ]
    shares = [
        (one.currency, line.charge_code, *place, share)
        for line in rating.lines
        for place, share in _places(one, segments, line).items()
    ]
    return RatedFrames(
        pl.DataFrame(lines, LINES, orient="row"),
        pl.DataFrame(shares, SHARES, orient="row"),
        sum(row.event_count for row in rating.unrated),
    )


def _places(
    one: LonePeriod, segments: Sequence[Segment], line: RatedLine
) -> dict[tuple[str | None, str | None], int]:
    """A line's amount by country and channel, as in `frames.SHARES`."""
    units: dict[tuple[str | None, str | None], int] = defaultdict(int)
    for segment in segments:
        if segment.within(one.period) != line.covered:
            continue
        for charge in segment.charges:
            if charge.code != line.charge_code:
                continue
            for row, rate in counted_usage(charge, line.covered, one.usage, one.currency):
                if rate is not None and line.line_ref.endswith(f":{rate.key}"):
                    place = row.dimensions.get("country"), row.dimensions.get("channel")
                    sums = charge.aggregation == SUM
                    units[place] += int((row.quantity if sums else row.event_count) * MICROS)
    amount, whole = line.amount_minor * MICROS, sum(units.values())
    if not whole:
        return {next(iter(units), (None, None)): amount}
    return {place: amount * part // whole for place, part in units.items()}


def _replayed(world: World, lines: pl.DataFrame) -> dict[str, Replay]:
    """What comes out again against what was billed, by currency."""
    names = pl.concat([world.billed["rest"].unique(), lines["rest"].unique()]).unique(
        maintain_order=True
    )
    named = pl.Enum(names)
    billed, again = (
        rows.select(
            line=pl.col("period").cast(pl.Int64) * len(names)
            + pl.col("rest").cast(named).to_physical(),
            **{column: "amount_minor"},
        )
        for rows, column in ((world.billed, "billed"), (lines, "replayed"))
    )
    both = (
        billed.join(again, on="line", how="full", coalesce=True)
        .with_columns(period=(pl.col("line") // len(names)).cast(pl.Int32))
        .join(world.periods.select("period", "currency"), on="period")
    )
    wrong = both.filter(pl.col("billed").ne_missing(pl.col("replayed"))).with_columns(
        rest=(pl.col("line") % len(names)).cast(pl.UInt32).cast(named).cast(pl.String)
    )
    wrong = wrong.join(world.periods.select("period", "subscription_id"), on="period")
    sums = both.group_by("currency").agg(
        lines=pl.col("billed").count(),
        billed=pl.col("billed").sum(),
        replayed=pl.col("replayed").sum(),
    )
    found = {}
    for row in sums.iter_rows(named=True):
        mine = wrong.filter(pl.col("currency") == row["currency"])
        shown = mine.sort("period", "rest").head(_SHOWN)
        found[row["currency"]] = Replay(
            lines=row["lines"],
            billed_minor=row["billed"],
            replayed_minor=row["replayed"],
            differing=mine.height,
            examples=[
                Differing(f"{one['subscription_id']}:{one['rest']}", one["billed"], one["replayed"])
                for one in shown.iter_rows(named=True)
            ],
        )
    return found


def _sums(world: World, before: RatedFrames, after: RatedFrames) -> pl.DataFrame:
    """The periods, with what each bills before and after."""
    first, second = (
        found.lines.group_by("period").agg(pl.col("amount_minor").sum().alias(name))
        for found, name in ((before, "before"), (after, "after"))
    )
    return world.periods.join(first, on="period", how="left").join(second, on="period", how="left")


def _by_period(sums: pl.DataFrame, keys: list[str]) -> list[Difference]:
    """Sums by columns of the periods, the largest difference first."""
    rows = sums.group_by(*keys, "currency").agg(pl.col("before").sum(), pl.col("after").sum())
    return _largest_first(
        Difference(row[keys[0]] if keys else None, row[keys[-1]] if keys else None, *_money(row))
        for row in rows.iter_rows(named=True)
    )


def _money(row: dict[str, Any]) -> tuple[str, int, int]:
    return row["currency"], row["before"], row["after"]


def _by_share(before: RatedFrames, after: RatedFrames, key: str) -> list[Difference]:
    """Sums by a column of the shares, in whole minor units that add up to what was billed."""
    first, second = (_whole_shares(found.shares, key) for found in (before, after))
    return _largest_first(
        Difference(name, name, code, first.get((code, name), 0), second.get((code, name), 0))
        for code, name in {**first, **second}
    )


def _whole_shares(shares: pl.DataFrame, key: str) -> dict[tuple[str, str | None], int]:
    sums = shares.group_by("currency", key).agg(pl.col("share").sum()).sort("currency", key)
    found: dict[tuple[str, str | None], int] = {}
    for (code,), rows in sums.partition_by("currency", as_dict=True).items():
        exact = rows["share"].to_list()
        # what was cut off each share is far less than a minor unit in all
        whole = -(-sum(exact) // MICROS)
        parts = split(whole, exact) if whole else [0] * len(exact)
        found |= {(str(code), name): part for name, part in zip(rows[key], parts, strict=True)}
    return found


def _largest_first(found: Iterable[Difference]) -> list[Difference]:
    return sorted(found, key=lambda one: (one.currency, -abs(one.difference_minor), one.name or ""))
