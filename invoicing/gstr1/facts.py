"""What a return is made of: the documents of one registration and month, in paise.

Everything here was frozen when the documents were issued; nothing reads the masters again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

from billing.errors import FieldError, InvalidError
from billing.tax import rules

NIL_RATED: Final = "nil"
"""What the tax decision calls a line without tax by its nature."""


class PaperKind(StrEnum):
    """The documents that state a supply."""

    INVOICE = "INV"
    CREDIT_NOTE = "CRN"
    DEBIT_NOTE = "DBN"

    @property
    def sign(self) -> int:
        """-1 where the document takes back."""
        return -1 if self is PaperKind.CREDIT_NOTE else 1


@dataclass(frozen=True, slots=True)
class Amounts:
    """A value and its tax by head, in paise; SGST holds UTGST too, as on the portal."""

    taxable: int = 0
    igst: int = 0
    cgst: int = 0
    sgst: int = 0

    def __add__(self, other: "Amounts") -> "Amounts":
        return Amounts(
            self.taxable + other.taxable,
            self.igst + other.igst,
            self.cgst + other.cgst,
            self.sgst + other.sgst,
        )

    def __sub__(self, other: "Amounts") -> "Amounts":
        return self + other.times(-1)

    def times(self, factor: int) -> "Amounts":
        """The same, as often; -1 turns it round."""
        return Amounts(
            self.taxable * factor, self.igst * factor, self.cgst * factor, self.sgst * factor
        )

    @property
    def tax(self) -> int:
        """Tax of all heads."""
        return self.igst + self.cgst + self.sgst

    def __bool__(self) -> bool:
        return any((self.taxable, self.igst, self.cgst, self.sgst))


@dataclass(frozen=True, slots=True)
class Line:
    """One line; `rate` in percent over all heads."""

    sac: str
    rate: Decimal
    amounts: Amounts
    nil_rated: bool = False


@dataclass(frozen=True, slots=True)
class Paper:
    """An invoice or a note."""

    kind: PaperKind
    number: str
    issue_date: date
    decided: str
    """The table that was decided for the supply when it was invoiced: `b2b R`, `exp WOPAY`, ..."""
    pos: str
    is_inter: bool
    ctin: str | None
    value: int
    """With tax, in paise."""
    lines: tuple[Line, ...]
    original_value: int = 0
    """Of a note: the value of the invoice it corrects."""
    original_date: date | None = None

    @property
    def total(self) -> Amounts:
        """All lines, with the sign of the document."""
        return sum((line.amounts for line in self.lines), Amounts()).times(self.kind.sign)


@dataclass(frozen=True, slots=True)
class Issued:
    """A number that was given; `nature` is the portal's code for the kind of document."""

    nature: int
    number: str
    is_cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Lot:
    """An advance that tax was collected on."""

    wallet: str
    """Whose: account and currency."""
    number: str
    day: date
    at: datetime
    """When it was posted, which orders it among what was taken."""
    pos: str
    is_inter: bool
    rate: Decimal
    tax_minor: int
    """Tax in minor units of the wallet's currency."""
    amounts: Amounts


class DrawKind(StrEnum):
    """Why an advance is used up."""

    INVOICE = "invoice"
    REFUND = "refund"


@dataclass(frozen=True, slots=True)
class Draw:
    """Tax on advances that an invoice used, or that went back, in the wallet's minor units."""

    wallet: str
    number: str
    day: date
    at: datetime
    kind: DrawKind
    tax_minor: int
    of: tuple[str, ...] = ()
    """Receipt vouchers it takes from first."""


@dataclass(frozen=True, slots=True)
class ReturnFacts:
    """All that the return of a registration and month is made of.

    `lots` and `draws` reach back to the beginning, because an advance may be older than the month.
    """

    gstin: str
    month: date
    """Its first day."""
    papers: tuple[Paper, ...] = ()
    issued: tuple[Issued, ...] = ()
    lots: tuple[Lot, ...] = field(default=(), repr=False)
    draws: tuple[Draw, ...] = field(default=(), repr=False)


def month_of(written: str) -> date:
    """The first day of a month that is written like `2026-10`.

    Raises:
        InvalidError: if it is written otherwise.
    """
    try:
        if len(written) == 7:
            return date.fromisoformat(f"{written}-01")
    except ValueError:
        pass
    raise InvalidError(
        "A month is written like 2026-10.",
        code="month",
        fields=[FieldError("month", "write it like 2026-10")],
    )


def first_of_month(day: date) -> date:
    """The month a day lies in, by its first day."""
    return day.replace(day=1)


def next_month(month: date) -> date:
    """The first day after a month."""
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def table_of(paper: Paper) -> tuple[str, str]:
    """The portal's table a document goes to, and what it is called within.

    Supplies between States to unregistered persons have a table of their own above a dated value.
    A note is measured by the larger of its own value and the invoice's, on the invoice's date, so
    that it lands where the invoice did.
    """
    table, _, detail = paper.decided.partition(" ")
    is_note = paper.kind is not PaperKind.INVOICE
    if table == "b2b":
        return ("cdnr" if is_note else "b2b"), detail
    if table == "exp":
        return (
            ("cdnur", {"WPAY": "EXPWP", "WOPAY": "EXPWOP"}[detail]) if is_note else (table, detail)
        )
    if table == "b2cs" and detail == "INTER":
        day = paper.original_date or paper.issue_date
        if max(paper.value, paper.original_value) > _large_value(day):
            return ("cdnur", "B2CL") if is_note else ("b2cl", "")
    return table, detail


def _large_value(day: date) -> int:
    limit = rules.in_force(rules.facts("b2cl_exceeds_rupees"), day)
    if limit is None:
        raise InvalidError(f"GST did not exist on {day}.", code="before_gst")
    return int(limit["amount"]) * 100


def supplies(
    papers: Sequence[Paper],
) -> list[tuple[Paper, Line]]:
    """Every taxable line with its document; nil-rated ones have a table of their own."""
    return [(paper, line) for paper in papers for line in paper.lines if not line.nil_rated]
