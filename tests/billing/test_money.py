"""Money: one rounding rule, the same in Python and PostgreSQL, and splits that add up."""

from decimal import Decimal

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.money import (
    CURRENCIES,
    WALLET_UNITS_LIMIT,
    from_minor,
    from_units,
    minor_to_units,
    round_half_up,
    split,
    to_minor,
    to_units,
)

AMOUNTS = st.decimals(
    min_value=-(10**15), max_value=10**15, places=12, allow_nan=False, allow_infinity=False
)
TIES = st.integers(-(10**12), 10**12).map(lambda n: Decimal(2 * n + 1) / 2)
WEIGHTS = st.lists(
    st.decimals(min_value=0, max_value=10**9, places=6, allow_nan=False), min_size=1, max_size=30
)


@settings(max_examples=300)
@given(total=st.integers(-(10**15), 10**15), weights=WEIGHTS)
def test_the_parts_of_a_split_add_up_and_are_within_one_of_their_share(
    total: int, weights: list[Decimal]
) -> None:
    parts = split(total, weights)
    assert len(parts) == len(weights)
    assert sum(parts) == total
    whole = sum(weights)
    if whole:
        for part, weight in zip(parts, weights, strict=True):
            assert abs(part * whole - total * weight) < whole


@given(total=st.integers(0, 10**12), count=st.integers(1, 50))
def test_equal_weights_differ_by_one_at_most_and_the_first_get_more(total: int, count: int) -> None:
    parts = split(total, [1] * count)
    assert max(parts) - min(parts) <= 1
    assert parts == sorted(parts, reverse=True)
    assert parts == split(total, [0] * count)


@pytest.mark.parametrize("weights", [[], [1, -1]])
def test_no_parts_and_negative_parts_are_refused(weights: list[int]) -> None:
    with pytest.raises(ValueError, match=r"no parts|negative"):
        split(100, weights)


@pytest.mark.parametrize(
    ("amount", "exponent", "rounded"),
    [
        ("0.125", 2, "0.13"),
        ("-0.125", 2, "-0.13"),
        ("2.5", 0, "3"),
        ("-2.5", 0, "-3"),
        ("0.1249999999", 2, "0.12"),
        ("1E+3", 2, "1000.00"),
    ],
)
def test_halves_go_away_from_zero(amount: str, exponent: int, rounded: str) -> None:
    assert str(round_half_up(Decimal(amount), exponent)) == rounded


def test_python_and_postgresql_round_alike(postgres_server: str) -> None:
    with psycopg.connect(postgres_server) as connection:

        @settings(max_examples=300, deadline=None)
        @given(
            amounts=st.lists(st.one_of(AMOUNTS, TIES), min_size=1, max_size=50),
            exponent=st.integers(0, 8),
        )
        def alike(amounts: list[Decimal], exponent: int) -> None:
            rows = connection.execute(
                "SELECT round(amount, %s) FROM unnest(%s::numeric[]) WITH ORDINALITY AS "
                "given(amount, position) ORDER BY position",
                (exponent, amounts),
            )
            assert [row[0] for row in rows] == [
                round_half_up(amount, exponent) for amount in amounts
            ]

        alike()


@given(minor=st.integers(-(10**9), 10**9), code=st.sampled_from(sorted(CURRENCIES)))
def test_minor_units_and_wallet_units_come_back_unchanged(minor: int, code: str) -> None:
    assert to_minor(from_minor(minor, code), code) == minor
    units = minor_to_units(minor, code)
    assert to_units(from_units(units, code), code) == units
    assert from_units(units, code) == from_minor(minor, code)


@given(amount=AMOUNTS, code=st.sampled_from(sorted(CURRENCIES)))
def test_rounding_to_minor_units_moves_an_amount_by_half_a_unit_at_most(
    amount: Decimal, code: str
) -> None:
    off = abs(from_minor(to_minor(amount, code), code) - amount)
    assert off * 2 <= Decimal(1).scaleb(-CURRENCIES[code].minor_exponent)


def test_a_wallet_never_holds_what_a_double_cannot() -> None:
    just_below = from_units(WALLET_UNITS_LIMIT - 1, "INR")
    assert to_units(just_below, "INR") == WALLET_UNITS_LIMIT - 1
    for amount in (just_below + Decimal("0.000001"), -just_below - Decimal("0.000001")):
        with pytest.raises(OverflowError):
            to_units(amount, "INR")
