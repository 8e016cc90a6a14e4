"""What the demo sells: items, plans, and what each message costs the seller to deliver.

Prices are in the currency named beside them, per message, exclusive of tax. They are invented, and
of the size that Indian, American and Indonesian buyers of one-time passwords know.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from billing.money import round_half_up

COUNTED_STATUSES: Final = ("delivered", "sent")
"""A failed message is not billed, one whose receipt is still out is not billed yet."""


@dataclass(frozen=True, slots=True)
class Item:
    """A billable item; without an event type it recurs."""

    code: str
    name: str
    unit: str
    sac: str
    event_type: str | None = None


@dataclass(frozen=True, slots=True)
class TierSpec:
    """Units up to and including `up_to` at that price; None is open."""

    up_to: str | None
    unit_price: str = "0"
    flat_amount: str = "0"


@dataclass(frozen=True, slots=True)
class RateSpec:
    """Tiers for events whose dimensions equal `match`."""

    tiers: tuple[TierSpec, ...]
    match: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChargeSpec:
    """One priced item of a plan."""

    code: str
    item: str
    name: str
    price_model: str
    rates: tuple[RateSpec, ...]
    prorated: bool = False
    match_dimensions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlanSpec:
    """An offer in one currency."""

    code: str
    name: str
    currency: str
    charges: tuple[ChargeSpec, ...]


ITEMS: Final = (
    Item("platform", "Authentication platform, monthly", "month", "998315"),
    Item("otp-sms", "One-time passwords by SMS", "message", "998429", "otp.sms"),
    Item("otp-whatsapp", "One-time passwords by WhatsApp", "message", "998429", "otp.whatsapp"),
    Item("otp-email", "One-time passwords by e-mail", "message", "998429", "otp.email"),
    Item("otp-voice", "One-time passwords by voice call", "call", "998429", "otp.voice"),
)


def _flat(amount: str) -> ChargeSpec:
    rate = RateSpec((TierSpec(None, flat_amount=amount),))
    return ChargeSpec("platform", "platform", "Platform fee", "flat", (rate,), prorated=True)


def _per_unit(code: str, name: str, elsewhere: str, **by_country: str) -> ChargeSpec:
    rates = [RateSpec((TierSpec(None, price),), {"country": c}) for c, price in by_country.items()]
    rates.append(RateSpec((TierSpec(None, elsewhere),)))
    return ChargeSpec(
        code, f"otp-{code}", name, "per_unit", tuple(rates), match_dimensions=("country",)
    )


def _graduated(
    code: str, name: str, elsewhere: str, domestic: Sequence[TierSpec], **by_country: str
) -> ChargeSpec:
    rates = [RateSpec(tuple(domestic), {"country": "IN"})]
    rates += [RateSpec((TierSpec(None, price),), {"country": c}) for c, price in by_country.items()]
    rates.append(RateSpec((TierSpec(None, elsewhere),)))
    return ChargeSpec(
        code, f"otp-{code}", name, "graduated", tuple(rates), match_dimensions=("country",)
    )


STARTER: Final = PlanSpec(
    "starter",
    "Starter, prepaid",
    "INR",
    (
        _flat("999"),
        _per_unit("sms", "SMS", "3.90", IN="0.22", AE="1.85", US="0.68", SG="2.95"),
        _per_unit("whatsapp", "WhatsApp", "1.90", IN="0.145", AE="1.35", US="0.35"),
        _per_unit("email", "E-mail", "0.02"),
        _per_unit("voice", "Voice call", "2.40", IN="0.30"),
    ),
)
GROWTH: Final = PlanSpec(
    "growth",
    "Growth, postpaid",
    "INR",
    (
        _flat("14999"),
        _graduated(
            "sms",
            "SMS",
            "3.60",
            (
                TierSpec("25000", "0.20"),
                TierSpec("75000", "0.175"),
                TierSpec(None, "0.15"),
            ),
            AE="1.70",
            US="0.62",
            SG="2.70",
        ),
        _per_unit("whatsapp", "WhatsApp", "1.75", IN="0.13", AE="1.20", US="0.32"),
        _per_unit("email", "E-mail", "0.02"),
        _per_unit("voice", "Voice call", "2.20", IN="0.28"),
    ),
)
ENTERPRISE: Final = PlanSpec(
    "enterprise",
    "Enterprise, postpaid",
    "INR",
    (
        _flat("74999"),
        _graduated(
            "sms",
            "SMS",
            "3.20",
            (
                TierSpec("200000", "0.16"),
                TierSpec("500000", "0.145"),
                TierSpec(None, "0.125"),
            ),
            AE="1.55",
            US="0.55",
            SG="2.45",
        ),
        _per_unit("whatsapp", "WhatsApp", "1.55", IN="0.115", AE="1.10", US="0.28"),
        _per_unit("email", "E-mail", "0.015"),
        _per_unit("voice", "Voice call", "1.95", IN="0.25"),
    ),
)
GLOBAL_USD: Final = PlanSpec(
    "global-usd",
    "Global, US dollars",
    "USD",
    (
        _flat("249"),
        _per_unit("sms", "SMS", "0.0450", US="0.0075", GB="0.0380", IN="0.0032"),
        _per_unit("whatsapp", "WhatsApp", "0.0210", US="0.0042", IN="0.0019"),
        _per_unit("email", "E-mail", "0.0004"),
        _per_unit("voice", "Voice call", "0.0350", US="0.0130"),
    ),
)
NUSANTARA_IDR: Final = PlanSpec(
    "nusantara-idr",
    "Nusantara, rupiah, prepaid",
    "IDR",
    (
        _flat("1500000"),
        _per_unit("sms", "SMS", "780", ID="350", SG="690"),
        _per_unit("whatsapp", "WhatsApp", "620", ID="415"),
        _per_unit("email", "E-mail", "9.5"),
        _per_unit("voice", "Voice call", "990", ID="650"),
    ),
)
PLANS: Final = (STARTER, GROWTH, ENTERPRISE, GLOBAL_USD, NUSANTARA_IDR)

FX: Final[Mapping[str, Sequence[str]]] = {
    "USD": ("87.3150", "87.9425", "88.4100", "88.6875"),
    "IDR": ("0.005312", "0.005341", "0.005368", "0.005377"),
}
"""Rupees per unit on the first day of each of the four months."""

VENDOR_COSTS: Final[Mapping[str, Mapping[str, str]]] = {
    "otp.sms": {
        "IN": "0.109",
        "AE": "1.18",
        "US": "0.43",
        "SG": "1.92",
        "GB": "2.35",
        "ID": "1.31",
    },
    "otp.whatsapp": {
        "IN": "0.094",
        "AE": "0.88",
        "US": "0.24",
        "SG": "1.12",
        "GB": "1.21",
        "ID": "1.52",
    },
    "otp.email": {"IN": "0.0035"},
    "otp.voice": {
        "IN": "0.165",
        "AE": "1.42",
        "US": "0.71",
        "SG": "1.60",
        "GB": "1.75",
        "ID": "2.35",
    },
}
"""Rupees a vendor asks for one message on its primary route; e-mail costs the same everywhere."""

_ROUTE_COST: Final = {
    "direct": Decimal("0.94"),
    "primary": Decimal("1.00"),
    "backup": Decimal("1.22"),
}


def plan(code: str) -> PlanSpec:
    """The plan of that code.

    Raises:
        StopIteration: if the demo has none.
    """
    return next(spec for spec in PLANS if spec.code == code)


def entry_price(spec: PlanSpec, event_type: str, country: str) -> Decimal:
    """The price of the first message of a period, in the plan's currency; before any tier."""
    item = next(item.code for item in ITEMS if item.event_type == event_type)
    charge = next(charge for charge in spec.charges if charge.item == item)
    named = [rate for rate in charge.rates if rate.match.get("country") == country]
    return Decimal((named or [charge.rates[-1]])[0].tiers[0].unit_price)


def vendor_cost(event_type: str, country: str, route: str) -> Decimal:
    """What a vendor charges the seller for one message, in rupees, to six decimals."""
    costs = VENDOR_COSTS[event_type]
    return round_half_up(Decimal(costs.get(country, costs["IN"])) * _ROUTE_COST[route], 6)
