"""What issued invoices come to after their month was rated again, and what is still to be settled.

Usage may arrive, be amended or voided after its invoice is issued. Of every line

    open = rated now - issued - billed by adjustment lines and debit notes + credited for usage

(never more below nothing than all notes have left of the line).

What is too little becomes an adjustment line of the account's next draft; what is too much goes
back by a credit note (CGST Act s.34(1)): an invoice may not say less than nothing of a supply.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby, islice
from operator import attrgetter
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.db.locks import lock_for_transaction
from billing.invoices.tables import InvoiceStatus

ADJUSTMENT: Final = "adjustment:"
"""Before the name of the line that an adjustment line adds to."""

_DIFFERENCES: Final = """
    SELECT found.*, greatest(
        rated_minor - issued_minor - billed_minor + credited_minor,
        noted_minor - issued_minor - billed_minor
    ) AS open_minor
    FROM (
        SELECT rerated.*, invoice.number, invoice.invoice_month, invoice.customer_id,
            invoice.currency, invoice.tax_decision -> rerated.sac -> 'heads' AS heads,
            coalesce(line.amount_minor, 0) AS issued_minor,
            (
                SELECT CAST(coalesce(sum(added.amount_minor), 0) AS bigint)
                FROM billing.invoice_lines added
                JOIN billing.invoices bill ON bill.id = added.invoice_id
                WHERE added.line_ref = 'adjustment:' || rerated.line_ref
                    AND bill.status <> 'void'
                    AND NOT (
                        bill.status = 'draft'
                        AND bill.invoice_month IS NOT DISTINCT FROM CAST(:redrafted AS date)
                    )
                    AND (
                        bill.status <> 'draft' OR NOT :issued_only
                        OR bill.id = CAST(:with_draft AS uuid)
                    )
            ) + (
                SELECT CAST(coalesce(sum(added.amount_minor), 0) AS bigint)
                FROM billing.invoices bill
                JOIN billing.invoice_lines added ON added.invoice_id = bill.id
                WHERE bill.corrects_id = rerated.invoice_id AND bill.status <> 'void'
                    AND added.line_ref = rerated.line_ref || ':' || added.ordinal
            ) AS billed_minor,
            noted.*
        FROM billing.rerated_lines rerated
        JOIN billing.invoices invoice
            ON invoice.id = rerated.invoice_id AND invoice.status IN ('due', 'paid')
        LEFT JOIN billing.invoice_lines line
            ON line.invoice_id = rerated.invoice_id AND line.line_ref = rerated.line_ref
        CROSS JOIN LATERAL (
            SELECT
                CAST(coalesce(sum(taken.taxable_minor), 0) AS bigint) AS noted_minor,
                CAST(
                    coalesce(sum(taken.taxable_minor) FILTER (WHERE note.for_usage), 0) AS bigint
                ) AS credited_minor
            FROM billing.invoice_lines noted
            JOIN billing.invoices bill ON bill.id = noted.invoice_id AND bill.status <> 'void'
            JOIN billing.documents note ON note.invoice_id = noted.invoice_id
            JOIN billing.document_lines taken
                ON taken.document_id = note.id AND taken.invoice_line_id = noted.id
            WHERE noted.line_ref IN (rerated.line_ref, 'adjustment:' || rerated.line_ref)
        ) noted
    ) found
