"""What a document that is being written would say, with its tax, before it exists."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import streamlit as st

from billing.access.actor import Actor
from billing.commands import Context, Request
from billing.documents.tables import Document
from billing.formatting import format_rate
from billing.invoices.tables import Invoice
from console import actions
from console.components.money import money
from console.components.tables import Column, table
from console.components.text import note, plain


@dataclass(frozen=True, slots=True)
class TaxPreview:
    """A document's lines as description, amount and tax by head; in minor units."""

    currency: str
    lines: tuple[tuple[str, int, dict[str, int]], ...]
    heads: tuple[str, ...]
    taxable_minor: int
    tax_minor: int
    total_minor: int
    remark: str | None


def rehearsed(
    actor: Actor, command: Callable[[Context, Any], Any], request: type[Request], **fields: Any
) -> TaxPreview:
    """What a command that makes an invoice or a document would make; nothing is kept.

    Raises:
        BillingError: as the command itself would.
    """

    def read(_: Context, made: Invoice | Document) -> TaxPreview:
        return _of_invoice(made) if isinstance(made, Invoice) else _of_document(made)

    return actions.rehearse(actor, command, request, read, **fields)


def _of_invoice(made: Invoice) -> TaxPreview:
    lines = [
        (line.description, line.amount_minor,
         {_head(tax.head, tax.rate): tax.tax_minor for tax in line.taxes})
        for line in made.lines
    ]  # fmt: skip
    return _preview(made, lines, made.review_note)


def _of_document(made: Document) -> TaxPreview:
    lines = [
        (line.description, line.taxable_minor,
         {_head(tax["head"], tax["rate"]): int(tax["tax_minor"]) for tax in line.taxes})
        for line in made.lines
    ]  # fmt: skip
    return _preview(made, lines, None)


def _preview(
    made: Invoice | Document, lines: list[tuple[str, int, dict[str, int]]], remark: str | None
) -> TaxPreview:
    return TaxPreview(
        currency=made.currency,
        lines=tuple(lines),
        heads=tuple(dict.fromkeys(head for _, _, taxes in lines for head in taxes)),
        taxable_minor=made.taxable_minor,
        tax_minor=made.tax_minor,
        total_minor=made.total_minor,
        remark=remark,
    )


def _head(head: str, rate: Decimal | str) -> str:
    return f"{head} {format_rate(Decimal(str(rate)))}"


def show_tax(found: TaxPreview) -> None:
    """The lines with a column per head of tax, and the totals."""
    code = found.currency
    table(
        "The document with its tax",
        [Column("Line", nowrap=False), Column("Amount", "right"),
         *[Column(head, "right") for head in found.heads],
         Column("With tax", "right", strong=True)],
        [
            (description, money(amount, code),
             *[money(taxes.get(head, 0), code) for head in found.heads],
             money(amount + sum(taxes.values()), code))
            for description, amount, taxes in found.lines
        ],
        totals=[
            ("In all", money(found.taxable_minor, code),
             *[money(sum(taxes.get(head, 0) for _, _, taxes in found.lines), code)
               for head in found.heads],
             money(found.total_minor, code)),
        ],
    )  # fmt: skip
    if not found.heads:
        note("No tax is charged on it.")
    if found.remark:
        st.info(plain(found.remark), icon=":material/policy:")
