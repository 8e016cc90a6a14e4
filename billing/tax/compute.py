"""Amounts of tax, in integer minor units of the document's currency.

Tax is rounded once per line and head, halves away from zero, and a header is the sum of its lines
and never computed again (the invoice registration portal checks exactly that). CGST and SGST are
each half the rate and therefore always equal, which may leave them one paisa off the IGST.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from billing.errors import InvalidError
from billing.money import from_minor, round_half_up, to_minor
from billing.tax import rules
from billing.tax.model import HeadRate, TaxDecision, TaxHead


@dataclass(frozen=True, slots=True)
class TaxAmount:
    """One head of tax on one line or, summed, on a document."""

    head: TaxHead
    rate: Decimal
    """Percent."""
    taxable_minor: int
    tax_minor: int


@dataclass(frozen=True, slots=True)
class LineTax:
    """A line with the tax of each of its heads."""

    taxable_minor: int
    taxes: tuple[TaxAmount, ...]

    @property
    def tax_minor(self) -> int:
        """Tax of all heads."""
        return sum(tax.tax_minor for tax in self.taxes)

    @property
    def total_minor(self) -> int:
        """Taxable value and tax."""
        return self.taxable_minor + self.tax_minor


@dataclass(frozen=True, slots=True)
class DocumentTax:
    """The tax of a whole document: its lines, and per head and rate their sums."""

    lines: tuple[LineTax, ...]
    heads: tuple[TaxAmount, ...]

    @property
    def taxable_minor(self) -> int:
        """Sum of the lines' taxable values."""
        return sum(line.taxable_minor for line in self.lines)

    @property
    def tax_minor(self) -> int:
        """Sum of the lines' taxes."""
        return sum(line.tax_minor for line in self.lines)

    @property
    def total_minor(self) -> int:
        """Taxable value and tax, before any round-off."""
        return self.taxable_minor + self.tax_minor


def tax_minor(taxable_minor: int, rate: Decimal) -> int:
    """Tax at a rate in percent, in the same minor units."""
    return int(round_half_up(taxable_minor * rate / 100, 0))


def tax_line(taxable_minor: int, heads: Sequence[HeadRate]) -> LineTax:
    """The tax of one line under each head."""
    taxes = tuple(
        TaxAmount(head.head, head.rate, taxable_minor, tax_minor(taxable_minor, head.rate))
        for head in heads
    )
    return LineTax(taxable_minor, taxes)


def tax_document(lines: Sequence[tuple[int, Sequence[HeadRate]]]) -> DocumentTax:
    """The tax of a document.

    Args:
        lines: taxable value in minor units and heads of each line; usage must already be one line
            per item and rate, never one per event.
    """
    taxed = tuple(tax_line(taxable, heads) for taxable, heads in lines)
    order = list(TaxHead)
    sums: dict[tuple[int, Decimal], tuple[int, int]] = {}
    for line in taxed:
        for tax in line.taxes:
            key = (order.index(tax.head), tax.rate)
            taxable, amount = sums.get(key, (0, 0))
            sums[key] = (taxable + tax.taxable_minor, amount + tax.tax_minor)
    heads = tuple(TaxAmount(order[key[0]], key[1], *sums[key]) for key in sorted(sums))
    return DocumentTax(taxed, heads)


def split_inclusive(gross_minor: int, heads: Sequence[HeadRate]) -> LineTax:
    """Take the tax out of an amount that contains it; the parts add up to it again.

    For some amounts no taxable value gives exactly that tax when computed forward, so sell
    tax-exclusive wherever there is a choice.
    """
    whole = 100 + sum((head.rate for head in heads), Decimal(0))
    if len(heads) == 1:
        taxable = int(round_half_up(gross_minor * Decimal(100) / whole, 0))
        amounts = [gross_minor - taxable]
    else:
        amounts = [int(round_half_up(gross_minor * head.rate / whole, 0)) for head in heads]
        taxable = gross_minor - sum(amounts)
    taxes = tuple(
        TaxAmount(head.head, head.rate, taxable, amount)
        for head, amount in zip(heads, amounts, strict=True)
    )
    return LineTax(taxable, taxes)


def round_off_minor(total_minor: int) -> int:
    """What to add to a total in paise so that it becomes whole rupees (-50 to +50).

    It is a line of its own after tax, only for rupees and only where the registration wants it.
    """
    return int(round_half_up(Decimal(total_minor) / 100, 0)) * 100 - total_minor


def inr_minor(amount_minor: int, currency_code: str, inr_per_unit: Decimal) -> int:
    """A line of a foreign-currency document in paise; the header is the sum of these.

    Args:
        amount_minor: minor units of `currency_code`.
        inr_per_unit: rupees for one unit of it on the day of the time of supply (r.34(2)).
    """
    return to_minor(from_minor(amount_minor, currency_code) * inr_per_unit, "INR")


def gstr1_table(decision: TaxDecision, total_inr_minor: int, document_date: date) -> str:
    """The table of GSTR-1 a document goes to.

    Inter-state supplies to unregistered persons have a table of their own above a dated value of
    the document; everything else is as decided.
    """
    if decision.gstr1_table != "b2cs INTER":
        return decision.gstr1_table
    limit = rules.in_force(rules.facts("b2cl_exceeds_rupees"), document_date)
    if limit is None:
        raise InvalidError(f"GST did not exist on {document_date}.", code="before_gst")
    return "b2cl" if total_inr_minor > int(limit["amount"]) * 100 else decision.gstr1_table
