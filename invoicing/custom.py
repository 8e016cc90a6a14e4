"""Documents that a person writes: custom invoices, bills of supply, debit notes.

They are drafts like those of the pipeline from then on: reviewed, approved, numbered, settled.
"""

import hashlib
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Literal
from uuid import UUID

from pydantic import Field

from billing.access.roles import Permission
from billing.commands import Context, Request, canonical_json, command
from billing.customers.tables import Account
from billing.errors import FieldError, InvalidError, PreconditionError, not_found
from billing.invoices.charges import PricedItem
from billing.invoices.lifecycle import Action, require
from billing.invoices.repository import default_registration, load_invoice, registration
from billing.invoices.service import require_draft
from billing.invoices.tables import (
    Invoice,
    InvoiceLine,
    InvoiceOrigin,
    InvoiceStatus,
    ReviewState,
    SupplierRegistration,
    TaxLine,
)
from billing.invoices.taxing import apply_tax, decide_tax_of
from billing.periods import DEFAULT_ZONE, local_day
from billing.tax.compute import tax_minor
from billing.tax.einvoice import DocumentType
from billing.tax.model import DecisionStatus


class CreateCustomInvoice(Request):
    """A draft with lines of one's own."""

    account_id: UUID
    document_type: Literal["invoice", "bill_of_supply"] = "invoice"
    """A bill of supply is for services that are exempt, and bears no tax."""
    supplier_gstin: str | None = None
    """Our default registration if it is left out."""
    period_start: date | None = None
    period_end: date | None = None
    """The first day after the period; today alone if both are left out."""
    remark: str = Field(default="", max_length=500)
    lines: tuple[PricedItem, ...] = Field(min_length=1, max_length=200)


class DebitLine(Request):
    """How much more a line should have said, exclusive of tax, in minor units."""

    line_ref: str
    amount_minor: int = Field(gt=0, le=10**15)


class CreateDebitNote(Request):
    """What an issued invoice said too little."""

    invoice_id: UUID
    reason: str = Field(min_length=3, max_length=500)
    lines: tuple[DebitLine, ...] = Field(min_length=1, max_length=200)


class DiscardDraft(Request):
    """Throw away a draft that a person wrote."""

    invoice_id: UUID


@command("invoice.create_custom", Permission.INVOICES_WRITE)
def create_custom_invoice(ctx: Context, request: CreateCustomInvoice) -> Invoice:
    """Make a draft of lines that a person wrote, with its tax.

    Raises:
        InvalidError: if an amount is nothing, or the period does not end after it starts.
        PreconditionError: if no registration supplies, or the customer has no tax profile.
    """
    account = ctx.session.get(Account, request.account_id)
    if account is None:
        raise not_found("account", request.account_id)
    supplier = _supplier(ctx, request.supplier_gstin)
    start, end = _period(ctx, request)
    invoice = _draft(ctx, account, supplier, (start, end), InvoiceOrigin.CUSTOM)
    invoice.document_type = DocumentType(request.document_type)
    invoice.remark = request.remark
    ctx.session.add(invoice)
    ctx.session.flush()
    invoice.lines = [
        InvoiceLine(
            line_ref=f"{invoice.id}:{ordinal}",
            ordinal=ordinal,
            description=item.description,
            item_code="custom",
            sac=item.sac,
            quantity=item.quantity,
            unit=item.unit,
            unit_price=item.unit_price,
            amount_minor=item.amount_minor(account.currency),
            period_start=start,
            period_end=end,
            tier_breakdown=[],
            taxes=[],
        )
        for ordinal, item in enumerate(request.lines, start=1)
    ]
    invoice.lines_hash = _hash(request.model_dump(mode="json"))
    decision, _ = decide_tax_of(ctx.session, invoice, supplier, min(end, _today(ctx)))
    if decision.status is DecisionStatus.REJECT:
        raise PreconditionError(decision.notes or "Tax cannot be decided.", code="tax_rejected")
    apply_tax(invoice, invoice.lines, decision)
    invoice.review_note = decision.notes
    return invoice


@command("debit_note.create", Permission.INVOICES_WRITE)
def create_debit_note(ctx: Context, request: CreateDebitNote) -> Invoice:
    """Make the draft of a debit note, with the heads and rates of the invoice it corrects
    (CGST Act s.34(3), Rules r.53); there is no time limit.

    Raises:
        PreconditionError: if the invoice is not issued, or is a debit note itself.
        InvalidError: if a line is not on the invoice.
    """
    corrected = load_invoice(ctx.session, request.invoice_id, lock=True)
    require(corrected, Action.NOTE)
    if corrected.document_type is not DocumentType.INVOICE:
        raise PreconditionError(
            "A debit note corrects a tax invoice; correct the invoice itself once more.",
            code="not_an_invoice",
        )
    account = ctx.session.get_one(Account, corrected.account_id)
    supplier = registration(ctx.session, corrected.supplier_gstin)
    period = (corrected.period_start, corrected.period_end)
    note = _draft(ctx, account, supplier, period, InvoiceOrigin.CORRECTION)
    note.document_type = DocumentType.DEBIT_NOTE
    note.corrects_id, note.remark = corrected.id, request.reason
    note.tax_decision = corrected.tax_decision
    note.lines_hash = _hash(request.model_dump(mode="json"))
    note.lines = _debited(corrected, request.lines)
    _sum_up(note)
    ctx.session.add(note)
    return note


