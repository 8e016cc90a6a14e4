"""The tax on a voucher, head by head: what came with the money, and what goes back with it."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.documents.tables import Document, DocumentKind, DocumentLine
from billing.money import split
from billing.payments.advances import tax_differs
from billing.tax.compute import tax_line
from billing.tax.model import TaxDecision, TaxHead
from billing.wallets.lots import origin_of
from billing.wallets.tables import LedgerKind, LedgerTransaction
from invoicing import document as doc
from invoicing.top_up_invoices import PAISE_OF_PARTS


def voucher_taxes(
    session: Session, posting: LedgerTransaction, decision: TaxDecision, moved: tuple[int, int]
) -> tuple[doc.TaxOnLine, ...]:
    """The tax that came, by the heads of the decision; what goes back, by those it came with.

    Args:
        moved: credits and tax, in positive minor units.

    Raises:
        PreconditionError: if it is not the tax that is due on the credits.
    """
    taxable_minor, tax_minor = moved
    due_minor = tax_line(taxable_minor, decision.heads).tax_minor
    heads = [(head.head, head.rate) for head in decision.heads if head.rate]
    # of a payment that comes in part, credits and tax are each rounded
    wrong = abs(due_minor - tax_minor) > PAISE_OF_PARTS
    if posting.kind is LedgerKind.REFUND:
        heads, wrong = _heads_collected(session, posting) or heads, False
    if wrong or (tax_minor and not heads):
        raise tax_differs(tax_minor, due_minor, taxable_minor, posting.currency)
    if not tax_minor:
        return ()
    return tuple(
        doc.TaxOnLine(head=head, rate=rate, tax_minor=part)
        for (head, rate), part in zip(heads, split(tax_minor, [1] * len(heads)), strict=True)
    )


def _heads_collected(session: Session, posting: LedgerTransaction) -> list[tuple[TaxHead, Decimal]]:
    """The heads on the voucher of the payment that a refund gives back; none without one."""
    lines: Iterable[list[dict[str, Any]]] = session.scalars(
        select(DocumentLine.taxes)
        .join(Document, Document.id == DocumentLine.document_id)
        .join(LedgerTransaction, LedgerTransaction.id == Document.ledger_transaction_id)
        .where(
            Document.kind == DocumentKind.RECEIPT_VOUCHER,
            LedgerTransaction.reference.startswith(f"{origin_of(posting.reference)}:"),
        )
        .order_by(Document.issued_at)
    )
    taxes: list[dict[str, Any]] = next((found for found in lines if found), [])
    return [(TaxHead(tax["head"]), Decimal(tax["rate"])) for tax in taxes]
