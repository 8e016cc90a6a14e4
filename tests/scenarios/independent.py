"""What a month must come to, worked out a second time by the plainest means.

It reads what was sent, who sent it and what the plan says, and nothing else: no SQL, no rating, tax
or wallet code of the product. It goes through the events one at a time, and is as slow and obvious
as it can be, so that a person can check it with a pencil.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_FLOOR, Decimal
from zoneinfo import ZoneInfo

from billing.demo.catalogue import ITEMS, ChargeSpec, PlanSpec, RateSpec
from billing.demo.merchants import SUPPLIER, Merchant
from billing.demo.timeline import Correction, Delivery
from billing.demo.traffic import UsageEvent

DOCUMENT_DECIMALS = {"INR": 2, "USD": 2, "IDR": 0}
WALLET_DECIMALS = {"INR": 6, "USD": 6, "IDR": 4}
GST_PERCENT = Decimal(18)


@dataclass
class Line:
    """One line of an invoice."""

    charge: str
    country: str | None
    quantity: Decimal
    amount: int
    taxes: dict[str, int] = field(default_factory=dict)


@dataclass
class Month:
    """All that a month of one merchant comes to; amounts in the smallest coin of its currency."""

    lines: list[Line]
    taxable: int
    tax: int
    total: int
    debited_units: int
    """What the events alone took from a wallet."""
    usage_revenue: int
    mrr: int


def work_out(
    merchant: Merchant, plan: PlanSpec, sent: Iterable[Delivery | Correction], month: date
) -> Month:
    """Count, price and tax a month's messages.

    Args:
        sent: everything that was sent, in that order.
        month: first day of a month in which the merchant was subscribed all the time.
    """
    counted = [event for event in final_events(sent) if is_in_month(event, merchant.zone, month)]
    lines: list[Line] = []
    debited = Decimal(0)
    usage_revenue = mrr = 0
    for charge in plan.charges:
        if charge.price_model == "flat":
            fee = Decimal(charge.rates[0].tiers[0].flat_amount)
            lines.append(Line(charge.code, None, Decimal(1), coins(fee, merchant.currency)))
            mrr += coins(fee, merchant.currency)
            continue
        for rate in charge.rates:
            mine = [event for event in counted if rate_for(charge, event) is rate]
            if not mine:
                continue
            quantity = sum((Decimal(event.quantity) for event in mine), Decimal(0))
            amount = coins(price(quantity, rate), merchant.currency)
            lines.append(Line(charge.code, rate.match.get("country"), quantity, amount))
            usage_revenue += amount
            for event in mine:
                exact = event.quantity * Decimal(rate.tiers[0].unit_price)
                debited += half_up(exact, WALLET_DECIMALS[merchant.currency])
    for line in lines:
        line.taxes = taxes_of(line.amount, merchant)
    taxable = sum(line.amount for line in lines)
    tax = sum(sum(line.taxes.values()) for line in lines)
    units = debited * 10 ** WALLET_DECIMALS[merchant.currency]
    return Month(lines, taxable, tax, taxable + tax, int(units), usage_revenue, mrr)


def final_events(sent: Iterable[Delivery | Correction]) -> list[UsageEvent]:
    """Each event once, as the last word on it has it; those taken back are gone."""
    events: dict[str, UsageEvent] = {}
    for message in sent:
        event_id = message.event.event_id
        if isinstance(message, Delivery):
            if event_id not in events:
                events[event_id] = message.event
        elif message.status is None:
            del events[event_id]
        else:
            events[event_id] = events[event_id].with_status(message.status)
    return list(events.values())


def is_in_month(event: UsageEvent, zone: str, month: date) -> bool:
    """Whether the merchant's own calendar shows that month when the message was sent."""
    day = event.occurred_at.astimezone(ZoneInfo(zone)).date()
    return (day.year, day.month) == (month.year, month.month)


def rate_for(charge: ChargeSpec, event: UsageEvent) -> RateSpec | None:
    """The rate of the event's country, or else the rate for everywhere."""
    item = next(item for item in ITEMS if item.code == charge.item)
    if item.event_type != event.event_type:
        return None
    if event.dimensions["status"] not in {"delivered", "sent"}:
        return None
    for rate in charge.rates:
        if rate.match == {"country": event.dimensions["country"]}:
            return rate
    for rate in charge.rates:
        if rate.match == {}:
            return rate
    raise AssertionError(f"{charge.code} has no price for {event.dimensions['country']}")


def price(quantity: Decimal, rate: RateSpec) -> Decimal:
    """Go up the tiers: each unit costs what the tier it falls into says."""
    total = Decimal(0)
    below = Decimal(0)
    for tier in rate.tiers:
        top = quantity if tier.up_to is None else min(quantity, Decimal(tier.up_to))
        if top > below:
            total += (top - below) * Decimal(tier.unit_price)
            below = top
    return total


def taxes_of(amount: int, merchant: Merchant) -> dict[str, int]:
    """Half and half within the seller's State, whole across States, nothing across the border."""
    if merchant.tax_kind in {"overseas", "sez_unit"}:
        return {}
    if merchant.place.state_code == SUPPLIER.place.state_code:
        half = whole_coins(amount * GST_PERCENT / 2 / 100)
        return {"CGST": half, "SGST": half}
    return {"IGST": whole_coins(amount * GST_PERCENT / 100)}


def half_up(amount: Decimal, decimals: int) -> Decimal:
    """Round an amount that is not negative; a half goes up."""
    shifted = amount * Decimal(10) ** decimals + Decimal("0.5")
    return shifted.to_integral_value(ROUND_FLOOR) / Decimal(10) ** decimals


def whole_coins(amount: Decimal) -> int:
    """The same, to a whole number."""
    return int(half_up(amount, 0))


def coins(amount: Decimal, currency: str) -> int:
    """An amount in the smallest coin that documents show."""
    return whole_coins(amount * 10 ** DOCUMENT_DECIMALS[currency])
