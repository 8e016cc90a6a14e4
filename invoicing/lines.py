"""The lines of an invoice as documents show them: price, tiers, what changes them as a whole."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from billing.invoices.tables import InvoiceLine
from billing.money import plain, to_minor
from billing.rating.line import (
    ADJUSTED,
    BILLED_AHEAD,
    COUPON,
    CREDIT,
    DEAREST,
    DISCOUNT,
    EVENT_BOUNDS,
    KEPT,
    MAXIMUM,
    MINIMUM,
)
from billing.rating.plan import COMMITMENT
from invoicing import document as doc
from invoicing.parts import taxes_on_line

_DISCOUNTS: Final = {DISCOUNT, COUPON}


def document_line(line: InvoiceLine, currency: str) -> doc.DocumentLine:
    """A line as a document shows it; its value is what is left after discounts (r.46(k))."""
    taxes = taxes_on_line(line.taxes)
    return doc.DocumentLine(
        ordinal=line.ordinal,
        line_ref=line.line_ref,
        description=line.description,
        sac=line.sac,
        period_start=line.period_start,
        period_end=line.period_end,
        quantity=plain(line.quantity),
        unit=line.unit,
        unit_price=None if line.unit_price is None else plain(line.unit_price),
        price_note=price_note(line),
        taxable_minor=line.amount_minor,
        discount_minor=_discount_minor(line, currency),
        taxes=taxes,
        total_minor=line.amount_minor + sum(tax.tax_minor for tax in taxes),
        tiers=tuple(_tier(tier) for tier in _steps(line)) if _is_tiered(line) else (),
    )


def _discount_minor(line: InvoiceLine, currency: str) -> int:
    """What discounts known at the supply took off (s.15(3)(a)).

    A coupon comes last and in whole minor units. A percentage comes before the other changes of a
    line: where there are some, what it was of is no value that the line could show.
    """
    changes = [step for step in line.tier_breakdown if "kind" in step]
    shown = _DISCOUNTS if {step["kind"] for step in changes} <= _DISCOUNTS else {COUPON}
    off = sum((Decimal(step["amount"]) for step in changes if step["kind"] in shown), Decimal(0))
    return to_minor(-off, currency)


def _is_tiered(line: InvoiceLine) -> bool:
    return line.unit_price is None and bool(_steps(line)) and not _in_packages(line)


def _in_packages(line: InvoiceLine) -> bool:
    steps = _steps(line)
    return len(steps) == 1 and "package_size" in steps[0]


def _has_one_price(line: InvoiceLine) -> bool:
    """Whether each unit costs the same before something changes the line as a whole."""
    first, *others = _steps(line) or [{"events": "0"}]
    is_open = not others and "events" not in first and first["to"] is None
    return is_open and not Decimal(first["from"]) and not Decimal(first["flat_amount"])


def _steps(line: InvoiceLine) -> list[dict[str, Any]]:
    """The tiers of a line, without what changes the line as a whole."""
    return [step for step in line.tier_breakdown if "kind" not in step]


ADJUSTMENT_WORDS: Final = {
    DISCOUNT: "less {percent} %",
    MAXIMUM: "up to the maximum",
    DEAREST: "only {charge} is billed",
    EVENT_BOUNDS: "within bounds for each event",
    MINIMUM: "up to the minimum of {due}",
    COMMITMENT: "up to the commitment of {due}",
    BILLED_AHEAD: "less what was billed in advance",
    COUPON: "less coupon {code}",
    CREDIT: "less credit",
    KEPT: "{left} of credit left",
    ADJUSTED: "{billed} was billed, {rated} is due",
}
"""What changes a line as a whole, as documents say it."""


def price_note(line: InvoiceLine) -> str:
    """What stands where one price of a unit cannot."""
    if line.unit_price is not None:
        return ""
    said = []
    if _in_packages(line):
        tier = _steps(line)[0]
        said = [f"{tier['unit_price']} per {tier['package_size']}"]
    elif _has_one_price(line):
        said = [str(_steps(line)[0]["unit_price"])]
    elif _steps(line):
        said = ["tiered"]
    changes = (step for step in line.tier_breakdown if "kind" in step)
    said += [ADJUSTMENT_WORDS[step["kind"]].format(**step) for step in changes]
    return ", ".join(said)


def _tier(tier: Mapping[str, Any]) -> doc.TierRow:
    flat = plain(Decimal(tier["flat_amount"]))
    return doc.TierRow(
        from_quantity=_first_unit(Decimal(tier["from"])),
        up_to=None if tier["to"] is None else plain(Decimal(tier["to"])),
        quantity=plain(Decimal(tier["units"])),
        unit_price=plain(Decimal(tier["unit_price"])),
        flat=flat or None,
        amount=plain(Decimal(tier["amount"])),
    )


def _first_unit(above: Decimal) -> Decimal:
    """What a reader calls the start of a tier: above 100 begins with unit 101."""
    return plain(above + 1 if above == above.to_integral_value() else above)
