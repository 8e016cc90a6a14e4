"""Money as people read it; the grouping itself is `billing.formatting`'s."""

from decimal import Decimal, InvalidOperation

from billing.errors import FieldError, InvalidError
from billing.formatting import SYMBOLS, format_money, format_rated, group_western
from billing.money import WALLET_UNITS_LIMIT, currency, from_minor, round_half_up, to_minor

_LAKH, _CRORE = Decimal(10) ** 5, Decimal(10) ** 7
_COMPACT_INR = ((_CRORE, " Cr"), (_LAKH, " L"), (Decimal(1000), "k"))
_COMPACT_WESTERN = ((Decimal(10) ** 9, "B"), (Decimal(10) ** 6, "M"), (Decimal(1000), "k"))


def money(amount_minor: int, currency_code: str) -> str:
    """Minor units with symbol and grouping: `₹1,23,456.78`."""
    return format_money(amount_minor, currency_code).replace("-", "−")


def unit_price(amount: Decimal, currency_code: str) -> str:
    """A price with symbol and grouping, and with more decimals only where they say more."""
    symbol = SYMBOLS[currency_code] + ("\u00a0" if SYMBOLS[currency_code].isalpha() else "")
    return f"{symbol}{format_rated(amount, currency_code)}"


def typed_minor(text: str, code: str) -> int | None:
    """Minor units of what was typed, with or without grouping; None if it is no exact amount."""
    try:
        amount = Decimal(text.replace(",", "").strip().removeprefix(SYMBOLS[code]).strip())
    except InvalidOperation:
        return None
    if not amount.is_finite() or not 0 <= amount <= WALLET_UNITS_LIMIT:
        return None
    minor = to_minor(amount, code)
    return minor if from_minor(minor, code) == amount else None


def asked_minor(label: str, text: str, code: str, *, least: int = 1) -> int:
    """The same of a field that must have it.

    Raises:
        InvalidError: naming the field, if it is no exact amount or too little.
    """
    found = typed_minor(text, code)
    if found is None or found < least:
        raise InvalidError(
            "Enter amounts in digits, such as 50000.00, with no more decimals than the currency "
            "has.",
            fields=[FieldError(label, f"must be an amount of at least {money(least, code)}")],
        )
    return found


def wallet_money(amount_units: int, currency_code: str) -> str:
    """Wallet units to the currency's usual decimals.

    The finer rest is kept by the ledger and dropped here alone.
    """
    exponent = currency(currency_code).wallet_exponent
    return money(to_minor(Decimal(amount_units).scaleb(-exponent), currency_code), currency_code)


def exact_wallet_money(amount_units: int, currency_code: str) -> str:
    """Wallet units with every decimal that is not a trailing zero, for a ledger."""
    known = currency(currency_code)
    whole = wallet_money(amount_units, currency_code)
    finer = abs(amount_units) % known.units_per_minor
    if not finer:
        return whole
    minor = abs(amount_units) // known.units_per_minor
    base = money(-minor if amount_units < 0 else minor, currency_code)
    if amount_units < 0 and not minor:
        base = f"−{base}"
    digits = str(finer).zfill(known.wallet_exponent - known.minor_exponent).rstrip("0")
    return f"{base}{'' if known.minor_exponent else '.'}{digits}"


def signed(text: str) -> str:
    """With a plus sign, unless there is a minus already."""
    return text if text.startswith("−") else f"+{text}"


def compact_money(amount_minor: int, currency_code: str) -> str:
    """Short enough for an axis or a narrow card: `₹12.35 L`, `₹1.20 Cr`, `$3.41M`."""
    amount = from_minor(amount_minor, currency_code)
    symbol = SYMBOLS[currency_code] + ("\u00a0" if SYMBOLS[currency_code].isalpha() else "")
    sign = "−" if amount < 0 else ""
    steps = _COMPACT_INR if currency_code == "INR" else _COMPACT_WESTERN
    for size, suffix in steps:
        if abs(amount) >= size:
            short = f"{round_half_up(abs(amount) / size, 2):f}".rstrip("0").rstrip(".")
            return f"{sign}{symbol}{short}{suffix}"
    return f"{sign}{symbol}{round_half_up(abs(amount), 0):f}"


def count(number: int) -> str:
    """A count of events or things, grouped by threes."""
    return f"{'−' if number < 0 else ''}{group_western(str(abs(number)))}"


def percent(part: int, whole: int) -> str | None:
    """A share in percent with one decimal, or None of nothing."""
    if not whole:
        return None
    return f"{round_half_up(Decimal(100 * part) / whole, 1):f}%"


def change(now: int, before: int) -> str | None:
    """The change in percent with its sign, or None if there is nothing to compare with."""
    if before <= 0:
        return None
    difference = round_half_up(Decimal(100 * (now - before)) / before, 1)
    return f"{difference:+f}%"


def change_text(now: int, before: int) -> str | None:
    """The same for reading, with a real minus; metrics want an ASCII one to tell the direction."""
    found = change(now, before)
    return found.replace("-", "−") if found else None