"""

_OPEN = text(
    f"""
    SELECT * FROM ({_DIFFERENCES}) differing
    WHERE open_minor <> 0
        AND (CAST(:before AS date) IS NULL OR invoice_month < :before)
        AND (CAST(:invoices AS uuid[]) IS NULL OR invoice_id = ANY(:invoices))
        AND (CAST(:account AS uuid) IS NULL OR account_id = :account)
        AND (CAST(:customer AS uuid) IS NULL OR customer_id = :customer)
    ORDER BY invoice_id DESC, line_ref
    """
)


_ADJUSTING = text(
    """
    SELECT bill.id AS invoice_id, bill.number, bill.status, bill.invoice_month, added.line_ref,
        added.description, added.amount_minor
    FROM billing.rerated_lines rerated
    JOIN billing.invoice_lines added ON added.line_ref = 'adjustment:' || rerated.line_ref
    JOIN billing.invoices bill ON bill.id = added.invoice_id AND bill.status <> 'void'
    WHERE rerated.invoice_id = :invoice
        AND (CAST(:line_ref AS text) IS NULL OR rerated.line_ref = :line_ref)
        AND (bill.status <> 'draft' OR NOT :issued_only)
    ORDER BY bill.id, added.line_ref
    """
)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageDifference:
    """A line of an issued invoice that is not settled for what its usage comes to now."""

    invoice_id: UUID
    line_ref: str
    account_id: UUID
    customer_id: UUID
    number: str
    """Of the invoice."""
    invoice_month: date
    description: str
    item_code: str
    sac: str
    period_start: date
    period_end: date
    currency: str
    issued_minor: int
    rated_minor: int
    billed_minor: int
    """By adjustment lines and debit notes since."""
    credited_minor: int
    """By notes for usage since."""
    noted_minor: int
    """By notes of any kind."""
    open_minor: int
    """Below nothing it is to be credited; all exclusive of tax."""
    rating_run_id: UUID
    heads: Any
    """Heads and rates of tax on the invoice; None if it has none for the SAC."""


@dataclass(frozen=True, slots=True)
class AdjustmentLine:
    """A line of another invoice that bills what a line came to more after issue."""

    invoice_id: UUID
    number: str | None
    """Of that invoice; None of a draft."""
    status: InvoiceStatus
    invoice_month: date
    line_ref: str
    description: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class NetDifference:
    """What is left to bill or to credit of a difference, beside the others of its invoice."""

    of: UsageDifference
    amount_minor: int
    """Below nothing it is to be credited."""


def lock_adjustments(session: Session) -> None:
    """Let one transaction at a time make something of what is open; taken before any invoice."""
    lock_for_transaction(session, "adjustments")


def adjustments_of(
    session: Session, invoice_id: UUID, line_ref: str | None = None, *, issued_only: bool = False
) -> list[AdjustmentLine]:
    """The lines of other invoices that bill what an invoice came to more since, oldest first.

    Args:
        line_ref: of one of its lines alone.
        issued_only: without those of drafts.
    """
    asked = {"invoice": invoice_id, "line_ref": line_ref, "issued_only": issued_only}
    return [
        AdjustmentLine(**{**row, "status": InvoiceStatus(row["status"])})
        for row in session.execute(_ADJUSTING, asked).mappings()
    ]


def differences(
    session: Session,
    *,
    before: date | None = None,
    redrafted: date | None = None,
    issued_only: bool = False,
    with_draft: UUID | None = None,
    invoice_ids: Sequence[UUID] | None = None,
    account_id: UUID | None = None,
    customer_id: UUID | None = None,
) -> list[UsageDifference]:
    """The open differences, those of the newest invoices first.

    Args:
        before: of invoices of earlier months than this alone.
        redrafted: the month whose drafts are made anew: what they bill now does not count.
        issued_only: what other drafts bill does not count either, except `with_draft`.
    """
    rows = session.execute(
        _OPEN,
        {
            "before": before,
            "redrafted": redrafted,
            "issued_only": issued_only,
            "with_draft": with_draft,
            "invoices": None if invoice_ids is None else list(invoice_ids),
            "account": account_id,
            "customer": customer_id,
        },
    ).mappings()
    return [UsageDifference(**row) for row in rows]


@dataclass(frozen=True, slots=True)
class InvoiceDifference:
    """All that is open of one invoice."""

    id: UUID
    """Of the invoice."""
    lines: Sequence[UsageDifference]

    @property
    def to_bill_minor(self) -> int:
        """What the account's next draft bills, with less set against more."""
        return sum(one.amount_minor for one in net(self.lines) if one.amount_minor > 0)

    @property
    def to_credit_minor(self) -> int:
        """What a credit note for usage gives back, with more set against less."""
        return -sum(one.amount_minor for one in net(self.lines) if one.amount_minor < 0)


def list_differences(
    session: Session,
    actor: Actor,
    *,
    invoice_id: UUID | None = None,
    account_id: UUID | None = None,
    customer_id: UUID | None = None,
    limit: int = 50,
    after: UUID | None = None,
) -> list[InvoiceDifference]:
    """Invoices that something is open of, newest first; what a draft bills is not open."""
    actor.require(Permission.INVOICES_READ)
    found = differences(
        session,
        invoice_ids=None if invoice_id is None else [invoice_id],
        account_id=account_id,
        customer_id=actor.customer_id or customer_id,
    )
    by_invoice = (
        InvoiceDifference(invoice, list(lines))
        for invoice, lines in groupby(found, key=attrgetter("invoice_id"))
        if after is None or invoice < after
    )
    return list(islice(by_invoice, limit))


def net(found: Iterable[UsageDifference]) -> list[NetDifference]:
    """Set what came to less against what came to more of the same invoice, account and tax.

    So usage below a commitment costs nothing although two lines changed. What is left keeps its
    sign, and the names of the lines that it is left of.
    """
    ordered = sorted(found, key=lambda one: (*_together(one), one.line_ref))
    left: list[NetDifference] = []
    for _, group in groupby(ordered, key=_together):
        together = list(group)
        total_minor = sum(one.open_minor for one in together)
        sign = 1 if total_minor > 0 else -1
        to_take_minor = sum(abs(one.open_minor) for one in together if one.open_minor * sign < 0)
        for one in together:
            if one.open_minor * sign > 0:
                used_minor = min(to_take_minor, abs(one.open_minor))
                to_take_minor -= used_minor
                if abs(one.open_minor) > used_minor:
                    left.append(NetDifference(one, one.open_minor - sign * used_minor))
    return left


def _together(one: UsageDifference) -> tuple[str, ...]:
    taxed_as = one.sac if one.heads is None else str(one.heads)
    return str(one.invoice_id), str(one.account_id), taxed_as
