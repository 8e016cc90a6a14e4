"""What one plan version changes against another, path by path."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from billing.catalog.tables import Charge, PlanVersion, Rate


@dataclass(frozen=True, slots=True)
class Change:
    """One difference; what is added has no `before`, what is removed no `after`."""

    path: str
    kind: Literal["added", "removed", "changed"]
    before: str | None
    after: str | None


def diff_versions(older: PlanVersion, newer: PlanVersion) -> list[Change]:
    """Every difference between two versions with their charges loaded, sorted by path.

    Charges are the same if their code is, rates if their currency and match are, so that a new
    order of either is no change.
    """
    before, after = _facts(older), _facts(newer)
    return [
        Change(path, _kind(path, before, after), before.get(path), after.get(path))
        for path in sorted(before.keys() | after.keys())
        if before.get(path) != after.get(path)
    ]


def _kind(
    path: str, before: Mapping[str, str], after: Mapping[str, str]
) -> Literal["added", "removed", "changed"]:
    if path not in before:
        return "added"
    return "changed" if path in after else "removed"


def _facts(version: PlanVersion) -> dict[str, str]:
    facts = {
        "grace_days": str(version.grace_days),
        "interval": version.interval.value,
        "anchor": version.anchor.value,
        "trial_days": str(version.trial_days),
    }
    for charge in version.charges:
        path = f"charges.{charge.code}"
        facts |= _charge_facts(path, charge)
        for rate in charge.rates:
            facts |= _rate_facts(f"{path}.rates.{_rate_name(rate)}", rate)
    return facts


def _charge_facts(path: str, charge: Charge) -> dict[str, str]:
    return {
        f"{path}.name": charge.name,
        f"{path}.item": charge.item.code,
        f"{path}.price_model": charge.price_model.value,
        f"{path}.rate_deck": charge.rate_deck.code if charge.rate_deck else "none",
        f"{path}.prorated": str(charge.prorated).lower(),
        f"{path}.timing": charge.timing.value,
        f"{path}.free_units": _plain(charge.free_units),
        f"{path}.free_pool": charge.free_pool or "none",
        f"{path}.dearest_of": charge.dearest_of or "none",
        f"{path}.free_events": str(charge.free_events),
        f"{path}.unit_divisor": _optional(charge.unit_divisor),
        f"{path}.unit_rounding": charge.unit_rounding.value if charge.unit_rounding else "none",
        f"{path}.tier_mode": charge.tier_mode.value if charge.tier_mode else "none",
        f"{path}.bills_zero": str(charge.bills_zero).lower(),
        f"{path}.discount_percent": _plain(charge.discount_percent),
        f"{path}.package_size": _optional(charge.package_size),
        f"{path}.match_dimensions": ", ".join(sorted(charge.match_dimensions)),
        **{
            f"{path}.limits.{limit.currency}.{name}": _optional(getattr(limit, name))
            for limit in charge.limits
            for name in ("minimum", "maximum")
        },
    }


def _rate_facts(path: str, rate: Rate) -> dict[str, str]:
    facts = {}
    for tier in rate.tiers:
        here = f"{path}.tiers.{tier.ordinal}"
        facts[f"{here}.up_to"] = "open" if tier.up_to is None else _plain(tier.up_to)
        facts[f"{here}.unit_price"] = _plain(tier.unit_price)
        facts[f"{here}.flat_amount"] = _plain(tier.flat_amount)
        for name in ("package_size", "event_minimum", "event_maximum"):
            if (value := getattr(tier, name)) is not None:
                facts[f"{here}.{name}"] = _plain(value)
    return facts


def _rate_name(rate: Rate) -> str:
    matched = ",".join(f"{name}={value}" for name, value in sorted(rate.match.items()))
    return f"{rate.currency}[{matched}]"


def _optional(number: Decimal | None) -> str:
    return "none" if number is None else _plain(number)


def _plain(number: Decimal) -> str:
    return format(number.normalize() + 0, "f")
