"""The words of a reminder: the schedule's own, or plain ones."""

import re
from dataclasses import dataclass
from datetime import date
from typing import Final

from billing.customers.tables import Customer
from billing.formatting import format_amount
from billing.invoices.settlement import outstanding_minor
from billing.invoices.tables import Invoice

_COMING: Final = "Invoice {number} is due on {due_date}"
_LATE: Final = "Invoice {number} is overdue since {due_date}"
_BODY: Final = """Dear {customer},

{currency} {outstanding} of invoice {number} {are_due} {due_date}.

Please pay it, or tell us if something is not right. If you have paid already, thank you: there is
nothing to do.

This letter was written by a program.
"""
_NAMES: Final = re.compile(r"\{(number|due_date|customer|currency|outstanding|are_due|days_late)\}")


@dataclass(frozen=True, slots=True)
class Letter:
    """A subject and a body; names in braces are filled in, everything else is text."""

    subject: str | None
    body: str | None


def letter(wanted: Letter, invoice: Invoice, customer: Customer, today: date) -> Letter:
    """What is sent about an invoice; what the schedule does not say is said plainly."""
    due_date = invoice.due_date or today
    is_late = today > due_date
    values = {
        "number": invoice.number or "",
        "due_date": f"{due_date:%d %b %Y}",
        "customer": customer.name,
        "currency": invoice.currency,
        "outstanding": format_amount(outstanding_minor(invoice), invoice.currency),
        "are_due": "were due on" if is_late else "are due on",
        "days_late": str(max((today - due_date).days, 0)),
    }
    subject = wanted.subject or (_LATE if is_late else _COMING)
    return Letter(_filled(subject, values), _filled(wanted.body or _BODY, values))


def _filled(text: str, values: dict[str, str]) -> str:
    """One pass: a customer called `{number}` stays so."""
    return _NAMES.sub(lambda found: values[found[1]], text)
