"""One invoice on the page: its facts, its lines, how each was computed, its taxes."""

from decimal import Decimal
from typing import Any

import streamlit as st

from billing.formatting import (
    format_date,
    format_period,
    format_quantity,
    format_rate,
    format_rated,
)
from billing.money import to_minor
from billing.tax.model import DecisionStatus
from console.components.money import money, unit_price
from console.components.status import invoice_status, review_status, words
from console.components.tables import Cell, Column, empty, fact_list, table
from console.components.text import actor_name, note, plain
from console.queries.invoices import InvoiceFacts, LineRow


def show_facts(facts: InvoiceFacts, lines: list[LineRow]) -> None:
    """The head of the invoice."""
    draft = facts.status == "draft"
    items: list[tuple[str, Cell]] = [
        ("Status", invoice_status(facts.status)),
        ("Review", review_status(facts.review_state)),
        ("Number", facts.number or "Given at approval"),
        ("Account", _account(facts)),
        ("Period", format_period(facts.period_start, facts.period_end)),
        ("Place of supply", facts.place_of_supply),
        ("Tax heads", _heads(lines)),
        ("Supplier GSTIN", facts.supplier_gstin),
    ]
    if not draft:
        items += [
            ("Issued", format_date(facts.issue_date) if facts.issue_date else None),
            ("Due", format_date(facts.due_date) if facts.due_date else None),
            ("Settled", money(facts.settled_minor, facts.currency)),
        ]
    if facts.reviewed_by:
        items.append(("Reviewed by", actor_name(facts.reviewed_by)))
    fact_list(items)
    if facts.review_note and draft:
        st.warning(plain(facts.review_note), icon=":material/sticky_note_2:")
    if draft and facts.tax_decision and facts.tax_status is DecisionStatus.REVIEW:
        st.info("The tax rules ask for a look at this invoice.", icon=":material/policy:")


def _account(facts: InvoiceFacts) -> str:
    mode = words(facts.billing_mode)
    return mode if facts.account == facts.customer else f"{facts.account}, {mode.lower()}"


def _heads(lines: list[LineRow]) -> str:
    heads = {(tax.head, tax.rate) for line in lines for tax in line.taxes}
    return " + ".join(f"{head} {format_rate(rate)}" for head, rate in sorted(heads)) or "No tax"


def show_lines(facts: InvoiceFacts, lines: list[LineRow]) -> None:
    """The lines, with the total below."""
    code = facts.currency
    if not lines:
        empty("No lines", "The next rating run fills this draft, or removes it.")
        return
    table(
        "Lines of the invoice",
        [Column("Description", nowrap=False), Column("SAC"), Column("Quantity", "right"),
         Column("Price", "right"), Column("Amount", "right", strong=True)],
        [
            (line.description, line.sac, format_quantity(line.quantity, code),
             _price(line.unit_price, code), money(line.amount_minor, code))
            for line in lines
        ],
        totals=[
            ("Taxable value", "", "", "", money(facts.taxable_minor, code)),
            ("Tax", "", "", "", money(facts.tax_minor, code)),
            ("Total", "", "", "", money(facts.total_minor, code)),
        ],
    )  # fmt: skip


def _price(price: Decimal | None, code: str) -> str:
    return "by tier" if price is None else unit_price(price, code)


def explain_line(facts: InvoiceFacts, lines: list[LineRow]) -> LineRow:
    """How the amount of a chosen line came about; returns the line."""
    code = facts.currency
    by_ref = {line.line_ref: line for line in lines}
    chosen = st.selectbox(
        "Line", list(by_ref), key=f"line_{facts.id}",
        format_func=lambda ref: f"{by_ref[ref].ordinal}. {by_ref[ref].description}",
    )  # fmt: skip
    line = by_ref[chosen]
    if line.tier_breakdown:
        _show_steps(line, code)
    else:
        note(f"One price for the period: {money(line.amount_minor, code)}.")
    note(f"Line reference {line.line_ref}, item {line.item_code}.")
    return line


