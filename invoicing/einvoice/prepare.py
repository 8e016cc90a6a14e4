"""At issue: does this document need an IRN? If so it waits for one from the same moment on."""

import json
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from billing.commands import Context, canonical_json
from billing.einvoices.tables import EInvoice, EInvoiceState
from billing.errors import PreconditionError
from billing.invoices.turnovers import highest_turnover
from billing.tax.einvoice import Requirement, einvoice_requirement, last_reporting_day
from billing.tax.irn import irn
from billing.tax.model import TaxKind
from invoicing import document as doc
from invoicing.einvoice.payload import payload_of
from invoicing.einvoice.shape import problems

_KINDS: Final = {
    doc.RecipientKind.GSTIN: TaxKind.REGISTERED,
    doc.RecipientKind.UIN: TaxKind.UIN,
    doc.RecipientKind.UNREGISTERED: TaxKind.UNREGISTERED,
    doc.RecipientKind.OVERSEAS: TaxKind.OVERSEAS,
}
"""Whom the portal takes documents for, as the document itself names the recipient."""


def prepare(
    ctx: Context,
    paper: doc.InvoiceDocument,
    tax_decision: Mapping[str, Any],
    *,
    invoice_id: UUID | None = None,
    document_id: UUID | None = None,
) -> EInvoice | None:
    """Write down that a document waits for its IRN; None if the law asks for none.

    Args:
        tax_decision: by SAC, as it is kept on the invoice.

    Raises:
        PreconditionError: if the portal would refuse what the document says. It is not issued
            then: with a number and without an IRN it would be no invoice.
    """
    if paper.issue_date is None or paper.number is None:
        return None
    turnover = highest_turnover(ctx.session, paper.supplier.gstin, paper.issue_date)
    needed = einvoice_requirement(
        turnover,
        _KINDS[paper.recipient.kind],
        paper.issue_date,
        paper.document_type,
        wholly_exempt=not any(line.taxes for line in paper.lines),
    )
    supply_type = next((one["einvoice_suptyp"] for one in tax_decision.values()), None)
    if needed is Requirement.NOT_REQUIRED or supply_type is None:
        return None
    payload = payload_of(paper, str(supply_type))
    wrong = problems(payload)
    if wrong:
        raise PreconditionError(
            f"The invoice registration portal would refuse this document: {'; '.join(wrong)}.",
            code="einvoice_invalid",
            details={"problems": wrong},
        )
    return _waiting(ctx, paper, payload, turnover, paper.issue_date, invoice_id, document_id)


def _waiting(
    ctx: Context,
    paper: doc.InvoiceDocument,
    payload: dict[str, Any],
    turnover: Decimal,
    day: date,
    invoice_id: UUID | None,
    document_id: UUID | None,
) -> EInvoice:
    number = paper.number or ""
    row = EInvoice(
        invoice_id=invoice_id,
        document_id=document_id,
        irn=irn(paper.supplier.gstin, paper.document_type, number, day),
        number=number,
        issue_date=day,
        state=EInvoiceState.WAITING,
        payload=json.loads(canonical_json(payload)),
        report_by=last_reporting_day(turnover, day),
        attempts=0,
        created_at=ctx.clock.now(),
        updated_at=ctx.clock.now(),
    )
    ctx.session.add(row)
    return row
