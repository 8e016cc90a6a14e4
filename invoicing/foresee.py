"""What issuing a draft on a day would ask of its customer, before anything is done.

Tax is decided for the day of issue: a letter of undertaking that has lapsed since the draft was
made, or another tax profile, gives another total than the one a person has read.
"""

from dataclasses import dataclass
from datetime import date

from sqlalchemy.orm import Session

from billing.errors import PreconditionError
from billing.formatting import format_money
from billing.invoices.repository import registration
from billing.invoices.tables import Invoice, InvoiceOrigin
from billing.invoices.taxing import InvoiceTax, decide_tax_of, total_with
from billing.tax.model import DecisionStatus


@dataclass(frozen=True, slots=True)
class Foreseen:
    """A draft as it would be issued."""

    total_minor: int
    """In the draft's currency, with tax."""
    to_review: str | None
    """What a person has to look at first, as sentences."""


def foresee(session: Session, draft: Invoice, day: date) -> Foreseen:
    """A draft as it would be issued on a day.

    Raises:
        PreconditionError: if the customer has no tax profile on that day.
    """
    if draft.origin is InvoiceOrigin.CORRECTION:
        return Foreseen(draft.total_minor, None)
    supplier = registration(session, draft.supplier_gstin)
    decision, _ = decide_tax_of(session, draft, supplier, day)
    return Foreseen(total_with(draft, decision), _to_review(decision))


def require_total(draft: Invoice, day: date, total_minor: int, expected_minor: int | None) -> None:
    """Refuse to issue another total than the one that a person has confirmed.

    Raises:
        PreconditionError: naming both.
    """
    if expected_minor is None or expected_minor == total_minor:
        return
    expected = format_money(expected_minor, draft.currency)
    total = format_money(total_minor, draft.currency)
    raise PreconditionError(
        f"You approve a total of {expected}, but issued on {day} this draft comes to {total}. "
        "Look at its lines and its tax again, then approve that total.",
        code="total_differs",
        details={"expected_total_minor": expected_minor, "total_minor": total_minor},
    )


def require_tax_reviewed(decision: InvoiceTax, reviewed: bool) -> None:
    """Refuse to issue what the tax rules ask a person to look at, until one says to have done so.

    Raises:
        PreconditionError: with the reasons.
    """
    reasons = _to_review(decision)
    if reasons and not reviewed:
        raise PreconditionError(
            f"The tax of this draft needs a look first. {reasons} If it is right, approve this "
            "draft by itself and say that its tax was reviewed (`tax_reviewed`).",
            code="tax_not_reviewed",
        )


def _to_review(decision: InvoiceTax) -> str | None:
    return decision.notes if decision.status is DecisionStatus.REVIEW else None
