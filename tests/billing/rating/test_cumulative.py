"""What a count costs, in integers."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.money import to_units
from billing.rating.cumulative import CumulativePrice, cumulative_price, in_micros
from billing.rating.plan import GRADUATED, PACKAGE, PER_UNIT, Tier
from billing.rating.prices.graduated import graduated_amount
from billing.rating.prices.package import package_amount

counts = st.integers(0, 60_000_000)


def decimals(high: str, places: int = 6, low: str = "0") -> st.SearchStrategy[Decimal]:
    return st.decimals(Decimal(low), Decimal(high), places=places, allow_nan=False)


@st.composite
def tiers(draw: st.DrawFn) -> list[Tier]:
    bounds = sorted(draw(st.sets(decimals("40", low="0.5"), max_size=4)))
    return [Tier(bound, draw(decimals("9")), draw(decimals("50"))) for bound in (*bounds, None)]


def price_of(model: str, steps: list[Tier], free: str = "0", size: str = "0") -> CumulativePrice:
    return cumulative_price(
        model, steps, free_units=Decimal(free), package_size=Decimal(size), code="INR"
    )


@given(tiers(), counts)
def test_a_count_costs_what_its_tiers_cost_rounded_once(steps: list[Tier], count: int) -> None:
    units = Decimal(count).scaleb(-6)
    assert price_of(GRADUATED, steps).at(count) == to_units(graduated_amount(units, steps), "INR")


@given(decimals("9"), st.sampled_from(["1", "2.5", "100", "0.000001"]), counts)
def test_a_count_costs_the_packages_it_begins(price: Decimal, size: str, count: int) -> None:
    exact = package_amount(Decimal(count).scaleb(-6), Decimal(size), price)
    assert price_of(PACKAGE, [Tier(None, price)], size=size).at(count) == to_units(exact, "INR")


@given(tiers(), st.sampled_from([GRADUATED, PACKAGE]), counts, st.integers(0, 9_000_000))
def test_no_event_costs_more_than_the_most_it_may(
    steps: list[Tier], model: str, before: int, quantity: int
) -> None:
    price = price_of(model, steps, free="3.5", size="2.5")
    assert 0 <= price.between(before, quantity) <= price.most(quantity)


def test_free_units_come_first() -> None:
    price = price_of(PER_UNIT, [Tier(None, Decimal("0.12"))], free="2")
    assert [price.at(count * 1_000_000) for count in range(5)] == [0, 0, 0, 120_000, 240_000]


@pytest.mark.parametrize(
    ("tier", "free", "reason"),
    [
        (Tier(None, Decimal("0.0000001")), "0", "whole number of wallet units"),
        (Tier(None, Decimal(9000)), "0", "below 9000000000"),
        (Tier(None, Decimal(1)), "0.0000001", "at most 6 decimals"),
        (Tier(None, Decimal(1)), "9007199255", "below 9,007 million"),
    ],
)
def test_what_integers_cannot_say_is_refused(tier: Tier, free: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        price_of(PER_UNIT, [tier], free)


def test_a_count_beyond_its_bounds_is_refused() -> None:
    price = price_of(PER_UNIT, [Tier(None, Decimal(1))])
    with pytest.raises(OverflowError, match="count"):
        price.between(2**53 - 1, 1)
    with pytest.raises(OverflowError, match="wallet"):
        price_of(PER_UNIT, [Tier(None, Decimal(8999))]).at(in_micros(Decimal(2_000_000)))
