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
