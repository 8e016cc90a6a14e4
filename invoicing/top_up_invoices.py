"""Top-ups with a tax invoice of their own, for wallets under that policy.

The tax that came with the money becomes output tax at once; nothing is left to adjust, so the
month's document is a statement without tax. Credits that go back are taken back by a credit note
against that invoice (CGST Act s.34).
"""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.commands import Context
from billing.customers.tables import Account
from billing.documents.crediting import CreditedLine, LineLeft, TaxPart
from billing.documents.tables import Document, DocumentKind
from billing.errors import PreconditionError
from billing.formatting import format_money
from billing.ids import new_id
from billing.invoices.numbering import next_number
from billing.invoices.repository import load_invoice
from billing.invoices.settlement import SettlementSource
from billing.invoices.tables import (
    Invoice,
    InvoiceAllocation,
    InvoiceLine,
    InvoiceOrigin,
    InvoiceStatus,
    ReviewState,
    SupplierRegistration,
    TaxLine,
)
from billing.invoices.taxing import apply_tax, decide_tax_of
from billing.money import minor_to_units, split
from billing.payments.advances import ADVANCE_SAC, tax_differs
from billing.periods import month_of
from billing.tax.fiscal import credit_note_safe_issue_day
from billing.tax.model import DecisionStatus
from billing.wallets.ledger import Posting, post_transaction
from billing.wallets.lots import origin_of
from billing.wallets.tables import LedgerAccount, LedgerKind, LedgerTransaction, Wallet
from invoicing.credit_notes import issue_note, left_on
from invoicing.issue import freeze

_DESCRIPTION: Final = "Wallet credits for authentication services"
PAISE_OF_PARTS: Final = 2
"""Paise by which the tax of a part payment may differ from that computed on its credits."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A posting that brought credits or took them back; amounts are positive minor units."""

    posting: LedgerTransaction
    wallet: Wallet
    taxable_minor: int
    tax_minor: int
    day: date


def issue_top_up_invoice(ctx: Context, moved: Moved, supplier: SupplierRegistration) -> Invoice:
    """The tax invoice of a top-up: paid by the money that came, its tax due for the month.

    Raises:
        PreconditionError: if tax cannot be decided, or another tax was collected.
    """
    account = ctx.session.get_one(Account, moved.wallet.account_id)
    invoice = _draft(ctx, moved, account, supplier)
    decision, profile = decide_tax_of(ctx.session, invoice, supplier, moved.day)
    if decision.status is DecisionStatus.REJECT:
        raise PreconditionError(decision.notes or "Tax cannot be decided.", code="tax_rejected")
    apply_tax(invoice, invoice.lines, decision)
    _take_collected(invoice, moved.tax_minor)
    ctx.session.add(invoice)
    ctx.session.flush()
    paid = InvoiceAllocation(
        invoice_id=invoice.id,
        source=SettlementSource.TOP_UP.value,
        reference=f"{SettlementSource.TOP_UP.value}:{moved.posting.id}",
        amount_minor=invoice.total_minor,
        recorded_at=ctx.clock.now(),
    )
    ctx.session.add(paid)
    _move_tax(ctx, moved, f"invoice:{invoice.id}", LedgerKind.INVOICE, moved.tax_minor)
    number = next_number(
        ctx.session, gstin=supplier.gstin, series=supplier.invoice_series, issue_date=moved.day
    )
    freeze(ctx, invoice, number, moved.day, 0, [paid], (decision, profile))
    return invoice


def invoice_of_top_up(session: Session, posting: LedgerTransaction) -> Invoice | None:
    """The tax invoice of the payment that a refund gives back, if it has one."""
    payment = origin_of(posting.reference)
    return session.scalars(
        select(Invoice)
        .join(LedgerTransaction, LedgerTransaction.id == Invoice.ledger_transaction_id)
        .where(LedgerTransaction.reference.startswith(f"{payment}:"))
        .order_by(Invoice.id)
        .limit(1)
    ).one_or_none()