@command("invoice.discard", Permission.INVOICES_WRITE)
def discard_draft(ctx: Context, request: DiscardDraft) -> Account:
    """Throw away a draft that a person wrote; those of the pipeline follow their lines.

    Returns:
        Whose draft it was.

    Raises:
        PreconditionError: if it is issued, or the pipeline made it.
    """
    invoice = require_draft(load_invoice(ctx.session, request.invoice_id, lock=True))
    if invoice.origin is InvoiceOrigin.RATED:
        raise PreconditionError(
            "This draft is made from usage and goes away when its lines do.", code="not_by_hand"
        )
    ctx.session.delete(invoice)
    return ctx.session.get_one(Account, invoice.account_id)


def _supplier(ctx: Context, gstin: str | None) -> SupplierRegistration:
    if gstin is not None:
        return registration(ctx.session, gstin)
    found = default_registration(ctx.session)
    if found is None:
        raise PreconditionError(
            "None of our registrations is the default; register one first.", code="no_supplier"
        )
    return found


def _today(ctx: Context) -> date:
    return local_day(ctx.clock.now(), DEFAULT_ZONE)


def _period(ctx: Context, request: CreateCustomInvoice) -> tuple[date, date]:
    start = request.period_start or _today(ctx)
    end = request.period_end or start + timedelta(days=1)
    if end <= start:
        raise InvalidError(
            "The period must end after it starts.",
            fields=[FieldError("period_end", "the first day after the period")],
        )
    return start, end


def _draft(
    ctx: Context,
    account: Account,
    supplier: SupplierRegistration,
    period: tuple[date, date],
    origin: InvoiceOrigin,
) -> Invoice:
    now = ctx.clock.now()
    return Invoice(
        account_id=account.id,
        customer_id=account.customer_id,
        supplier_gstin=supplier.gstin,
        period_start=period[0],
        period_end=period[1],
        invoice_month=_today(ctx).replace(day=1),
        status=InvoiceStatus.DRAFT,
        origin=origin,
        currency=account.currency,
        lines_hash="",
        review_state=ReviewState.PENDING,
        tax_decision={},
        taxable_minor=0,
        tax_minor=0,
        total_minor=0,
        created_at=now,
        updated_at=now,
        lines=[],
    )


def _debited(corrected: Invoice, wanted: Sequence[DebitLine]) -> list[InvoiceLine]:
    rows = {line.line_ref: line for line in corrected.lines}
    unknown = [asked.line_ref for asked in wanted if asked.line_ref not in rows]
    if unknown:
        raise InvalidError(
            f"There is no line {unknown[0]} on this invoice.",
            fields=[FieldError("lines", f"{unknown[0]} is not on this invoice")],
        )
    return [
        _debited_line(rows[asked.line_ref], ordinal, asked.amount_minor)
        for ordinal, asked in enumerate(wanted, start=1)
    ]


def _debited_line(row: InvoiceLine, ordinal: int, amount_minor: int) -> InvoiceLine:
    return InvoiceLine(
        line_ref=f"{row.line_ref}:{ordinal}",
        ordinal=ordinal,
        description=row.description,
        item_code=row.item_code,
        sac=row.sac,
        quantity=Decimal(1),
        unit="adjustment",
        unit_price=None,
        amount_minor=amount_minor,
        period_start=row.period_start,
        period_end=row.period_end,
        tier_breakdown=[],
        taxes=[
            TaxLine(
                head=tax.head,
                rate=tax.rate,
                taxable_minor=amount_minor,
                tax_minor=tax_minor(amount_minor, tax.rate),
            )
            for tax in row.taxes
        ],
    )


def _sum_up(invoice: Invoice) -> None:
    invoice.taxable_minor = sum(line.amount_minor for line in invoice.lines)
    invoice.tax_minor = sum(tax.tax_minor for line in invoice.lines for tax in line.taxes)
    invoice.total_minor = invoice.taxable_minor + invoice.tax_minor


def _hash(said: object) -> str:
    return hashlib.sha256(canonical_json(said).encode()).hexdigest()
