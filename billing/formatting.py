"""How numbers and dates look on documents: Indian grouping for rupees, western for the rest."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from billing.money import currency, from_minor, round_half_up

SYMBOLS: Final = {"INR": "₹", "USD": "$", "IDR": "Rp"}

_MONTHS: Final = [
    "Jan",
    "Feb",
    "Mar",
    "Apr",
    "May",
    "Jun",
    "Jul",
    "Aug",
    "Sep",
    "Oct",
    "Nov",
    "Dec",
]
_QUANTITY_DECIMALS: Final = 6


def group_indian(digits: str) -> str:
    """Digits with commas after three and then every two: `12345678` is `1,23,45,678`."""
    head, tail = digits[:-3], digits[-3:]
    pairs = [head[max(0, end - 2) : end] for end in range(len(head), 0, -2)]
    return ",".join([*reversed(pairs), tail])


def group_western(digits: str) -> str:
    """Digits with a comma every three: `12345678` is `12,345,678`."""
    return f"{int(digits):,}"


def _grouped(amount: Decimal, currency_code: str) -> str:
    """An amount with all the decimals it has; the grouping is the currency's."""
    whole, _, fraction = f"{abs(amount):f}".partition(".")
    group = group_indian if currency_code == "INR" else group_western
    sign = "-" if amount < 0 else ""
    return f"{sign}{group(whole)}{'.' if fraction else ''}{fraction}"


def format_amount(amount_minor: int, currency_code: str) -> str:
    """Minor units as a plain number: 12345678 paise is `1,23,456.78`, rupiah have no decimals."""
    return _grouped(from_minor(amount_minor, currency_code), currency_code)


def format_money(amount_minor: int, currency_code: str) -> str:
    """The same with the currency's symbol: `₹1,23,456.78`, `$1,234.56`, `Rp 15,000`."""
    number = format_amount(abs(amount_minor), currency_code)
    symbol = SYMBOLS[currency_code]
    # A symbol made of letters needs air.
    gap = "\u00a0" if symbol.isalpha() else ""
    sign = "-" if amount_minor < 0 else ""
    return f"{sign}{symbol}{gap}{number}"


def format_rated(amount: Decimal, currency_code: str) -> str:
    """A price or rated amount: at least the document's decimals, more only where they say more."""
    exact = round_half_up(amount, currency(currency_code).wallet_exponent)
    whole, _, fraction = f"{exact:f}".partition(".")
    fraction = fraction.rstrip("0").ljust(currency(currency_code).minor_exponent, "0")
    return _grouped(Decimal(f"{whole}.{fraction}" if fraction else whole), currency_code)


def format_quantity(quantity: Decimal | int, currency_code: str) -> str:
    """A quantity with at most six decimals and no needless zeros, grouped like its amounts."""
    whole, _, fraction = f"{round_half_up(Decimal(quantity), _QUANTITY_DECIMALS):f}".partition(".")
    fraction = fraction.rstrip("0")
    return _grouped(Decimal(f"{whole}.{fraction}" if fraction else whole), currency_code)


def format_rate(percent: Decimal) -> str:
    """A tax rate without needless zeros: `9%`, `0.25%`."""
    text = f"{percent:f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text}%"


def format_date(day: date) -> str:
    """A day as `31 Mar 2026`, the same in every locale."""
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def format_period(start: date, end: date) -> str:
    """A half-open period of days as people say it: `1 May – 31 May 2026`, its last day included."""
    last = end - timedelta(days=1)
    if start == last:
        return format_date(start)
    first = format_date(start)
    if start.year == last.year:
        first = first.removesuffix(f" {start.year}")
    return f"{first} – {format_date(last)}"