def credit_top_up(ctx: Context, moved: Moved, invoice_id: UUID) -> Document:
    """The credit note of credits that went back, against the invoice that sold them.

    Raises:
        PreconditionError: if the time for a note with tax is over (s.34(2)), or less is left.
    """
    invoice = load_invoice(ctx.session, invoice_id, lock=True)
    if invoice.issue_date is None or moved.day > credit_note_safe_issue_day(invoice.issue_date):
        raise PreconditionError(
            f"The time for a credit note with tax against {invoice.number} is over; give the "
            "credits back without their tax.",
            code="credit_note_too_late",
        )
    (left,) = left_on(ctx.session, invoice)
    credited = _credited(left, moved)
    note = issue_note(
        ctx,
        invoice,
        [credited],
        DocumentKind.CREDIT_NOTE,
        moved.day,
        "Unused credits were refunded",
        posting_id=moved.posting.id,
    )
    note.applied_minor = note.total_minor  # the money went back where it came from
    _move_tax(ctx, moved, f"credit_note:{note.id}", LedgerKind.CREDIT_NOTE, -moved.tax_minor)
    return note


def _credited(left: LineLeft, moved: Moved) -> CreditedLine:
    """What went back of the line, with the very tax that went back."""
    taxes_left = [part.tax_minor for part in left.taxes]
    if moved.taxable_minor > left.taxable_minor or moved.tax_minor > sum(taxes_left):
        raise PreconditionError(
            f"Of the top-up {format_money(left.taxable_minor, moved.wallet.currency)} is left to "
            "credit.",
            code="more_than_line",
        )
    shares = split(moved.tax_minor, taxes_left) if moved.tax_minor else [0] * len(taxes_left)
    taxes = tuple(
        TaxPart(part.head, part.rate, share) for part, share in zip(left.taxes, shares, strict=True)
    )
    return CreditedLine(left.line_ref, moved.taxable_minor, taxes)


def _draft(ctx: Context, moved: Moved, account: Account, supplier: SupplierRegistration) -> Invoice:
    now, day = ctx.clock.now(), moved.day
    period = {"period_start": day, "period_end": day + timedelta(days=1)}
    return Invoice(
        id=new_id(),
        account_id=account.id,
        customer_id=account.customer_id,
        supplier_gstin=supplier.gstin,
        **period,
        invoice_month=month_of(day).start,
        origin=InvoiceOrigin.TOP_UP,
        ledger_transaction_id=moved.posting.id,
        status=InvoiceStatus.DRAFT,
        currency=moved.wallet.currency,
        lines_hash=moved.posting.reference,
        review_state=ReviewState.PENDING,
        tax_decision={},
        taxable_minor=0,
        tax_minor=0,
        total_minor=0,
        created_at=now,
        updated_at=now,
        lines=[
            InvoiceLine(
                line_ref=f"top_up:{moved.posting.id}",
                ordinal=1,
                description=_DESCRIPTION,
                item_code="wallet_credits",
                sac=ADVANCE_SAC,
                quantity=Decimal(1),
                unit="top-up",
                unit_price=None,
                amount_minor=moved.taxable_minor,
                **period,
                tier_breakdown=[],
                taxes=[],
            )
        ],
    )


def _take_collected(invoice: Invoice, collected_minor: int) -> None:
    """The invoice says the tax that came in: of a part payment it may be a paisa off."""
    if abs(invoice.tax_minor - collected_minor) > PAISE_OF_PARTS:
        raise tax_differs(
            collected_minor, invoice.tax_minor, invoice.taxable_minor, invoice.currency
        )
    taxes: list[TaxLine] = [tax for line in invoice.lines for tax in line.taxes if tax.rate]
    if invoice.tax_minor == collected_minor or not taxes:
        return
    for tax, share in zip(taxes, split(collected_minor, [1] * len(taxes)), strict=True):
        tax.tax_minor = share
    invoice.tax_minor = collected_minor
    invoice.total_minor = invoice.taxable_minor + collected_minor


def _move_tax(ctx: Context, moved: Moved, reference: str, kind: LedgerKind, tax_minor: int) -> None:
    """From what waits for an invoice to what is owed to the State, or back."""
    units = minor_to_units(tax_minor, moved.wallet.currency)
    if not units:
        return
    post_transaction(
        ctx.session,
        moved.wallet,
        kind=kind,
        reference=reference,
        postings=[
            Posting(LedgerAccount.TAX_ON_ADVANCES, -units),
            Posting(LedgerAccount.OUTPUT_TAX, units),
        ],
        now=ctx.clock.now(),
    )
