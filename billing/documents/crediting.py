"""How much of an invoice line a credit note takes back, and its tax.

A note carries the heads and rates of the invoice (CGST Rules r.53), and all notes together never
take back more than the invoice said, per line and per head.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from billing.errors import FieldError, InvalidError
from billing.formatting import format_money
from billing.money import split
from billing.tax.model import TaxHead


@dataclass(frozen=True, slots=True)
class TaxPart:
    """One head of tax; `rate` in percent."""

    head: TaxHead
    rate: Decimal
    tax_minor: int


@dataclass(frozen=True, slots=True)
class LineLeft:
    """What notes have left of an invoice line, in minor units."""

    line_ref: str
    taxable_minor: int
    taxes: tuple[TaxPart, ...]


@dataclass(frozen=True, slots=True)
class CreditedLine:
    """What a note takes of a line."""

    line_ref: str
    taxable_minor: int
    taxes: tuple[TaxPart, ...]

    @property
    def tax_minor(self) -> int:
        """Tax of all heads."""
        return sum(part.tax_minor for part in self.taxes)


def left_of(
    line_ref: str,
    taxable_minor: int,
    taxes: Sequence[TaxPart],
    taken: Sequence[tuple[int, Sequence[TaxPart]]],
) -> LineLeft:
    """A line less what earlier notes took of it."""
    left_by_head = {part.head: part.tax_minor for part in taxes}
    for taken_minor, parts in taken:
        taxable_minor -= taken_minor
        for part in parts:
            left_by_head[part.head] -= part.tax_minor
    return LineLeft(
        line_ref,
        taxable_minor,
        tuple(TaxPart(part.head, part.rate, left_by_head[part.head]) for part in taxes),
    )


def credit(left: LineLeft, amount_minor: int, currency: str, *, with_tax: bool) -> CreditedLine:
    """Take an amount of what is left of a line.

    The tax is that part of the remaining tax which the amount is of the remaining value. So the
    last note takes exactly what is left, and equal heads stay equal.

    Args:
        amount_minor: exclusive of tax.
        with_tax: False after the time limit for notes.

    Raises:
        InvalidError: if it is more than what is left.
    """
    if not 0 < amount_minor <= left.taxable_minor:
        most = format_money(left.taxable_minor, currency)
        raise InvalidError(
            f"Of line {left.line_ref} {most} is left to credit.",
            code="more_than_line",
            fields=[FieldError("lines", f"at most {most} of {left.line_ref}")],
            details={"left_minor": left.taxable_minor},
        )
    if not with_tax:
        return CreditedLine(left.line_ref, amount_minor, ())
    rest_minor = left.taxable_minor - amount_minor
    taxes = tuple(
        TaxPart(part.head, part.rate, split(part.tax_minor, [amount_minor, rest_minor])[0])
        for part in left.taxes
    )
    return CreditedLine(left.line_ref, amount_minor, taxes)
