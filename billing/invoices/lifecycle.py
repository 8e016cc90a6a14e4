"""What may be done with an invoice in each of its states: one table, and the rules for a void.

Source: CGST Act s.31 and s.34; what left the house is corrected by a note, what the portal knows
is cancelled there first.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from billing.einvoices.tables import EInvoiceState
from billing.errors import PreconditionError
from billing.invoices.tables import Invoice, InvoiceStatus


class Action(StrEnum):
    """What people do with invoices."""

    EDIT = "edit"
    APPROVE = "approve"
    DISCARD = "discard"
    SETTLE = "settle"
    NOTE = "note"
    SEND = "send"
    VOID = "void"


STATE_TABLE: Final[dict[InvoiceStatus, dict[Action, frozenset[InvoiceStatus]]]] = {
    InvoiceStatus.DRAFT: {
        Action.EDIT: frozenset({InvoiceStatus.DRAFT}),
        Action.APPROVE: frozenset({InvoiceStatus.DRAFT, InvoiceStatus.DUE, InvoiceStatus.PAID}),
        Action.DISCARD: frozenset(),
    },
    InvoiceStatus.DUE: {
        Action.SETTLE: frozenset({InvoiceStatus.DUE, InvoiceStatus.PAID}),
        Action.NOTE: frozenset({InvoiceStatus.DUE, InvoiceStatus.PAID}),
        Action.SEND: frozenset({InvoiceStatus.DUE}),
        Action.VOID: frozenset({InvoiceStatus.VOID}),
    },
    InvoiceStatus.PAID: {
        Action.SETTLE: frozenset({InvoiceStatus.DUE, InvoiceStatus.PAID}),
        Action.NOTE: frozenset({InvoiceStatus.PAID}),
        Action.SEND: frozenset({InvoiceStatus.PAID}),
    },
    InvoiceStatus.VOID: {},
}
"""From a state, what each action may lead to; what is not in it is refused. A first approval of
two leaves a draft a draft; a discarded draft is gone."""


def require(invoice: Invoice, action: Action) -> None:
    """Refuse what the state of an invoice does not allow.

    Raises:
        PreconditionError: naming what it is, and what can be done instead.
    """
    if action in STATE_TABLE[invoice.status]:
        return
    possible = ", ".join(sorted(STATE_TABLE[invoice.status])) or "nothing"
    raise PreconditionError(
        f"An invoice that is {invoice.status.value} allows no {action.value}; it allows "
        f"{possible}.",
        code="not_allowed_in_state",
        details={"status": invoice.status.value, "number": invoice.number},
    )


@dataclass(frozen=True, slots=True)
class VoidFacts:
    """What decides whether an issued document may become void."""

    settled_minor: int
    has_notes: bool
    was_sent: bool
    einvoice: EInvoiceState | None


def why_not_void(facts: VoidFacts) -> tuple[str, str] | None:
    """The code and the sentence of what stands against a void; None if nothing does.

    A document whose IRN was cancelled in time may be void even if it was sent. One the portal
    refused never was an invoice (Rule 48(5)), and neither was one it never saw.
    """
    if facts.settled_minor:
        return "settled", "Money is set against it; take that back, or issue a credit note."
    if facts.has_notes:
        return "has_notes", "A note refers to it; it stays."
    if facts.einvoice is EInvoiceState.REGISTERED:
        return "registered", "It has an IRN; cancel that first, within 24 hours."
    if facts.einvoice is EInvoiceState.UNKNOWN:
        return "irn_unknown", "The portal has not said whether it has it; ask it again first."
    if facts.was_sent and facts.einvoice is not EInvoiceState.CANCELLED:
        return "sent", "It was sent to the customer; issue a credit note."
    return None
