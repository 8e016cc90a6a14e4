"""Parts that documents of every kind have: taxes by head, rupee values, the exchange rate."""

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy.orm import Session

from billing.fx.service import require_rate
from billing.money import plain
from billing.tax.compute import inr_minor
from billing.tax.model import TaxHead
from invoicing import document as doc

TaxedAmount = tuple[int, Iterable[Any]]
"""A taxable value in minor units, and its taxes: anything with `head`, `rate` and `tax_minor`."""


def taxes_on_line(taxes: Iterable[Any]) -> tuple[doc.TaxOnLine, ...]:
    """The heads of a line as a document shows them."""
    return tuple(
        doc.TaxOnLine(head=tax.head, rate=plain(tax.rate), tax_minor=tax.tax_minor) for tax in taxes
    )


def head_totals(amounts: Iterable[TaxedAmount]) -> tuple[doc.HeadTotal, ...]:
    """The sums of each head and rate over the lines."""
    sums: dict[tuple[TaxHead, Decimal], tuple[int, int]] = {}
    for taxable_minor, taxes in amounts:
        for tax in taxes:
            key = (tax.head, plain(tax.rate))
            taxable, amount = sums.get(key, (0, 0))
            sums[key] = (taxable + taxable_minor, amount + tax.tax_minor)
    return tuple(
        doc.HeadTotal(head=head, rate=rate, taxable_minor=taxable, tax_minor=amount)
        for (head, rate), (taxable, amount) in sorted(sums.items())
    )


def fx_on(session: Session, code: str, day: date, amounts: Iterable[TaxedAmount]) -> doc.Fx | None:
    """The rupee values at the rate of a day; None for a document in rupees.

    Raises:
        PreconditionError: if no rate is on record on or before that day.
    """
    if code == "INR":
        return None
    rate = require_rate(session, code, day)
    basis = doc.Fx(
        inr_per_unit=plain(rate.inr_per_unit),
        source=rate.source,
        rate_date=rate.rate_date,
        taxable_inr_minor=0,
        tax_inr_minor=0,
        total_inr_minor=0,
    )
    return fx_at(basis, code, amounts)


def fx_at(basis: doc.Fx, code: str, amounts: Iterable[TaxedAmount]) -> doc.Fx:
    """The rupee values at a rate that another document has fixed; sums of rounded amounts."""
    taxable = tax = 0
    for taxable_minor, taxes in amounts:
        taxable += inr_minor(taxable_minor, code, basis.inr_per_unit)
        tax += sum(inr_minor(one.tax_minor, code, basis.inr_per_unit) for one in taxes)
    return basis.model_copy(
        update={
            "taxable_inr_minor": taxable,
            "tax_inr_minor": tax,
            "total_inr_minor": taxable + tax,
        }
    )
