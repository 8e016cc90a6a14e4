"""Money, exports, tables and texts, without a browser."""

import csv
import io
from datetime import date
from decimal import Decimal

import pytest

from billing.rating.line import ADJUSTMENTS
from console.components.csv_export import safe_cell, to_csv
from console.components.filters import period_of
from console.components.invoice import CHANGES
from console.components.money import (
    change,
    compact_money,
    exact_wallet_money,
    money,
    percent,
    signed,
    wallet_money,
)
from console.components.status import stage, wallet_status
from console.components.tables import Column, table_html
from console.components.text import plain


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\x00=1", " =1", "\ufeff=1"]
)
def test_text_that_a_spreadsheet_would_run_gets_an_apostrophe(text: str) -> None:
    cell = safe_cell(text)
    assert cell.startswith("'")
    assert "\x00" not in cell


@pytest.mark.parametrize(
    ("value", "cell"),
    [(-12, "-12"), (Decimal("-0.5"), "-0.5"), (None, ""), ("Acme", "Acme"), ("a=b", "a=b")],
)
def test_numbers_and_harmless_text_stay_as_they_are(value: object, cell: str) -> None:
    assert safe_cell(value) == cell


def test_an_export_reads_back_with_its_titles_made_safe_too() -> None:
    content = to_csv(["=title", "n"], [("=cmd|' /C calc'!A0", 3), ('quo"te, comma', -4)])
    assert content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))
    assert rows == [["'=title", "n"], ["'=cmd|' /C calc'!A0", "3"], ['quo"te, comma', "-4"]]


@pytest.mark.parametrize(
    ("minor", "code", "text"),
    [
        (123456789, "INR", "₹12,34,567.89"),
        (-123456, "INR", "−₹1,234.56"),
        (123456, "USD", "$1,234.56"),
        (15000, "IDR", "Rp\u00a015,000"),
    ],
)
def test_money_is_grouped_as_its_currency_is(minor: int, code: str, text: str) -> None:
    assert money(minor, code) == text


@pytest.mark.parametrize(
    ("minor", "code", "text"),
    [
        (12_34_567_89, "INR", "₹12.35 L"),
        (2_00_00_000_00, "INR", "₹2 Cr"),
        (99_999_00, "INR", "₹100k"),
        (999_00, "INR", "₹999"),
        (-1_234_567_89, "USD", "−$1.23M"),
        (48_250_000, "IDR", "Rp\u00a048.25M"),
    ],
)
def test_short_money_uses_the_steps_people_count_in(minor: int, code: str, text: str) -> None:
    assert compact_money(minor, code) == text


@pytest.mark.parametrize(
    ("units", "code", "text"),
    [
        (12_345_678, "INR", "₹12.345678"),
        (-12_345_600, "INR", "−₹12.3456"),
        (-5, "INR", "−₹0.000005"),
        (12_340_000, "INR", "₹12.34"),
        (15_000_5000, "IDR", "Rp\u00a015,000.5"),
        (0, "USD", "$0.00"),
    ],
)
def test_a_ledger_shows_every_decimal_that_says_something(units: int, code: str, text: str) -> None:
    assert exact_wallet_money(units, code) == text


def test_a_balance_is_rounded_once_half_away_from_zero() -> None:
    assert wallet_money(184_250_437_500, "INR") == "₹1,84,250.44"
    assert wallet_money(-5_000, "INR") == "−₹0.01"


def test_changes_and_shares_say_nothing_of_nothing() -> None:
    assert change(5, 0) is None
    assert change(110, 100) == "+10.0%"
    assert percent(1, 0) is None
    assert percent(1, 3) == "33.3%"
    assert signed(money(-100, "INR")) == "−₹1.00"
    assert signed(money(100, "INR")) == "+₹1.00"


def test_a_table_escapes_what_it_is_given() -> None:
    html = table_html("<caption>", [Column("<b>")], [("<script>alert(1)</script>",)])
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "<b>" not in html


def test_markdown_in_a_name_stays_text() -> None:
    assert plain("$1 [x](y) **b** :red[z]") == ("\\$1 \\[x\\]\\(y\\) \\*\\*b\\*\\* \\:red\\[z\\]")


def test_a_status_always_has_a_word_beside_its_colour() -> None:
    assert wallet_status("low").text == "▲ Low"
    assert stage("draft", "in_review").label == "In review"
    assert stage("paid", "approved").label == "Paid"
    assert wallet_status("frozen_by_court").label == "Frozen by court"


def test_periods_are_half_open_and_end_with_the_last_day_that_has_data() -> None:
    last = date(2026, 10, 15)
    assert period_of("Last 7 days", last) == (date(2026, 10, 9), date(2026, 10, 16))
    assert period_of("This month", last) == (date(2026, 10, 1), date(2026, 10, 16))
    assert period_of("Last month", last) == (date(2026, 9, 1), date(2026, 10, 1))


def test_everything_that_changes_a_line_has_words() -> None:
    assert CHANGES.keys() == ADJUSTMENTS
