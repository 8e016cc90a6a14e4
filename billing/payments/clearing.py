"""Whether money clears: what was asked for is settled or open, what came is used or left.

The views say so of each invoice and payment; a remainder other than 0 is a mistake of ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import BigInteger, Numeric, TableClause, Uuid, column, select, table
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.errors import ForbiddenError

_EXACT: Final = Numeric(38, 12)

INVOICES: Final = table(
    "invoice_clearing",
    column("invoice_id", Uuid),
    column("customer_id", Uuid),
    column("number"),
    column("currency"),
    *(
        column(f"{name}_minor", BigInteger)
        for name in ("total", "settled", "outstanding", "remainder")
    ),
    schema="billing",
)
PAYMENTS: Final = table(
    "payment_clearing",
    column("payment_id", Uuid),
    column("customer_id", Uuid),
    column("gateway"),
    column("purpose"),
    column("currency"),
    *(
        column(f"{name}_minor", BigInteger)
        for name in ("captured", "refunded", "allocated", "left")
    ),
    column("credited_minor", _EXACT),
    column("remainder_minor", _EXACT),
    schema="billing",
)


@dataclass(frozen=True, slots=True)
class ClearingPage:
    """Which of them, newest first.

    Attributes:
        clears: only those that do, or only those that do not.
        after: the id of the last one of the page before.
    """

    clears: bool | None = None
    customer_id: UUID | None = None
    limit: int = 50
    after: UUID | None = None


def list_clearing(
    session: Session, actor: Actor, view: TableClause, wanted: ClearingPage
) -> Sequence[Any]:
    """Rows of a clearing view.

    Raises:
        ForbiddenError: if the actor may not see payments, or is confined to one customer.
    """
    actor.require(Permission.PAYMENTS_READ)
    if actor.customer_id is not None:
        raise ForbiddenError("Clearing is told of the books as a whole.")
    name = next(iter(view.c))
    query = select(view).order_by(name.desc()).limit(wanted.limit)
    if wanted.clears is not None:
        query = query.where((view.c.remainder_minor == 0) == wanted.clears)
    if wanted.customer_id is not None:
        query = query.where(view.c.customer_id == wanted.customer_id)
    if wanted.after is not None:
        query = query.where(name < wanted.after)
    return session.execute(query).all()
