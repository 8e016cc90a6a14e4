"""From stored rows and frozen snapshots to the facts of a return."""

from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Date, cast, func, select
from sqlalchemy.orm import Session

from billing.documents.tables import WITHOUT_GST, Document, DocumentKind
from billing.invoices.settlement import SettlementSource
from billing.invoices.tables import Invoice, InvoiceAllocation, InvoiceStatus
from billing.money import currency
from billing.tax.compute import inr_minor
from billing.tax.einvoice import DocumentType
from billing.tax.model import SupplyKind, TaxHead
from billing.wallets.tables import LedgerAccount, LedgerEntry, LedgerTransaction
from invoicing import document as doc
from invoicing.gstr1.facts import (
    NIL_RATED,
    Amounts,
    Draw,
    DrawKind,
    Issued,
    Line,
    Lot,
    Paper,
    PaperKind,
    ReturnFacts,
    next_month,
)

INVOICES: Final = 1
"""The portal's code for invoices of outward supplies."""
NATURES: Final[Mapping[str, int]] = {
    "debit_note": 4,
    "credit_note": 5,
    "receipt_voucher": 6,
    "refund_voucher": 8,
}
"""The portal's codes; a financial credit note is no document of GST."""
NOTES: Final[Mapping[str, PaperKind]] = {"credit_note": PaperKind.CREDIT_NOTE}


def load_facts(session: Session, gstin: str, month: date) -> ReturnFacts:
    """The facts of a registration and month.

    Args:
        month: its first day; what is dated in it belongs to it.
    """
    invoices = invoices_of(session, gstin, month)
    documents = documents_of(session, gstin, month)
    issued = [
        Issued(
            NATURES.get(row.document_type.value, INVOICES),
            row.number or "",
            row.status is InvoiceStatus.VOID,
        )
        for row in invoices
    ]
    issued += [Issued(NATURES[row.kind.value], row.number) for row in documents]
    papers = [_invoice(session, row) for row in invoices if row.status is not InvoiceStatus.VOID]
    papers += [
        _note(session, row, NOTES[row.kind.value]) for row in documents if row.kind.value in NOTES
    ]
    end = next_month(month)
    return ReturnFacts(
        gstin=gstin,
        month=month,
        papers=tuple(papers),
        issued=tuple(issued),
        lots=(*_vouchers(session, gstin, end), *_returned_by_notes(session, gstin, end)),
        draws=(*_settled(session, gstin, end), *_refunds(session, gstin, end)),
    )


def invoices_of(session: Session, gstin: str, month: date) -> list[Invoice]:
    """The numbered invoices dated in a month, void ones too."""
    return list(
        session.scalars(
            select(Invoice)
            .where(
                Invoice.supplier_gstin == gstin,
                Invoice.status != InvoiceStatus.DRAFT,
                Invoice.document_type != DocumentType.STATEMENT,
                Invoice.issue_date >= month,
                Invoice.issue_date < next_month(month),
            )
            .order_by(Invoice.number)
        )
    )


def documents_of(session: Session, gstin: str, month: date) -> list[Document]:
    """The notes and vouchers dated in a month, as far as they are documents of GST."""
    return list(
        session.scalars(
            select(Document)
            .where(
                Document.supplier_gstin == gstin,
                Document.kind.not_in(WITHOUT_GST),
                Document.issue_date >= month,
                Document.issue_date < next_month(month),
            )
            .order_by(Document.number)
        )
    )


def paper_of(
    kind: PaperKind,
    printed: doc.InvoiceDocument,
    tax_decision: Mapping[str, Any],
    original: doc.InvoiceDocument | None = None,
) -> Paper:
    """A document of the return from its snapshot and the tax decision of the supply.

    Args:
        tax_decision: by SAC, as it is kept on the invoice.
        original: of a note, the invoice it corrects.
    """
    decided = {sac: str(answer["gstr1_table"]) for sac, answer in tax_decision.items()}
    taxed = [table for table in decided.values() if table != NIL_RATED]
    registered = printed.recipient.kind in {doc.RecipientKind.GSTIN, doc.RecipientKind.UIN}
    return Paper(
        kind=kind,
        number=printed.number or "",
        issue_date=printed.issue_date or printed.period_end,
        decided=taxed[0] if taxed else NIL_RATED,
        pos=printed.place_of_supply_code,
        is_inter=_is_inter(printed),
        ctin=printed.recipient.tax_number if registered else None,
        value=_value(printed),
        lines=tuple(
            _line(line, printed, nil_rated=decided.get(line.sac) == NIL_RATED)
            for line in printed.lines
        ),
        original_value=_value(original) if original else 0,
        original_date=original.issue_date if original else None,
    )