CHANGES = {
    "discount": "Discount",
    "maximum": "Above the maximum",
    "dearest": "Another charge comes to more",
    "minimum": "Missing to the minimum",
    "commitment": "Missing to the commitment",
    "event_bounds": "Bounds of single events",
    "billed_ahead": "Billed in advance",
    "coupon": "Coupon",
    "credit": "Credit",
    "kept": "Credit kept for the next invoice",
    "adjusted": "More than was billed before",
}
"""What changes a line beside its tiers."""


def _show_steps(line: LineRow, code: str) -> None:
    steps = line.tier_breakdown
    billed = sum((Decimal(str(step.get("units") or 0)) for step in steps), Decimal(0))
    table(
        f"How {line.description} was computed",
        [Column("Units above"), Column("up to"), Column("Units", "right"),
         Column("Unit price", "right"), Column("Tier fee", "right"),
         Column("Amount", "right", strong=True)],
        [_tier(step, code) for step in steps],
        totals=[("Rated", "", format_quantity(billed, code), "", "",
                 format_rated(_rated(steps), code))],
    )  # fmt: skip
    if line.quantity > billed and any("units" in step for step in steps):
        free = format_quantity(line.quantity - billed, code)
        note(f"{free} of {format_quantity(line.quantity, code)} units are free.")
    rounded = to_minor(_rated(steps), code)
    if rounded == line.amount_minor:
        note(
            f"Rounded once, halves away from zero: {money(line.amount_minor, code)} for "
            f"{format_period(line.period_start, line.period_end)}."
        )
    else:
        note(
            f"The steps come to {money(rounded, code)}; the line bills "
            f"{money(line.amount_minor, code)}, the part of the period it covers."
        )


def _rated(steps: list[dict[str, Any]]) -> Decimal:
    return sum((Decimal(str(step["amount"])) for step in steps), Decimal(0))


def _tier(step: dict[str, Any], code: str) -> tuple[Cell, ...]:
    def quantity(value: object) -> str:
        return format_quantity(Decimal(str(value)), code)

    def price(value: object) -> str:
        return format_rated(Decimal(str(value)), code)

    if "kind" in step:
        said = CHANGES[step["kind"]]
        return (said, "", None, None, None, price(step["amount"]))
    upper, size = step.get("to"), step.get("package_size")
    per = f" per {quantity(size)}" if size is not None else ""
    fee = Decimal(str(step.get("flat_amount") or 0))
    return (
        quantity(step.get("from") or 0), quantity(upper) if upper is not None else "and above",
        quantity(step["units"]), price(step.get("unit_price") or 0) + per,
        price(fee) if fee else None, price(step["amount"]),
    )  # fmt: skip


def show_taxes(facts: InvoiceFacts, lines: list[LineRow]) -> None:
    """The tax of every line by head, as the database keeps it."""
    rows: list[tuple[Cell, ...]] = [
        (f"{line.ordinal}. {line.description}", tax.head, format_rate(tax.rate),
         money(tax.taxable_minor, facts.currency), money(tax.tax_minor, facts.currency))
        for line in lines
        for tax in line.taxes
    ]  # fmt: skip
    if not rows:
        note(_no_tax(facts))
        return
    table(
        "Tax of each line by head",
        [Column("Line", nowrap=False), Column("Head"), Column("Rate", "right"),
         Column("Taxable", "right"), Column("Tax", "right", strong=True)],
        rows,
        totals=[("Tax", "", "", "", money(facts.tax_minor, facts.currency))],
    )  # fmt: skip
    for sentence in _wording(facts):
        note(sentence)


def _no_tax(facts: InvoiceFacts) -> str:
    return " ".join(_wording(facts)) or "No tax is charged on this invoice."


def _wording(facts: InvoiceFacts) -> list[str]:
    found = [
        str(sentence)
        for decision in facts.tax_decision.values()
        for sentence in decision.get("wording", ())
    ]
    return list(dict.fromkeys(found))


def stage_sentence(facts: InvoiceFacts) -> str:
    """What an invoice's state means, for whoever may act on it."""
    if facts.status != "draft":
        return f"This invoice is {words(facts.status).lower()} and frozen."
    return {
        "pending": "This draft waits for review.",
        "in_review": "This draft is in review.",
        "rejected": "This draft was sent back; submit it again when it is mended.",
        "parked": "This draft is parked: something must be mended before it can be issued.",
    }.get(facts.review_state, "")
