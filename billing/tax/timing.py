"""When a supply counts as made, which decides its rate and its financial year.

Source: CGST Act 2017 s.13(2), s.14 and CGST Rules r.47.
"""

from datetime import date, timedelta

from billing.errors import InvalidError
from billing.tax import rules


def invoice_deadline(service_done: date) -> date:
    """The last day for the invoice of an ordinary service (r.47)."""
    row = rules.in_force(rules.facts("invoice_within_days"), service_done)
    if row is None:
        raise InvalidError(f"GST did not exist on {service_done}.", code="before_gst")
    return service_done + timedelta(days=int(row["days"]))


def time_of_supply(*, service_done: date | None, invoiced: date | None, paid: date | None) -> date:
    """The day of the time of supply (s.13(2)).

    Args:
        service_done: day of completion, if the service is rendered.
        invoiced: date of the invoice, if there is one.
        paid: the earlier of the entry in the books and the bank credit; an advance has only this.

    Raises:
        InvalidError: `no_time_of_supply` if none of the three is known.
    """
    in_time = invoiced is not None and (
        service_done is None or invoiced <= invoice_deadline(service_done)
    )
    decisive = invoiced if in_time else service_done
    days = [day for day in (decisive, paid) if day is not None]
    if not days:
        raise InvalidError("Nothing has happened yet.", code="no_time_of_supply")
    return min(days)


def time_of_supply_of_excess(excess_minor: int, paid: date, next_invoice: date | None) -> date:
    """When an overpayment counts: small ones may wait for the next invoice (s.13(2), proviso).

    Args:
        excess_minor: in paise.
    """
    row = rules.in_force(rules.facts("excess_payment_rupees"), paid)
    if row is None or next_invoice is None or excess_minor > int(row["amount"]) * 100:
        return paid
    return next_invoice


def old_rate_applies(change: date, *, supplied: date, invoiced: date, paid: date) -> bool:
    """Whether the rate before a change still applies (s.14): two of three events before it."""
    return sum(day < change for day in (supplied, invoiced, paid)) >= 2
