"""How wide the columns of an invoice's lines are.

A drawing library that finds this out for itself lays every cell out twice more, which took a fifth
of the time of a page. Digits of the packaged fonts are all of one width, so it can be told instead.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from billing.formatting import format_amount, format_quantity, format_rate, format_rated
from billing.tax.model import TaxHead
from invoicing.document import DocumentLine, InvoiceDocument

COMPACT_FROM_LINES: Final = 7
COMPACT_FROM_MINOR: Final = 10**11
WIDE_UNIT: Final = 8
"""Letters above which a unit stands below its quantity."""
# Hundredths of a millimetre.
_PAGE: Final = 178_00
_PADDING: Final = 3_20
"""On both sides, with a little air."""
_HEADING: Final = 15_00
"""The longest word of any heading."""
_LEAST, _MOST = 30_00, 78_00
"""Of the description."""
_WIDTHS: Final = {",": 290, ".": 290, "-": 330, " ": 270, "–": 510}
"""In thousandths of the size a text is set in."""
_WIDE: Final = frozenset("mwMW%@")


def is_compact(document: InvoiceDocument) -> bool:
    """Whether the lines are set closer and smaller: many of them, or long amounts."""
    return len(document.lines) >= COMPACT_FROM_LINES or document.total_minor >= COMPACT_FROM_MINOR


def column_widths(
    document: InvoiceDocument, heads: Sequence[TaxHead], *, uniform: bool, discounted: bool
) -> list[str]:
    """Of every column in its order, as CSS lengths; empty if they are not to be told.

    Args:
        uniform: every head has one rate, which stands in its heading.
        discounted: there is a column of discounts.
    """
    size = 77 if is_compact(document) else 82
    code, hidden = document.currency, document.hidden_columns

    def wide(texts: Iterable[str], least: int = _HEADING) -> int:
        longest = max((_ems(text) for text in texts), default=0)
        # from thousandths of tenths of a point; an inch is 25.4 mm or 72 points
        return max(-(-longest * size * 2540 // 720_000) + _PADDING, least)

    def amounts(found: Iterable[int]) -> list[str]:
        return [format_amount(amount, code) for amount in found]

    lines, sections = document.lines, document.sections
    numbers: list[int] = []
    if "quantity" not in hidden:
        numbers.append(wide(text for line in lines for text in _quantity(line, code)))
    if "unit_price" not in hidden:
        numbers.append(wide(_price(line, code) for line in lines))
    if discounted:
        numbers.append(wide(amounts(-line.discount_minor for line in lines)))
    numbers.append(
        wide(
            amounts(
                [*(one.taxable_minor for one in lines), *(one.taxable_minor for one in sections)]
            )
        )
    )
    for head in heads:
        taxes = [tax for line in lines for tax in line.taxes if tax.head == head]
        rates = [] if uniform else [format_rate(tax.rate) for tax in taxes]
        numbers.append(wide([*amounts(tax.tax_minor for tax in taxes), *rates]))
    numbers.append(
        wide(amounts([*(one.total_minor for one in lines), *(one.total_minor for one in sections)]))
    )
    first = [wide([str(len(lines))], 0), wide((line.sac for line in lines), 0)]
    left = _PAGE - sum(first) - sum(numbers)
    if left < _LEAST:
        return []
    description = min(left, _MOST)
    more = (left - description) // len(numbers)
    found = [first[0], description, first[1], *(number + more for number in numbers)]
    return [f"{width // 100}.{width % 100:02}mm" for width in found]


def _quantity(line: DocumentLine, code: str) -> list[str]:
    number = format_quantity(line.quantity, code)
    return [f"{number} {line.unit}"] if len(line.unit) <= WIDE_UNIT else [number, line.unit]


def _price(line: DocumentLine, code: str) -> str:
    if line.unit_price is None:
        return line.price_note
    return format_rated(line.unit_price, code)


def _ems(text: str) -> int:
    """At least as wide as a text is, in the size it is set in."""
    return sum(_WIDTHS.get(letter) or _em(letter) for letter in text)


def _em(letter: str) -> int:
    if not letter.isascii():
        return 1200
    if letter.isdecimal():
        return 573
    if letter in _WIDE:
        return 980
    return 800 if letter.isupper() else 640
