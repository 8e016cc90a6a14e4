"""Steps 1 to 3 of rating: what a charge counts, under which rates, in its units."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from billing.periods import Period
from billing.rating.adjustments.conversion import converted
from billing.rating.book import RateBook
from billing.rating.limits import Frame
from billing.rating.line import UnratedUsage
from billing.rating.match import counts
from billing.rating.measures import ADDITIVE, aggregated, reads_events, value_of
from billing.rating.plan import SUM, Charge, Rate, SingleEvent, UsageRow


@dataclass(slots=True)
class Measured:
    """Units and events of one rate in one segment."""

    rate: Rate
    quantity: Decimal = Decimal(0)
    event_count: int = 0
    events: list[SingleEvent] = field(default_factory=list)
    opens: bool = False
    """Whether it bills the first tier's flat amount, if the charge has no units in the period."""


def measure(
    frame: Frame, charge: Charge, days: Period, usage: Sequence[UsageRow]
) -> tuple[list[Measured], list[UnratedUsage]]:
    """What each rate measures, in the charge's units, and what is not billed.

    Raises:
        ValueError: if the charge needs every event, and the usage has only their sums.
    """
    measured: dict[str, Measured] = {}
    missed = []
    if charge.bills_zero and days.start == frame.period.start:
        rate = RateBook(charge.rates, frame.currency).find(days.start, {})
        if rate is not None:
            measured[rate.key] = Measured(rate, opens=True)
    for row, rate in counted_usage(charge, days, usage, frame.currency):
        said, silent = _parted(charge, row)
        if silent.event_count:
            missed.append(_missed(charge, silent))
            if not said.event_count:
                continue
        if rate is None:
            missed.append(_missed(charge, said))
            continue
        sums = measured.setdefault(rate.key, Measured(rate))
        sums.quantity += _units(charge, said)
        sums.event_count += said.event_count
        sums.events += said.events
    for sums in measured.values():
        if charge.aggregation not in ADDITIVE and sums.event_count:
            sums.quantity = aggregated(charge, sums.events)
        sums.quantity = converted(sums.quantity, charge.unit_divisor, charge.unit_rounding)
    return [measured[key] for key in sorted(measured)], missed


def counted_usage(
    charge: Charge, days: Period, usage: Iterable[UsageRow], currency: str
) -> Iterator[tuple[UsageRow, Rate | None]]:
    """The usage that a charge counts on some days, each row with the rate that it falls under."""
    rates = RateBook(charge.rates, currency)
    for row in usage:
        wanted = row.event_type == charge.event_type and row.day in days
        if wanted and counts(charge.event_filter, row.dimensions):
            yield row, rates.find(row.day, row.dimensions)


def _parted(charge: Charge, row: UsageRow) -> tuple[UsageRow, UsageRow]:
    """The events that say how much they are, with the sum of it, and those that do not."""
    if not reads_events(charge):
        return row, replace(row, event_count=0)
    if len(row.events) != row.event_count:
        raise ValueError(f"charge {charge.code} needs every event, not their sum")
    values = [value_of(charge, one.quantity, one.properties) for one in row.events]
    said = tuple(one for one, value in zip(row.events, values, strict=True) if value is not None)
    total = sum((value for value in values if isinstance(value, Decimal)), Decimal(0))
    silent = len(values) - len(said)
    return (
        replace(row, event_count=len(said), quantity=total, events=said),
        replace(row, event_count=silent, quantity=Decimal(0), events=()),
    )


def _units(charge: Charge, row: UsageRow) -> Decimal:
    """What events of a row add; their number, where they are not added up."""
    return row.quantity if charge.aggregation == SUM else Decimal(row.event_count)


def _missed(charge: Charge, row: UsageRow) -> UnratedUsage:
    """What has no rate, or does not say how much it is."""
    units = _units(charge, row)
    return UnratedUsage(charge.code, row.event_type, row.dimensions, row.event_count, units)
