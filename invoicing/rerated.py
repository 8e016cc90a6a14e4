"""Usage that came, changed or went after issue: noted, and billed on the next draft.

What is noted is in `billing.invoices.rerating`; credit goes back by `invoicing.usage_credits`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from billing.invoices.beside import ReratedLine
from billing.invoices.rerating import ADJUSTMENT, NetDifference, differences, net
from billing.money import from_minor, plain
from billing.periods import month_of
from billing.rating.line import ADJUSTED
from invoicing.rated_lines import CHARGE, RatedLine, first_periods

_ISSUED = text(
    """
    SELECT line.invoice_id, line.line_ref, coalesce(line.account_id, invoice.account_id)
        AS account_id, line.description, line.item_code, line.sac, line.period_start,
        line.period_end, line.amount_minor
    FROM billing.invoice_lines line
    JOIN billing.invoices invoice ON invoice.id = line.invoice_id
    WHERE line.invoice_id = ANY(:invoices)
    """
)
_FACTS: Final = ("account_id", "description", "item_code", "sac", "period_start", "period_end")


@dataclass(frozen=True, slots=True)
class Adjustments:
    """What issued invoices of earlier months came to since."""

    to_bill: Sequence[NetDifference]
    to_credit: Mapping[UUID, str]
    """By account: which invoices said too much, as a sentence."""


def note_rerated(
    session: Session, issued: Mapping[UUID, Sequence[RatedLine]], rating_run_id: UUID
) -> list[UUID]:
    """Note what the lines of issued invoices come to in a run.

    Args:
        issued: by invoice the lines that would stand on it now; none if nothing is left of it.

    Returns:
        The invoices of which something is open.
    """
    if not issued:
        return []
    billed: dict[UUID, dict[str, Any]] = {invoice_id: {} for invoice_id in issued}
    for row in session.execute(_ISSUED, {"invoices": list(issued)}).mappings():
        if _is_rated(row["line_ref"]):
            billed[row["invoice_id"]][row["line_ref"]] = dict(row)
    known: dict[UUID, dict[str, ReratedLine]] = {invoice_id: {} for invoice_id in issued}
    query = select(ReratedLine).where(ReratedLine.invoice_id == func.any(list(issued)))
    for noted in session.scalars(query.execution_options(populate_existing=True)):
        known[noted.invoice_id][noted.line_ref] = noted
    for invoice_id, lines in issued.items():
        now = {line.line_ref: line for line in lines if _is_rated(line.line_ref)}
        was, before = billed[invoice_id], known[invoice_id]
        for line_ref in sorted(now.keys() | was.keys() | before.keys()):
            rated_minor = now[line_ref].amount_minor if line_ref in now else 0
            if line_ref in before:
                if before[line_ref].rated_minor != rated_minor:
                    before[line_ref].rated_minor = rated_minor
                    before[line_ref].rating_run_id = rating_run_id
            elif rated_minor != (was[line_ref]["amount_minor"] if line_ref in was else 0):
                facts = _facts(now[line_ref]) if line_ref in now else was[line_ref]
                session.add(
                    ReratedLine(
                        **{name: facts[name] for name in _FACTS},
                        invoice_id=invoice_id,
                        line_ref=line_ref,
                        rated_minor=rated_minor,
                        rating_run_id=rating_run_id,
                    )
                )
    session.flush()
    found = differences(session, invoice_ids=list(issued))
    return list(dict.fromkeys(one.of.invoice_id for one in net(found)))


def adjustments_for(session: Session, invoice_month: date) -> Adjustments:
    """What invoices of earlier months came to, for the drafts of a month that are made anew."""
    to_bill, less = [], dict[tuple[UUID, str, str], int]()
    found = net(differences(session, before=invoice_month, redrafted=invoice_month))
    for one in found:
        if one.amount_minor > 0:
            to_bill.append(one)
        else:
            what = one.of.account_id, one.of.number, one.of.currency
            less[what] = less.get(what, 0) - one.amount_minor
    to_credit: dict[UUID, list[str]] = {}
    for (account_id, number, currency), minor in sorted(less.items(), key=lambda item: item[0][1]):
        amount = from_minor(minor, currency)
        to_credit.setdefault(account_id, []).append(
            f"{number} comes to {amount} {currency} less by now: issue its credit note for usage."
        )
    return Adjustments(to_bill, {account: " ".join(said) for account, said in to_credit.items()})


def with_adjustments(
    lines: Sequence[RatedLine], adjustments: Sequence[NetDifference], month: date
) -> list[RatedLine]:
    """The lines of a month and what lines of earlier ones came to more, by account.

    An adjustment joins the account's first period of the month; an account that has none is
    billed for the calendar month.
    """
    periods = first_periods(lines)
    whole = month_of(month)
    added = [
        _adjustment(one, periods.get(one.of.account_id, (whole.start, whole.end)))
        for one in sorted(adjustments, key=lambda one: (one.of.period_start, one.of.line_ref))
    ]
    return sorted([*lines, *added], key=lambda line: (line.account_id, line.period_start))


def _adjustment(one: NetDifference, period: tuple[date, date]) -> RatedLine:
    line = one.of
    billed_minor = line.rated_minor - line.open_minor
    said = {
        "kind": ADJUSTED,
        "billed": str(plain(from_minor(billed_minor, line.currency))),
        "rated": str(plain(from_minor(line.rated_minor, line.currency))),
        "amount": str(plain(from_minor(one.amount_minor, line.currency))),
        "run": str(line.rating_run_id),
    }
    return RatedLine(
        line_ref=f"{ADJUSTMENT}{line.line_ref}",
        account_id=line.account_id,
        customer_id=line.customer_id,
        charge_code="adjustment",
        item_code=line.item_code,
        sac=line.sac,
        description=f"Adjustment of {line.description}, {line.period_start:%B %Y}",
        period_start=period[0],
        period_end=period[1],
        quantity=Decimal(1),
        unit="adjustment",
        unit_price=None,
        currency=line.currency,
        amount_minor=one.amount_minor,
        is_recurring=False,
        tier_breakdown=[said],
        serves=(line.period_start, line.period_end),
    )


def _is_rated(line_ref: str) -> bool:
    return not line_ref.startswith((ADJUSTMENT, CHARGE))


def _facts(line: RatedLine) -> dict[str, Any]:
    return {name: getattr(line, name) for name in _FACTS}
