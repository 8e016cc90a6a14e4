"""How long it takes to try other prices on a year of 10,000 accounts.

    python -m bench.simulation

Every account has 5 charges (a fee, messages by tiers and by country, calls by packages, mails, a
volume price) and usage in several countries each month. What is measured: rating it all by the
prices that were billed and comparing line by line, then rating it by others and comparing sums.
The same by `rate_period`, one period after the other, on a part of it, says what frames gain.
"""

import json
import random
import time
from dataclasses import replace
from datetime import date
from decimal import Decimal
from itertools import pairwise
from uuid import UUID

import polars as pl

from billing.ids import new_id
from billing.periods import Period, add_months
from billing.rating.frames import KINDS, PARTS, USAGE, Prices, rate_frames
from billing.rating.plan import (
    FLAT,
    GRADUATED,
    PACKAGE,
    PER_UNIT,
    SUM,
    VOLUME,
    Charge,
    Rate,
    Segment,
    Tier,
    UsageRow,
)
from billing.rating.rater import rate_period
from billing.rating.simulate import BILLED, PERIODS, World, simulate

ACCOUNTS = 10_000
MONTHS = 12
FIRST = date(2026, 1, 1)
ONE_BY_ONE = 2_000
COUNTRIES = ("IN", "AE", "US", "ID")
MUST_SECONDS, AIM_SECONDS = 5.0, 1.0


def _usage(code: str, model: str, *rates: Rate, size: int | None = None) -> Charge:
    return Charge(
        code=code, name=code, item_code=code, sac="998413", unit="message", price_model=model,
        rates=rates, event_type=f"otp.{code}", event_filter={"status": ["delivered"]},
        aggregation=SUM, package_size=None if size is None else Decimal(size),
    )  # fmt: skip


def _plan(price: str) -> tuple[Charge, ...]:
    tiers = (
        Tier(Decimal(1000), Decimal(price)),
        Tier(Decimal(20_000), Decimal("0.1175")),
        Tier(None, Decimal("0.0925")),
    )
    fee = Charge(
        code="fee", name="Fee", item_code="fee", sac="998313", unit="month", price_model=FLAT,
        rates=(Rate(1, "INR", (Tier(None, flat_amount=Decimal(4999)),)),),
    )  # fmt: skip
    return (
        fee,
        _usage("sms", GRADUATED, Rate(1, "INR", tiers, {"country": "IN"}),
               Rate(2, "INR", (Tier(None, Decimal("2.35")),))),
        _usage("voice", PACKAGE, Rate(1, "INR", (Tier(None, Decimal(18)),)), size=100),
        _usage("email", PER_UNIT, Rate(1, "INR", (Tier(None, Decimal("0.0125")),))),
        _usage("whatsapp", VOLUME, Rate(1, "INR", tiers)),
    )  # fmt: skip


def _world(version: UUID) -> World:
    """A year of accounts without what they were billed."""
    dice = random.Random(1)
    months = [add_months(FIRST, number) for number in range(MONTHS + 1)]
    periods, parts, usage = [], [], []
    kinds = [
        (f"otp.{code}", json.dumps({"channel": code, "country": country, "status": "delivered"}))
        for code, countries in (("sms", 4), ("voice", 1), ("email", 1), ("whatsapp", 2))
        for country in COUNTRIES[:countries]
    ]
    number = 0
    for account in range(ACCOUNTS):
        subscription = str(new_id())
        for start, end in pairwise(months):
            number += 1
            periods.append((number, subscription, f"c{account}", f"Customer {account}", "INR"))
            parts.append(
                (number, number, str(version), "INR", start, end, "1", start, end, start, end)
            )
            usage += [
                (number, kind, 500, dice.randrange(1, 50_000_000_000)) for kind in range(len(kinds))
            ]
    return World(
        pl.DataFrame(periods, PERIODS, orient="row"),
        pl.DataFrame(schema=BILLED),
        pl.DataFrame(parts, PARTS, orient="row"),
        pl.DataFrame(usage, USAGE, orient="row"),
        pl.DataFrame([(number, *kind) for number, kind in enumerate(kinds)], KINDS, orient="row"),
    )


def _one_by_one(world: World, prices: Prices) -> tuple[dict[tuple[int, str], int], float]:
    """The lines of some periods by the rater alone, and the seconds it took."""
    (charges,) = prices.values()
    rows: dict[int, list[UsageRow]] = {}
    owners = dict(world.periods.select("period", "subscription_id").iter_rows())
    kinds = {kind: (event_type, json.loads(said)) for kind, event_type, said in
             world.kinds.iter_rows()}  # fmt: skip
    some = world.usage.filter(pl.col("part") <= ONE_BY_ONE)
    parts = world.parts.filter(pl.col("part") <= ONE_BY_ONE).rows(named=True)
    starts = {part["part"]: part["period_start"] for part in parts}
    for part, kind, count, micros in some.iter_rows():
        rows.setdefault(part, []).append(
            UsageRow(starts[part], *kinds[kind], count, Decimal(micros).scaleb(-6))
        )
    began = time.perf_counter()
    lines = {}
    for part in parts:
        period = Period(part["period_start"], part["period_end"])
        segment = Segment(period.start, period.end, charges)
        subscription = UUID(owners[part["period"]])
        rating = rate_period(subscription, period, [segment], rows[part["part"]], currency="INR")
        for line in rating.lines:
            lines[part["period"], line.line_ref.partition(":")[2]] = line.amount_minor
    return lines, time.perf_counter() - began


def main() -> None:
    """Build, measure, print."""
    version = new_id()
    prices, others = {version: _plan("0.1350")}, {version: _plan("0.1300")}
    world = _world(version)
    print(f"{ACCOUNTS} accounts, {MONTHS} months, {world.usage.height} rows of usage")
    billed = rate_frames(world.parts, world.usage, world.kinds, prices).lines
    expected, seconds = _one_by_one(world, prices)
    some = billed.filter(pl.col("period") <= ONE_BY_ONE)
    if {(period, rest): minor for period, rest, _, minor in some.iter_rows()} != expected:
        raise SystemExit("frames and rater do not agree")
    per_all = seconds * world.parts.height / ONE_BY_ONE
    print(f"period by period: {seconds / ONE_BY_ONE * 1e6:.0f} us each, so {per_all:.0f} s for all")
    world = replace(world, billed=billed.select(BILLED.keys()))
    runs = []
    for _ in range(3):
        began = time.perf_counter()
        found = simulate(world, prices, others)
        runs.append(time.perf_counter() - began)
    print(found.verdict)
    best = min(runs)
    print(f"simulation: {', '.join(f'{run:.2f}' for run in runs)} s; the best {best:.2f} s "
          f"(must {MUST_SECONDS:.0f} s, aim {AIM_SECONDS:.0f} s)")  # fmt: skip


if __name__ == "__main__":
    main()
