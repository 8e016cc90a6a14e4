"""A rated line, the name it keeps when it is rated again, and the words it carries."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal, localcontext
from typing import Final
from uuid import UUID

from billing.money import from_minor, round_half_up
from billing.periods import Period
from billing.rating.match import DIMENSIONS
from billing.rating.plan import COMMITMENT, Tier
from billing.rating.prices.graduated import TierShare
from billing.rating.prices.percentage import Percentage

AMOUNT_DECIMALS: Final = 18
"""Decimals a rated amount is stored with: quantities have 6, prices 12, so products are exact."""
DISCOUNT: Final = "discount"
MAXIMUM: Final = "maximum"
DEAREST: Final = "dearest"
"""What is taken off a charge because another one of its group comes to more."""
EVENT_BOUNDS: Final = "event_bounds"
BILLED_AHEAD: Final = "billed_ahead"
CREDIT: Final = "credit"
KEPT: Final = "kept"
"""Names the line, and its entry, of credit that no line could use."""
COUPON: Final = "coupon"
ADJUSTED: Final = "adjusted"
"""Of a line that bills what an issued one came to more."""
MINIMUM: Final = "minimum"
"""The rate key of a line that makes up for what is missing to a charge's minimum."""
ADJUSTMENTS: Final = frozenset(
    {
        DISCOUNT, MAXIMUM, DEAREST, EVENT_BOUNDS, MINIMUM, COMMITMENT, BILLED_AHEAD, COUPON,
        CREDIT, KEPT, ADJUSTED,
    }
)  # fmt: skip
"""What may stand among the tiers of a line beside them; who shows lines has words for each."""


@dataclass(frozen=True, slots=True)
class RatedLine:
    """What one charge bills for one segment of one period under one rate."""

    line_ref: str
    charge_code: str
    rate_id: UUID | None
    item_code: str
    sac: str
    description: str
    period: Period
    """The billing period."""
    covered: Period
    """The days of it that the line is for: those of its segment."""
    quantity: Decimal
    """All units, the free ones too."""
    free_quantity: Decimal
    event_count: int
    unit: str
    unit_price: Decimal | None
    """None where tiers or packages make the price differ from unit to unit."""
    currency: str
    amount: Decimal
    """In the currency, to `AMOUNT_DECIMALS`."""
    amount_minor: int
    """The exact amount, rounded once."""
    is_recurring: bool
    tier_breakdown: tuple[Mapping[str, str | None], ...]


@dataclass(frozen=True, slots=True)
class UnratedUsage:
    """What a charge counts but none of its rates matches: never billed as zero.

    A flat charge without a price in the account's currency is one too, under its own code.
    """

    charge_code: str
    event_type: str
    dimensions: Mapping[str, str | None]
    event_count: int
    quantity: Decimal


def line_ref(
    subscription_id: UUID, period_start: date, line_start: date, charge_code: str, rate_key: str
) -> str:
    """The line's stable name: rating the same thing again gives the same one.

    Args:
        line_start: first day of the segment within the period.
        rate_key: what names the rate within its charge.
    """
    return f"{subscription_id}:{period_start:%Y%m%d}:{line_start:%Y%m%d}:{charge_code}:{rate_key}"


def describe(
    name: str,
    match: Mapping[str, str],
    *,
    covered: Period,
    period: Period,
    part: tuple[int, int] = (1, 1),
) -> str:
    """The line's words: the charge, what its rate is for, and its days if not the whole period.

    Args:
        part: billed days and days of a full period, for prorated prices.
    """
    details = [f"{key} {match[key]}" for key in DIMENSIONS if key in match]
    if covered != period:
        details.append(f"{covered.start} to {covered.end - timedelta(days=1)}")
    if part[0] != part[1]:
        details.append(f"{part[0]} of {part[1]} days")
    return f"{name} ({', '.join(details)})" if details else name


def plain(value: Decimal) -> str:
    """A decimal as SQL's `trim_scale(x)::text` writes it: no exponent, no trailing zeros."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text


def breakdown_entry(share: TierShare) -> dict[str, str | None]:
    """One tier of a line as it is stored and shown."""
    entry = {
        "from": plain(share.above),
        "to": None if share.up_to is None else plain(share.up_to),
        "units": plain(share.units),
        "unit_price": plain(share.unit_price),
        "flat_amount": plain(share.flat_amount),
        "amount": plain(share.amount),
    }
    if share.package_size is not None:
        entry["package_size"] = plain(share.package_size)
    return entry


def percentage_entries(
    found: Percentage, charged: Decimal, tier: Tier
) -> list[dict[str, str | None]]:
    """A percentage as a line shows it: like one tier, and beside it what the least and most change.

    Args:
        charged: the part of the amounts that is not free.
    """
    if not found.charged_events:
        return []
    fixed = tier.flat_amount * found.charged_events
    plain_amount = found.amount - found.bounded
    share = TierShare(Decimal(0), None, charged, tier.unit_price, fixed, plain_amount)
    entries = [breakdown_entry(share) | {"events": str(found.charged_events)}]
    if found.bounded:
        entries.append(adjustment_entry(EVENT_BOUNDS, found.bounded))
    return entries


def sum_of(entries: Iterable[Mapping[str, str | None]]) -> Decimal:
    """What the entries of a line come to, exact."""
    with localcontext() as context:
        context.prec = 60
        return sum((Decimal(entry["amount"] or 0) for entry in entries), Decimal(0))


def adjustment_entry(kind: str, amount: Decimal, **details: Decimal) -> dict[str, str | None]:
    """What a line has beside its tiers, among them: what it changes, and why."""
    said = {name: plain(value) for name, value in details.items()}
    return {"kind": kind, **said, "amount": plain(amount)}


def stored_amount(amount: Decimal) -> Decimal:
    """A rated amount as it is stored: exact for usage, cut far below a minor unit for days."""
    return round_half_up(amount, AMOUNT_DECIMALS)


def reduced(line: RatedLine, kind: str, minor: int, **details: str) -> RatedLine:
    """A line with so many minor units taken off, and an entry among its tiers that says why."""
    if not minor:
        return line
    amount = from_minor(minor, line.currency)
    with localcontext() as context:
        context.prec = 60
        left = line.amount - amount
    return replace(
        line,
        amount=left,
        amount_minor=line.amount_minor - minor,
        unit_price=None,
        tier_breakdown=(*line.tier_breakdown, adjustment_entry(kind, -amount) | details),
    )