def _invoice(session: Session, row: Invoice) -> Paper:
    printed = doc.InvoiceDocument.from_dict(row.snapshot or {})
    if row.corrects_id is None:
        return paper_of(PaperKind.INVOICE, printed, row.tax_decision)
    corrected = session.get_one(Invoice, row.corrects_id)
    original = doc.InvoiceDocument.from_dict(corrected.snapshot or {})
    return paper_of(PaperKind.DEBIT_NOTE, printed, row.tax_decision, original)


def _note(session: Session, row: Document, kind: PaperKind) -> Paper:
    invoice = session.get_one(Invoice, row.invoice_id)
    return paper_of(
        kind,
        doc.InvoiceDocument.from_dict(row.snapshot),
        invoice.tax_decision,
        doc.InvoiceDocument.from_dict(invoice.snapshot or {}),
    )


def _is_inter(printed: doc.InvoiceDocument) -> bool:
    """SEZ and exports are between States always (IGST Act s.7(5))."""
    own_state = printed.supplier.gstin[:2]
    return printed.supply is not SupplyKind.DOMESTIC or printed.place_of_supply_code != own_state


def _value(printed: doc.InvoiceDocument) -> int:
    return printed.fx.total_inr_minor if printed.fx else printed.total_minor


def _line(line: doc.DocumentLine, printed: doc.InvoiceDocument, *, nil_rated: bool) -> Line:
    by_head = dict.fromkeys(TaxHead, 0)
    for tax in line.taxes:
        by_head[tax.head] += _in_paise(tax.tax_minor, printed)
    amounts = Amounts(
        taxable=_in_paise(line.taxable_minor, printed),
        igst=by_head[TaxHead.IGST],
        cgst=by_head[TaxHead.CGST],
        sgst=by_head[TaxHead.SGST] + by_head[TaxHead.UTGST],
    )
    rate = sum((tax.rate for tax in line.taxes), Decimal(0))
    return Line(line.sac, rate, amounts, nil_rated)


def _in_paise(amount_minor: int, printed: doc.InvoiceDocument) -> int:
    if printed.fx is None:
        return amount_minor
    return inr_minor(amount_minor, printed.currency, printed.fx.inr_per_unit)


def _wallet_key(account_id: UUID, code: str) -> str:
    return f"{account_id}:{code}"


def _lot(
    row: Document,
    at: Any,
    printed: doc.InvoiceDocument,
    amounts: Amounts,
    tax_minor: int,
    day: date,
) -> Lot:
    taxes = printed.lines[0].taxes
    return Lot(
        wallet=_wallet_key(row.account_id, row.currency),
        number=row.number,
        day=day,
        at=at,
        pos=printed.place_of_supply_code,
        is_inter=_is_inter(printed),
        rate=sum((tax.rate for tax in taxes), Decimal(0)),
        tax_minor=tax_minor,
        amounts=amounts,
    )


def _vouchers(session: Session, gstin: str, end: date) -> Iterator[Lot]:
    """Advances received, in the order in which the ledger got them."""
    rows = session.execute(
        select(Document, LedgerTransaction.recorded_at)
        .join(LedgerTransaction, LedgerTransaction.id == Document.ledger_transaction_id)
        .where(
            Document.supplier_gstin == gstin,
            Document.kind == DocumentKind.RECEIPT_VOUCHER,
            # the day of receipt: a voucher may be numbered in the month after
            cast(Document.snapshot["period_start"].astext, Date) < end,
            Document.tax_minor > 0,
        )
    )
    for row, at in rows:
        printed = doc.InvoiceDocument.from_dict(row.snapshot)
        amounts = _line(printed.lines[0], printed, nil_rated=False).amounts
        yield _lot(row, at, printed, amounts, row.tax_minor, printed.period_start)


