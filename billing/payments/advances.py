"""Tax on an advance: what a top-up costs on top of its credits.

Money received for a future service is taxed on receipt (CGST Act s.13(2)). Wallets hold credits
exclusive of tax, so that usage need not know about it.
"""

from datetime import date
from typing import Final
from uuid import UUID

from sqlalchemy.orm import Session

from billing.errors import PreconditionError
from billing.invoices.repository import default_registration
from billing.invoices.taxing import decide_invoice_tax, tax_profile_on
from billing.money import from_minor
from billing.tax.compute import tax_line
from billing.tax.model import DecisionStatus

ADVANCE_SAC: Final = "998413"
"""Credits may be used for any service we sell; all of them carry the same rate."""


def tax_on_advance(
    session: Session, customer_id: UUID, credits_minor: int, currency: str, day: date
) -> int:
    """GST on credits bought on a day, in minor units.

    Raises:
        PreconditionError: if it cannot be told: no tax profile, or one that must be mended.
    """
    supplier = default_registration(session)
    if supplier is None:
        raise PreconditionError(
            "None of our registrations is the default; register one first.", code="no_supplier"
        )
    profile = tax_profile_on(session, customer_id, day)
    decision = decide_invoice_tax(
        supplier,
        profile,
        sacs={ADVANCE_SAC},
        currency=currency,
        tax_date=day,
    )
    if decision.status is DecisionStatus.REJECT:
        raise PreconditionError(decision.notes or "Tax cannot be decided.", code="tax_rejected")
    return tax_line(credits_minor, decision.leading.heads).tax_minor


def tax_received(
    session: Session,
    customer_id: UUID,
    currency: str,
    *,
    credits_minor: int,
    said_minor: int | None,
    day: date,
) -> int:
    """The tax that came with credits, in minor units: what is due on them, and nothing else.

    Tax that was left out when money came is owed to the State all the same. While we hold no
    registration none can be due, and what is said is taken; its voucher is held against the law.

    Args:
        said_minor: as whoever records the money divides it; None is what is due.

    Raises:
        PreconditionError: if it is said to be another amount, or what is due cannot be told.
    """
    if default_registration(session) is None:
        return said_minor or 0
    due_minor = tax_on_advance(session, customer_id, credits_minor, currency, day)
    if said_minor is not None and said_minor != due_minor:
        raise tax_differs(said_minor, due_minor, credits_minor, currency)
    return due_minor


def tax_differs(
    came_minor: int, due_minor: int, credits_minor: int, currency: str
) -> PreconditionError:
    """The refusal of an advance whose tax is not what is due on its credits, with both figures."""
    came, due, bought = (
        f"{currency} {from_minor(amount, currency):f}"
        for amount in (came_minor, due_minor, credits_minor)
    )
    return PreconditionError(
        f"With credits of {bought} came {came} of tax, and {due} is due on them. Divide what was "
        "paid into credits and tax anew; leave the tax out to have it worked out.",
        code="tax_differs",
        details={"tax_minor": came_minor, "due_minor": due_minor},
    )
