"""How documents put into words what no single price of a unit says."""

from decimal import Decimal
from typing import Any

import pytest

from billing.invoices.tables import InvoiceLine
from billing.rating.line import ADJUSTMENTS
from invoicing.lines import ADJUSTMENT_WORDS, document_line, price_note

TIER = {
    "from": "0", "to": None, "units": "5", "unit_price": "2", "flat_amount": "0", "amount": "10",
}  # fmt: skip
TENTH = {"kind": "discount", "percent": "10", "amount": "-1.234"}
COUPON = {"kind": "coupon", "code": "AUTUMN", "amount": "-1.25"}


@pytest.mark.parametrize(
    ("breakdown", "note"),
    [
        ([TIER, {"kind": "discount", "percent": "12.5", "amount": "-1"}], "2, less 12.5 %"),
        ([TIER | {"to": "9"}, COUPON], "tiered, less coupon AUTUMN"),
        ([TIER | {"flat_amount": "1"}, COUPON], "tiered, less coupon AUTUMN"),
        ([TIER | {"from": "10"}, COUPON], "tiered, less coupon AUTUMN"),
        ([TIER | {"events": "4"}, COUPON], "tiered, less coupon AUTUMN"),
        ([TIER | {"package_size": "100"}, COUPON], "2 per 100, less coupon AUTUMN"),
        (
            [{"kind": "billed_ahead", "amount": "-3"}, COUPON, {"kind": "credit", "amount": "-1"}],
            "less what was billed in advance, less coupon AUTUMN, less credit",
        ),
        (
            [{"kind": "commitment", "due": "7000", "billed": "1", "amount": "6999"}, COUPON],
            "up to the commitment of 7000, less coupon AUTUMN",
        ),
        ([{"kind": "kept", "left": "155", "amount": "0"}], "155 of credit left"),
    ],
)
def test_what_changes_a_line_is_said_in_place_of_its_price(
    breakdown: list[dict[str, Any]], note: str
) -> None:
    assert price_note(InvoiceLine(unit_price=None, tier_breakdown=breakdown)) == note
    assert price_note(InvoiceLine(unit_price=Decimal(2), tier_breakdown=breakdown)) == ""


@pytest.mark.parametrize(
    ("changes", "discount_minor"),
    [
        ([], 0),
        ([COUPON], 125),
        ([TENTH, COUPON], 248),
        ([TENTH, {"kind": "maximum", "amount": "-2"}, COUPON], 125),
    ],
)
def test_discounts_known_at_the_supply_stand_before_the_value(
    changes: list[dict[str, Any]], discount_minor: int
) -> None:
    line = InvoiceLine(
        ordinal=1,
        line_ref="one",
        description="SMS",
        sac="998413",
        quantity=Decimal(5),
        unit="message",
        unit_price=None,
        amount_minor=875,
        tier_breakdown=[TIER, *changes],
        taxes=[],
    )

    shown = document_line(line, "INR")

    assert (shown.discount_minor, shown.taxable_minor) == (discount_minor, 875)


def test_everything_that_changes_a_line_has_words() -> None:
    assert ADJUSTMENT_WORDS.keys() == ADJUSTMENTS
