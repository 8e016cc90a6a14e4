"""Numbers and dates as documents show them."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.formatting import (
    format_amount,
    format_date,
    format_money,
    format_period,
    format_quantity,
    format_rate,
    format_rated,
    group_indian,
)
from billing.money import from_minor

CURRENCIES = st.sampled_from(["INR", "USD", "IDR"])


@pytest.mark.parametrize(
    ("amount_minor", "currency", "shown"),
    [
        (12_345_678, "INR", "₹1,23,456.78"),
        (99_999, "INR", "₹999.99"),
        (10**9, "INR", "₹1,00,00,000.00"),
        (-5, "INR", "-₹0.05"),
        (0, "INR", "₹0.00"),
        (123_456_789, "USD", "$1,234,567.89"),
        (15_000_000, "IDR", "Rp\u00a015,000,000"),
    ],
)
def test_money_is_grouped_the_way_its_country_does(
    amount_minor: int, currency: str, shown: str
) -> None:
    assert format_money(amount_minor, currency) == shown


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [
        ("0.1175", "INR", "0.1175"),
        ("12.5", "INR", "12.50"),
        ("100000", "INR", "1,00,000.00"),
        ("1E+3", "USD", "1,000.00"),
        ("412.50", "IDR", "412.5"),
        ("950", "IDR", "950"),
        ("21836.142", "INR", "21,836.142"),
    ],
)
def test_prices_keep_the_decimals_that_matter(amount: str, currency: str, shown: str) -> None:
    assert format_rated(Decimal(amount), currency) == shown


@pytest.mark.parametrize(
    ("quantity", "shown"),
    [("482150.000000", "4,82,150"), ("1.5", "1.5"), ("0.000001", "0.000001"), ("1E+5", "1,00,000")],
)
def test_quantities_have_no_needless_zeros(quantity: str, shown: str) -> None:
    assert format_quantity(Decimal(quantity), "INR") == shown


@pytest.mark.parametrize(
    ("rate", "shown"), [("9", "9%"), ("9.00", "9%"), ("0.250", "0.25%"), ("40", "40%"), ("0", "0%")]
)
def test_rates_have_no_needless_zeros(rate: str, shown: str) -> None:
    assert format_rate(Decimal(rate)) == shown


def test_dates_and_periods_name_the_month_and_include_their_last_day() -> None:
    assert format_date(date(2026, 3, 31)) == "31 Mar 2026"
    assert format_period(date(2026, 5, 1), date(2026, 6, 1)) == "1 May – 31 May 2026"
    assert format_period(date(2026, 12, 1), date(2027, 2, 1)) == "1 Dec 2026 – 31 Jan 2027"
    assert format_period(date(2026, 5, 1), date(2026, 5, 2)) == "1 May 2026"


@given(st.integers(-(10**15), 10**15), CURRENCIES)
def test_an_amount_reads_back_to_its_minor_units(amount_minor: int, currency: str) -> None:
    shown = format_amount(amount_minor, currency)
    assert Decimal(shown.replace(",", "")) == from_minor(amount_minor, currency)


@given(st.decimals(0, 10**9, places=6), CURRENCIES)
def test_a_quantity_reads_back_exactly(quantity: Decimal, currency: str) -> None:
    assert Decimal(format_quantity(quantity, currency).replace(",", "")) == quantity


@given(st.integers(0, 10**18))
def test_indian_groups_are_pairs_before_the_last_three(number: int) -> None:
    *pairs, last = group_indian(str(number)).split(",")
    assert int("".join([*pairs, last])) == number
    assert all(len(pair) == 2 for pair in pairs[1:])
    assert not pairs or len(last) == 3


@given(st.dates(date(2017, 7, 1), date(2099, 12, 30)), st.integers(1, 400))
def test_a_period_is_shown_by_its_first_and_last_day(start: date, days: int) -> None:
    shown = format_period(start, start + timedelta(days=days))
    assert shown.startswith(format_date(start)[:6].strip())
    assert shown.endswith(format_date(start + timedelta(days=days - 1)))
