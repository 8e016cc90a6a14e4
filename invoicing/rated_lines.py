"""Reading what the pipeline rated: the lines of an invoice month, and usage without a rate."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import RowMapping, text
from sqlalchemy.orm import Session

from billing.customers.tables import Account
from billing.invoices.beside import CustomCharge
from billing.money import plain
from billing.periods import month_of
from billing.rating.match import DIMENSIONS

CHARGE: Final = "charge:"
"""Before the id of a charge that a person added."""

_LINES = text(
    """
    SELECT line_ref, account_id, customer_id, charge_code, item_code, sac, description,
           period_start, period_end, quantity, unit, unit_price, currency, amount_minor,
           is_recurring, tier_breakdown
    FROM marts.fct_invoice_lines
    WHERE invoice_month = :month AND rating_run_id = :run
    ORDER BY account_id, period_start, is_recurring DESC, line_ref
    """
)

_DIMENSIONS: Final = ", ".join(f"unrated.{name}" for name in DIMENSIONS)

_UNRATED = text(
    f"""
    SELECT unrated.account_id, unrated.event_type, {_DIMENSIONS},
           CASE WHEN item.aggregation <> 'count' THEN coalesce(item.property_name, 'quantity') END
               AS measure,
           sum(unrated.event_count) AS events
    FROM marts.fct_unrated_usage AS unrated
    LEFT JOIN billing.charges AS charge ON charge.id = unrated.charge_id
    LEFT JOIN billing.billable_items AS item ON item.id = charge.item_id
    WHERE unrated.invoice_month = :month
    GROUP BY unrated.account_id, unrated.event_type, {_DIMENSIONS}, measure
    ORDER BY unrated.account_id, events DESC, unrated.event_type, {_DIMENSIONS}
    """
)
_ABSENT: Final = "unknown"
"""What the marts call a dimension that an event does not have."""
_MOST_NAMED: Final = 5
"""Kinds of usage that a sentence names; a deck that lacks a country lacks all its operators."""

_USAGE = text(
    """
    SELECT account_id, period_start, event_type, channel, country, event_count, quantity
    FROM marts.fct_invoice_usage
    WHERE invoice_month = :month AND rating_run_id = :run
    ORDER BY account_id, period_start, event_type, channel, country
    """
)


@dataclass(frozen=True, slots=True)
class RatedLine:
    """One row of `marts.fct_invoice_lines`."""

    line_ref: str
    account_id: UUID
    customer_id: UUID
    charge_code: str
    item_code: str
    sac: str
    description: str
    period_start: date
    period_end: date
    quantity: Decimal
    unit: str
    unit_price: Decimal | None
    currency: str
    amount_minor: int
    is_recurring: bool
    tier_breakdown: list[dict[str, Any]]
    serves: tuple[date, date] | None = None
    """The days it is for, where they are not of the invoice's own period; half-open."""


def rated_lines(session: Session, invoice_month: date, rating_run_id: UUID) -> Sequence[RatedLine]:
    """The lines one rating run made for a month, by account, recurring ones first."""
    rows = session.execute(_LINES, {"month": invoice_month, "run": rating_run_id}).mappings()
    return [RatedLine(**row) for row in rows]


def used(
    session: Session, invoice_month: date, rating_run_id: UUID
) -> dict[tuple[UUID, date], list[dict[str, Any]]]:
    """What each account used in each period, by type, channel and country, for the annexure."""
    found: dict[tuple[UUID, date], list[dict[str, Any]]] = {}
    rows = session.execute(_USAGE, {"month": invoice_month, "run": rating_run_id}).mappings()
    for row in rows:
        found.setdefault((row["account_id"], row["period_start"]), []).append(
            {
                "service": row["event_type"],
                "channel": row["channel"],
                "country": row["country"],
                "events": int(row["event_count"]),
                "quantity": str(plain(row["quantity"])),
            }
        )
    return found


def with_charges(
    lines: Sequence[RatedLine], charges: Sequence[tuple[CustomCharge, Account]], month: date
) -> list[RatedLine]:
    """The lines of a month and the charges that people added, by account.

    A charge joins the account's first period of the month; an account without one is billed for
    the calendar month.
    """
    periods = first_periods(lines)
    whole = month_of(month)
    added = [
        _charged(charge, account, periods.get(account.id, (whole.start, whole.end)))
        for charge, account in charges
    ]
    # Sorting is stable: rated lines keep their order and come first.
    return sorted([*lines, *added], key=lambda line: (line.account_id, line.period_start))


def first_periods(lines: Sequence[RatedLine]) -> dict[UUID, tuple[date, date]]:
    """Of each account the first period of its lines, which what is added joins."""
    periods: dict[UUID, tuple[date, date]] = {}
    for line in lines:
        periods.setdefault(line.account_id, (line.period_start, line.period_end))
    return periods


def _charged(charge: CustomCharge, account: Account, period: tuple[date, date]) -> RatedLine:
    return RatedLine(
        line_ref=f"{CHARGE}{charge.id}",
        account_id=account.id,
        customer_id=account.customer_id,
        charge_code="custom",
        item_code="custom",
        sac=charge.sac,
        description=charge.description,
        period_start=period[0],
        period_end=period[1],
        quantity=charge.quantity,
        unit=charge.unit,
        unit_price=charge.unit_price,
        currency=account.currency,
        amount_minor=charge.amount_minor,
        is_recurring=False,
        tier_breakdown=[],
    )


def unrated_usage(session: Session, invoice_month: date) -> dict[UUID, str]:
    """Accounts with usage that no rate matched, with a sentence that says which, and what to do."""
    found: dict[UUID, list[RowMapping]] = {}
    for row in session.execute(_UNRATED, {"month": invoice_month}).mappings():
        found.setdefault(row["account_id"], []).append(row)
    return {account_id: _unrated_sentence(rows) for account_id, rows in found.items()}


def _unrated_sentence(rows: Sequence[RowMapping]) -> str:
    named = [_unrated_kind(row) for row in rows[:_MOST_NAMED]]
    if len(rows) > _MOST_NAMED:
        named.append(f"{len(rows) - _MOST_NAMED} more kinds")
    measures = sorted({row["measure"] for row in rows if row["measure"]})
    silent = f", or amend events that do not say their {' or '.join(measures)}," if measures else ""
    return f"No rate matches {' and '.join(named)}: add a rate{silent} and rate the month again."


def _unrated_kind(row: RowMapping) -> str:
    """Usage as a rate would have to name it; a charge without events is named by its code."""
    if not row["events"]:
        return f"the charge {row['event_type']}"
    said = [
        f"{name.replace('_', ' ')} {row[name]}"
        for name in DIMENSIONS
        if row[name] not in {None, _ABSENT}
    ]
    kind = f"{int(row['events'])} {row['event_type']} events"
    return f"{kind} ({', '.join(said)})" if said else kind
