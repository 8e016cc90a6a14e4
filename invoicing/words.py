"""Amounts in words, as invoices in India carry them.

Rupees count in lakh and crore (one crore crore is written as such), dollars and rupiah in
thousands and millions.
"""

from dataclasses import dataclass
from typing import Final

from num2words import num2words

from billing.money import currency

_CRORE: Final = 10**7


@dataclass(frozen=True, slots=True)
class _Names:
    one: str
    many: str
    minor_one: str
    minor_many: str


_NAMES: Final = {
    "INR": _Names("Indian Rupee", "Indian Rupees", "Paisa", "Paise"),
    "USD": _Names("US Dollar", "US Dollars", "Cent", "Cents"),
    "IDR": _Names("Indonesian Rupiah", "Indonesian Rupiah", "Sen", "Sen"),
}


def amount_in_words(amount_minor: int, currency_code: str) -> str:
    """An amount in words: 12345650 paise gives `Indian Rupees One Lakh Twenty Three Thousand Four
    Hundred Fifty Six and Fifty Paise Only`.

    Args:
        amount_minor: minor units of the currency; negative amounts begin with `Minus`.
    """
    names = _NAMES[currency_code]
    per_unit = 10 ** currency(currency_code).minor_exponent
    whole, minor = divmod(abs(amount_minor), per_unit)
    sign = "Minus " if amount_minor < 0 else ""
    text = f"{sign}{names.one if whole == 1 else names.many} {cardinal(whole, currency_code)}"
    if minor:
        unit = names.minor_one if minor == 1 else names.minor_many
        text += f" and {cardinal(minor, currency_code)} {unit}"
    return f"{text} Only"


def cardinal(number: int, currency_code: str) -> str:
    """A whole number in capitalised words, in the counting system of the currency.

    Args:
        number: zero or more.
    """
    words = _indian(number) if currency_code == "INR" else _plain(number, "en")
    return words.title()


def _indian(number: int) -> str:
    """Words in lakh and crore; above a thousand crore the crores are counted themselves."""
    crores, rest = divmod(number, _CRORE)
    if not crores:
        return _plain(rest, "en_IN")
    text = f"{_indian(crores)} crore"
    return f"{text} {_plain(rest, 'en_IN')}" if rest else text


def _plain(number: int, language: str) -> str:
    text = str(num2words(number, lang=language))
    words = text.replace(",", " ").replace("-", " ").split()
    return " ".join(word for word in words if word != "and")
