"""The advances that an invoice adjusts, as its document names them."""

from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.customers.tables import Account
from billing.invoices.settlement import SettlementSource
from billing.invoices.tables import Invoice
from billing.money import currency
from billing.periods import DEFAULT_ZONE, local_day
from billing.tax.einvoice import DocumentType
from billing.wallets.allocations import Allocated, allocations_of
from billing.wallets.tables import LedgerKind, Wallet
from invoicing import document as doc

_LABELS: Final = {
    LedgerKind.TOP_UP: "Receipt voucher",
    LedgerKind.DEPOSIT: "Deposit",
    LedgerKind.PROMOTION: "Promotional credits",
    LedgerKind.COMMITMENT: "Credits on commitment",
    LedgerKind.CREDIT_NOTE: "Credit note",
    LedgerKind.CORRECTION: "Correction",
}


def advances_on(session: Session, invoice: Invoice, account: Account) -> tuple[doc.Advance, ...]:
    """What lots paid an invoice from its wallet, the oldest first; a lot stands on it once."""
    wallet_id = session.scalar(
        select(Wallet.id).filter_by(account_id=account.id, currency=invoice.currency)
    )
    if wallet_id is None:
        return ()
    usage = f"invoice:{invoice.id}"
    tax = f"{usage}:{SettlementSource.DEPOSIT.value}:{wallet_id}"
    is_statement = invoice.document_type is DocumentType.STATEMENT
    found: dict[str, list[Allocated]] = {}
    for one in allocations_of(session, wallet_id, [usage, tax]):
        found.setdefault(one.lot_reference, []).append(one)
    scale = currency(invoice.currency).units_per_minor
    advances = []
    credits_before = 0
    for parts in found.values():
        # wallet units below a minor unit are carried on, so that the sum is that of the invoice
        credit_units = sum(one.credit_units for one in parts) + credits_before
        taxable_minor, credits_before = divmod(credit_units, scale)
        tax_minor = sum(one.tax_units for one in parts) // scale
        if taxable_minor or tax_minor:
            label = _label(parts[0], sold=is_statement)
            advances.append(_advance(parts[0], label, taxable_minor, tax_minor))
    return tuple(advances)


def _label(one: Allocated, *, sold: bool) -> str:
    if one.lot_kind is not LedgerKind.TOP_UP:
        return _LABELS.get(one.lot_kind, one.lot_kind.value.replace("_", " ").capitalize())
    paper = "Tax invoice" if sold else _LABELS[one.lot_kind]
    return paper if one.voucher else f"Top-up, {paper.lower()} to follow"


def _advance(one: Allocated, label: str, taxable_minor: int, tax_minor: int) -> doc.Advance:
    return doc.Advance(
        label=label,
        number=one.voucher or "",
        day=one.voucher_date or local_day(one.received_at, DEFAULT_ZONE),
        taxable_minor=taxable_minor,
        tax_minor=tax_minor,
    )
