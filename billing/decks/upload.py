"""A deck's file: CSV with a line for each price, checked line by line.

Columns, in any order: `unit_price`, `currency` and those of `DECK_DIMENSIONS`; a dimension without
a column, or with `*` or nothing in its cell, is for any value.
"""

import csv
import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final

from billing.catalog.ambiguity import equal_matches
from billing.commands import canonical_json
from billing.decks.rates import named
from billing.decks.tables import DECK_DIMENSIONS
from billing.errors import FieldError, InvalidError
from billing.money import CURRENCIES
from billing.rating.cumulative import cumulative_price
from billing.rating.line import plain
from billing.rating.plan import PER_UNIT, Tier

MAX_ROWS: Final = 50_000
ANY: Final = "*"
_MOST_ERRORS: Final = 500

_VALUES: Final = {
    "country": (re.compile(r"[A-Z]{2}"), "two capital letters, such as IN"),
    "operator": (
        re.compile(r"[0-9]{5,6}|[A-Za-z][A-Za-z0-9_.-]{0,63}"),
        "an MCC and MNC such as 404-45, or a name as events have it",
    ),
    "channel": (re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}"), "a name such as sms"),
    "traffic_type": (re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}"), "a name such as otp"),
}
_MCC_MNC: Final = re.compile(r"([0-9]{3})-([0-9]{2,3})")
_PRICE: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,12})?")


@dataclass(frozen=True, slots=True)
class DeckPrice:
    """One line of a deck, whether it is stored or not."""

    currency: str
    values: tuple[str | None, ...]
    """Of the dimensions, in the order of `DECK_DIMENSIONS`; None is any."""
    unit_price: Decimal

    @property
    def match(self) -> Mapping[str, str]:
        """Dimension to exact value; an absent dimension matches anything."""
        return named(self.values)

    @property
    def key(self) -> tuple[str, tuple[str | None, ...]]:
        """What it is for: two versions differ in the price of this."""
        return self.currency, self.values


def read_deck(text: str) -> list[DeckPrice]:
    """The prices of a file.

    Raises:
        InvalidError: with everything that is wrong, by line and column.
    """
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff")), strict=True)
    try:
        columns = _columns(next(reader, []))
        prices: list[tuple[int, DeckPrice]] = []
        wrong: list[FieldError] = []
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            found, problems = _row(reader.line_num, columns, cells)
            wrong.extend(problems)
            if found is not None:
                prices.append((reader.line_num, found))
            if len(prices) > MAX_ROWS:
                raise _invalid([FieldError("csv", f"a deck has at most {MAX_ROWS} lines")])
    except csv.Error as error:
        raise _invalid([FieldError("csv", f"line {reader.line_num}: {error}")]) from None
    if not prices and not wrong:
        wrong.append(FieldError("csv", "there is no line with a price"))
    wrong.extend(_ambiguities(prices))
    if wrong:
        raise _invalid(wrong)
    return [price for _, price in prices]


def write_deck(prices: Sequence[DeckPrice]) -> str:
    """The file of these prices, as `read_deck` reads it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["currency", *DECK_DIMENSIONS, "unit_price"])
    for price in prices:
        values = (ANY if value is None else value for value in price.values)
        writer.writerow([price.currency, *values, plain(price.unit_price)])
    return out.getvalue()


def content_hash(prices: Sequence[DeckPrice]) -> str:
    """SHA-256 of the prices, whatever their order."""
    said = sorted(
        [price.currency, *map(str, price.values), plain(price.unit_price)] for price in prices
    )
    return hashlib.sha256(canonical_json(said).encode()).hexdigest()


def _columns(header: Sequence[str]) -> dict[str, int]:
    names = [name.strip().lower() for name in header]
    wrong = [
        FieldError("csv", f"there is no column {name}")
        for name in ("currency", "unit_price")
        if name not in names
    ]
    for position, name in enumerate(names):
        if name not in {"currency", "unit_price", *DECK_DIMENSIONS}:
            known = ", ".join(("currency", *DECK_DIMENSIONS, "unit_price"))
            wrong.append(FieldError("csv", f"column {name!r} is unknown; use {known}"))
        elif names.index(name) != position:
            wrong.append(FieldError("csv", f"column {name} is there twice"))
    if wrong:
        raise _invalid(wrong)
    return {name: position for position, name in enumerate(names)}


def _row(
    line: int, columns: Mapping[str, int], cells: Sequence[str]
) -> tuple[DeckPrice | None, list[FieldError]]:
    path = f"lines.{line}"
    if len(cells) != len(columns):
        return None, [FieldError(path, f"has {len(cells)} cells, not {len(columns)}")]
    cell = {name: cells[position].strip() for name, position in columns.items()}
    wrong: list[FieldError] = []
    values: list[str | None] = []
    for name in DECK_DIMENSIONS:
        value = _MCC_MNC.sub(r"\1\2", cell.get(name, "")) if name == "operator" else cell.get(name)
        if value in {None, "", ANY}:
            values.append(None)
            continue
        pattern, meant = _VALUES[name]
        if value is None or not pattern.fullmatch(value):
            wrong.append(FieldError(f"{path}.{name}", f"write {meant}, or {ANY}"))
        values.append(value)
    currency = cell["currency"].upper()
    if currency not in CURRENCIES:
        wrong.append(FieldError(f"{path}.currency", f"use one of {', '.join(sorted(CURRENCIES))}"))
        return None, wrong
    price, problem = _price(cell["unit_price"], currency)
    if problem is not None:
        wrong.append(FieldError(f"{path}.unit_price", problem))
    if wrong or price is None:
        return None, wrong
    return DeckPrice(currency, tuple(values), price), []


def _price(text: str, currency: str) -> tuple[Decimal | None, str | None]:
    """A price that a wallet can be debited exactly, or what is wrong with it."""
    if not _PRICE.fullmatch(text):
        return None, "write a price such as 0.1175, not negative"
    try:
        price = Decimal(text)
        cumulative_price(
            PER_UNIT, [Tier(None, price)], free_units=Decimal(0), package_size=None, code=currency
        )
    except (InvalidOperation, ValueError):
        places = CURRENCIES[currency].wallet_exponent
        return None, f"{currency} prices have at most {places} decimals, and are below 9000"
    return price, None


def _ambiguities(prices: Sequence[tuple[int, DeckPrice]]) -> Iterator[FieldError]:
    for second, first in equal_matches([price for _, price in prices]).items():
        line, earlier = prices[second][0], prices[first][0]
        yield FieldError(
            f"lines.{line}", f"an event could match this and line {earlier} equally well"
        )


def _invalid(wrong: Sequence[FieldError]) -> InvalidError:
    more = len(wrong) - _MOST_ERRORS
    return InvalidError(
        f"The deck has {len(wrong)} errors; nothing was stored."
        + (f" The first {_MOST_ERRORS} are listed." if more > 0 else ""),
        code="deck_invalid",
        fields=list(wrong[:_MOST_ERRORS]),
    )
