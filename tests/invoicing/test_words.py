"""Amounts in words."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoicing.words import amount_in_words, cardinal

TEENS = """Zero One Two Three Four Five Six Seven Eight Nine Ten Eleven Twelve Thirteen Fourteen
Fifteen Sixteen Seventeen Eighteen Nineteen"""
TENS = "Twenty Thirty Forty Fifty Sixty Seventy Eighty Ninety"
SMALL = {word: value for value, word in enumerate(TEENS.split())}
SMALL |= {word: value * 10 for value, word in enumerate(TENS.split(), start=2)}
SCALES = {
    "Thousand": 10**3,
    "Lakh": 10**5,
    "Crore": 10**7,
    "Million": 10**6,
    "Billion": 10**9,
    "Trillion": 10**12,
}


def number_of(words: str) -> int:
    """Read words back: scales inside a crore are finished before the crore multiplies them."""
    total = group = 0
    for word in words.split():
        if word == "Hundred":
            group *= 100
        elif word == "Crore":
            total, group = (total + group) * SCALES[word], 0
        elif word in SCALES:
            total, group = total + group * SCALES[word], 0
        else:
            group += SMALL[word]
    return total + group


@pytest.mark.parametrize(
    ("amount_minor", "currency", "words"),
    [
        (0, "INR", "Indian Rupees Zero Only"),
        (1, "INR", "Indian Rupees Zero and One Paisa Only"),
        (100, "INR", "Indian Rupee One Only"),
        (101_50, "INR", "Indian Rupees One Hundred One and Fifty Paise Only"),
        (11_800_000, "INR", "Indian Rupees One Lakh Eighteen Thousand Only"),
        (2_500_000_00, "INR", "Indian Rupees Twenty Five Lakh Only"),
        (100 * 10**7, "INR", "Indian Rupees One Crore Only"),
        (100 * 10**12, "INR", "Indian Rupees One Lakh Crore Only"),
        (-150, "INR", "Minus Indian Rupee One and Fifty Paise Only"),
        (
            1_234_56,
            "USD",
            "US Dollars One Thousand Two Hundred Thirty Four and Fifty Six Cents Only",
        ),
        (101, "USD", "US Dollar One and One Cent Only"),
        (15_000_000, "IDR", "Indonesian Rupiah Fifteen Million Only"),
    ],
)
def test_an_amount_reads_as_people_write_it(amount_minor: int, currency: str, words: str) -> None:
    assert amount_in_words(amount_minor, currency) == words


def test_an_unknown_currency_has_no_words() -> None:
    with pytest.raises(KeyError):
        amount_in_words(100, "EUR")


@given(st.integers(0, 10**17), st.sampled_from(["INR", "USD", "IDR"]))
def test_words_read_back_to_the_number(number: int, currency: str) -> None:
    if currency != "INR":
        number %= 10**15
    words = cardinal(number, currency)
    assert re.fullmatch(r"[A-Z][a-z]+( [A-Z][a-z]+)*", words)
    assert number_of(words) == number


@given(st.integers(0, 10**11), st.sampled_from(["INR", "USD"]))
def test_minor_units_are_named_exactly_when_there_are_some(amount: int, currency: str) -> None:
    words = amount_in_words(amount, currency)
    assert (" and " in words) is (amount % 100 != 0)