def _returned_by_notes(session: Session, gstin: str, end: date) -> Iterator[Lot]:
    """What a credit note gave back into a wallet is an advance again."""
    credit, tax = (
        func.coalesce(func.sum(LedgerEntry.amount_units).filter(LedgerEntry.account == account), 0)
        for account in (LedgerAccount.WALLET, LedgerAccount.TAX_ON_ADVANCES)
    )
    moved = (
        select(
            LedgerTransaction.reference,
            LedgerTransaction.recorded_at,
            credit.label("credit"),
            tax.label("tax"),
        )
        .join(LedgerEntry, LedgerEntry.transaction_id == LedgerTransaction.id)
        .where(LedgerTransaction.reference.startswith("credit_note:"))
        .group_by(LedgerTransaction.id)
        .having(tax > 0, credit > 0)
    )
    for reference, at, credit_units, tax_units in session.execute(moved):
        row = session.get(Document, UUID(reference.partition(":")[2]))
        if row is None or row.supplier_gstin != gstin or row.issue_date >= end:
            continue
        printed = doc.InvoiceDocument.from_dict(row.snapshot)
        scale = currency(row.currency).units_per_minor
        tax_minor = int(tax_units) // scale
        amounts = _by_heads(printed, int(credit_units) // scale, tax_minor)
        yield _lot(row, at, printed, amounts, tax_minor, row.issue_date)


def _by_heads(printed: doc.InvoiceDocument, taxable_minor: int, tax_minor: int) -> Amounts:
    taxable, tax = (_in_paise(amount, printed) for amount in (taxable_minor, tax_minor))
    if _is_inter(printed):
        return Amounts(taxable=taxable, igst=tax)
    return Amounts(taxable=taxable, cgst=tax - tax // 2, sgst=tax // 2)


def _settled(session: Session, gstin: str, end: date) -> Iterator[Draw]:
    """Tax of invoices that advances had paid before."""
    rows = session.execute(
        select(
            Invoice.account_id,
            Invoice.currency,
            Invoice.number,
            Invoice.issue_date,
            Invoice.taxable_minor,
            InvoiceAllocation.amount_minor,
            InvoiceAllocation.recorded_at,
        )
        .join(InvoiceAllocation, InvoiceAllocation.invoice_id == Invoice.id)
        .where(
            Invoice.supplier_gstin == gstin,
            Invoice.status.in_([InvoiceStatus.DUE, InvoiceStatus.PAID]),
            Invoice.issue_date < end,
            InvoiceAllocation.source == SettlementSource.WALLET.value,
        )
    )
    for account_id, code, number, day, taxable_minor, settled_minor, at in rows:
        if number is None or day is None:
            continue  # an issued invoice has both; the types do not know
        tax_minor = max(settled_minor - taxable_minor, 0)
        yield Draw(_wallet_key(account_id, code), number, day, at, DrawKind.INVOICE, tax_minor)


def _refunds(session: Session, gstin: str, end: date) -> Iterator[Draw]:
    """Advances that went back; a voucher names the receipts it takes back where they are known."""
    rows = session.execute(
        select(Document, LedgerTransaction.recorded_at)
        .join(LedgerTransaction, LedgerTransaction.id == Document.ledger_transaction_id)
        .where(
            Document.supplier_gstin == gstin,
            Document.kind == DocumentKind.REFUND_VOUCHER,
            Document.issue_date < end,
            Document.tax_minor > 0,
        )
    )
    for row, at in rows:
        printed = doc.InvoiceDocument.from_dict(row.snapshot)
        yield Draw(
            _wallet_key(row.account_id, row.currency),
            row.number,
            row.issue_date,
            at,
            DrawKind.REFUND,
            row.tax_minor,
            tuple(reference.number for reference in printed.references),
        )
