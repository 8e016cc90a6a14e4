"""Prices in advance and coupons, worked out by hand."""

from datetime import date
from decimal import Decimal
from uuid import UUID

import pytest

from billing.periods import Period
from billing.rating.ahead import Ahead, BilledAhead
from billing.rating.coupon import Coupon
from billing.rating.plan import ADVANCE, FLAT, Charge, Rate, Segment, Tier
from billing.rating.rater import rate_period

JUNE = Period(date(2026, 6, 1), date(2026, 7, 1))
JULY = Period(date(2026, 7, 1), date(2026, 8, 1))
UPGRADE = date(2026, 6, 16)
SMALL, LARGE = UUID(int=1), UUID(int=2)


def fee(price: str, **other: object) -> Charge:
    """A prorated fee in advance."""
    rates = (Rate(1, "INR", (Tier(None, flat_amount=Decimal(price)),)),)
    return Charge(
        code="fee", name="Fee", item_code="fee", sac="998313", unit="month", price_model=FLAT,
        rates=rates, prorated=True, timing=ADVANCE, **other,  # type: ignore[arg-type]
    )  # fmt: skip


def small(until: date | None) -> Segment:
    return Segment(JUNE.start, until, (fee("310"),), plan_id=SMALL)


def large() -> Segment:
    return Segment(UPGRADE, None, (fee("620"),), plan_id=LARGE)


def billed(
    segments: list[Segment], ahead: Ahead, coupon: Coupon | None = None
) -> list[tuple[str, int]]:
    """Each line by its days, charge and rate, with its amount in paise."""
    rating = rate_period(
        UUID(int=9), JUNE, segments, [], currency="INR", ahead=ahead, coupon=coupon
    )
    return [(line.line_ref.split(":", 2)[2], line.amount_minor) for line in rating.lines]


def test_the_first_invoice_bills_its_period_and_the_next() -> None:
    assert billed([small(None)], Ahead(JULY, JULY)) == [
        ("20260601:fee:1", 310_00),
        ("20260701:fee:1", 310_00),
    ]


def test_a_period_that_was_billed_leaves_only_the_next() -> None:
    june = (BilledAhead("20260601:fee:1", 310_00, 310_00),)
    assert billed([small(None)], Ahead(JULY, JULY, june)) == [("20260701:fee:1", 310_00)]


@pytest.mark.parametrize(
    ("paid", "credit"),
    [(310_00, 155_00), (279_00, 139_50)],
    ids=["in full", "less a tenth"],
)
def test_an_upgrade_is_charged_and_credited_by_days_and_by_what_was_paid(
    paid: int, credit: int
) -> None:
    june = (BilledAhead("20260601:fee:1", 310_00, paid),)
    assert billed([small(UPGRADE), large()], Ahead(JULY, JULY, june)) == [
        ("20260616:fee:1", 310_00 - credit),
        ("20260701:fee:1", 620_00),
    ]


def test_credit_that_no_line_can_use_is_kept_and_used_later() -> None:
    june = (BilledAhead("20260601:fee:1", 310_00, 310_00),)
    ended = rate_period(
        UUID(int=9), JUNE, [small(UPGRADE)], [], currency="INR", ahead=Ahead(billed=june)
    )
    (kept,) = ended.lines
    assert (kept.charge_code, kept.amount_minor) == ("credit", 0)
    assert kept.tier_breakdown == ({"kind": "kept", "left": "155", "amount": "0"},)
    assert billed([small(None)], Ahead(JULY, JULY, kept_minor=400_00)) == [
        ("20260601:fee:1", 0),
        ("20260701:fee:1", 220_00),
    ]


@pytest.mark.parametrize(
    ("coupon", "amounts"),
    [
        (Coupon("TENTH", Decimal("12.5"), None), [271_25, 271_25]),
        (Coupon("FIXED", None, 400_00), [0, 220_00]),
        (Coupon("OTHER", Decimal(50), None, frozenset({LARGE})), [310_00, 310_00]),
        (Coupon("OWN", Decimal(100), None, frozenset({SMALL})), [0, 0]),
    ],
    ids=lambda one: one.code if isinstance(one, Coupon) else "",
)
def test_a_coupon_makes_the_lines_of_its_plans_smaller(coupon: Coupon, amounts: list[int]) -> None:
    found = billed([small(None)], Ahead(JULY, JULY), coupon)
    assert [amount for _, amount in found] == amounts


def test_two_periods_invoiced_together_do_not_bill_each_other_ahead() -> None:
    whole = Period(date(2026, 6, 16), date(2026, 6, 30))
    first = Period(JUNE.start, whole.start)
    rating = rate_period(
        UUID(int=9), first, [small(None)], [], currency="INR", whole=JUNE,
        ahead=Ahead(whole, whole),
    )  # fmt: skip
    assert [line.covered for line in rating.lines] == [first]
