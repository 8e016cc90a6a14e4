"""From the lines of a rating run to drafts: made, brought up to date, or left as they are."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from billing.clock import Clock
from billing.commands import canonical_json
from billing.db.locks import lock_for_transaction
from billing.db.recall import recalling
from billing.errors import BillingError, PreconditionError
from billing.ids import new_id
from billing.invoices.charges import charges_of
from billing.invoices.consolidation import bill_accounts
from billing.invoices.repository import default_registration, load_invoice
from billing.invoices.rerating import lock_adjustments
from billing.invoices.tables import (
    Invoice,
    InvoiceLine,
    InvoiceOrigin,
    InvoiceStatus,
    ReviewState,
    SupplierRegistration,
)
from billing.invoices.taxing import apply_tax, decide_tax_of, read_tax_profiles
from billing.invoices.turnovers import highest_turnover
from billing.periods import DEFAULT_ZONE, local_day, month_of
from billing.tax.einvoice import DocumentType
from billing.tax.model import DecisionStatus
from billing.wallets.tables import AdvancePolicy, Wallet
from invoicing.consolidate import DraftedLines, by_draft, earlier, on_own_invoices, usage_of
from invoicing.rated_lines import RatedLine, rated_lines, unrated_usage, used, with_charges
from invoicing.rerated import Adjustments, adjustments_for, note_rerated, with_adjustments
from invoicing.unrated import alert_unrated


@dataclass
class DraftReport:
    """What a drafting run did, by invoice id."""

    created: list[UUID] = field(default_factory=list)
    updated: list[UUID] = field(default_factory=list)
    unchanged: list[UUID] = field(default_factory=list)
    issued_kept: list[UUID] = field(default_factory=list)
    """Already issued: frozen, whatever the lines say now."""
    issued_differs: list[UUID] = field(default_factory=list)
    """Those of them that came to more or less since: see `billing.invoices.rerating`."""
    removed: list[UUID] = field(default_factory=list)
    """Drafts that no line supports any more."""
    parked: list[UUID] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Assembly:
    """What is the same for every draft of a run."""

    session: Session
    clock: Clock
    invoice_month: date
    rating_run_id: UUID
    supplier: SupplierRegistration
    unrated: dict[UUID, str]
    used: dict[tuple[UUID, date], list[dict[str, Any]]]
    existing: dict[UUID, list[Invoice]]
    turnover: Decimal
    taxed_before: frozenset[UUID]
    """Accounts whose wallets have a tax invoice for each top-up."""
    adjustments: Adjustments
    report: DraftReport
    issued: dict[UUID, list[RatedLine]] = field(default_factory=dict)
    """By invoice that is issued: the lines that would stand on it now."""


def draft_invoices(
    session: Session, invoice_month: date, rating_run_id: UUID, clock: Clock
) -> DraftReport:
    """Make the drafts of a month agree with a rating run. Running it again changes nothing.

    Args:
        invoice_month: first day of the month.
        rating_run_id: the run whose lines stand in `marts.fct_invoice_lines`.

    Raises:
        PreconditionError: if no default supplier registration is on record.
    """
    lock_for_transaction(session, f"drafts:{invoice_month}")
    lock_adjustments(session)  # no two months bill the same difference
    supplier = default_registration(session)
    if supplier is None:
        raise PreconditionError(
            "No supplier registration is on record; register the GSTIN that supplies.",
            code="no_supplier_registration",
        )
    lines = with_charges(
        rated_lines(session, invoice_month, rating_run_id),
        charges_of(session, invoice_month),
        invoice_month,
    )
    adjustments = adjustments_for(session, invoice_month)
    lines = with_adjustments(lines, adjustments.to_bill, invoice_month)
    settings = bill_accounts(session)
    unrated = unrated_usage(session, invoice_month)
    last_day = month_of(invoice_month).end - timedelta(days=1)
    assembly = _Assembly(
        session=session,
        clock=clock,
        invoice_month=invoice_month,
        rating_run_id=rating_run_id,
        supplier=supplier,
        unrated=on_own_invoices(unrated, settings, last_day),
        used=used(session, invoice_month, rating_run_id),
        existing=_existing(session, lines, invoice_month),
        turnover=highest_turnover(session, supplier.gstin, invoice_month),
        taxed_before=_taxed_before(session),
        adjustments=adjustments,
        report=DraftReport(),
    )
    seen: set[UUID] = set()
    with recalling(session):
        customers = {line.customer_id for line in lines}
        read_tax_profiles(session, customers, _tax_date(assembly))
        for drafted in by_draft(session, lines, settings):
            seen.add(_draft_one(assembly, drafted))
    _remove_unsupported(assembly, seen)
    _note_issued(assembly, seen)
    alert_unrated(session, invoice_month, unrated, clock.now())
    session.flush()
    return assembly.report


def _taxed_before(session: Session) -> frozenset[UUID]:
    query = select(Wallet.account_id).filter_by(advance_policy=AdvancePolicy.TAX_INVOICE)
    return frozenset(session.scalars(query))


def _type_of(assembly: _Assembly, account_id: UUID) -> DocumentType:
    is_taxed = account_id in assembly.taxed_before
    return DocumentType.STATEMENT if is_taxed else DocumentType.INVOICE


def _existing(
    session: Session, lines: Sequence[RatedLine], invoice_month: date
) -> dict[UUID, list[Invoice]]:
    """By account what is there already for the month or the periods of the lines, oldest first.

    All of it is locked.
    """
    if not lines:
        return {}
    in_a_period = Invoice.period_start.between(
        min(line.period_start for line in lines), max(line.period_start for line in lines)
    )
    found: dict[UUID, list[Invoice]] = {}
    rows = session.scalars(
        select(Invoice)
        .where(
            Invoice.origin == InvoiceOrigin.RATED,
            or_(in_a_period, Invoice.invoice_month == invoice_month),
        )
        .order_by(Invoice.account_id, Invoice.revision)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    for row in rows:
        found.setdefault(row.account_id, []).append(row)
    return found


def _draft_one(assembly: _Assembly, drafted: DraftedLines) -> UUID:
    existing = earlier(
        assembly.existing.get(drafted.account_id, []), drafted, assembly.invoice_month
    )
    revision = existing.revision if existing is not None else 1
    if existing is not None and existing.status is InvoiceStatus.VOID:
        existing, revision = None, revision + 1  # what was made void is invoiced again
    if existing is not None and existing.status is not InvoiceStatus.DRAFT:
        assembly.report.issued_kept.append(existing.id)
        assembly.issued.setdefault(existing.id, []).extend(drafted.lines)
        return existing.id
    lines_hash = hash_of_lines(drafted.lines, _to_credit(assembly, drafted))
    if existing is not None and _is_up_to_date(assembly, existing, lines_hash):
        existing.rating_run_id = assembly.rating_run_id
        assembly.report.unchanged.append(existing.id)
        return existing.id
    if existing is None:
        invoice = _new_draft(assembly, drafted, revision)
        assembly.report.created.append(invoice.id)
    else:
        invoice = _emptied(assembly.session, existing.id)
        assembly.report.updated.append(invoice.id)
    _fill(assembly, invoice, drafted, lines_hash)
    return invoice.id


def _to_credit(assembly: _Assembly, drafted: DraftedLines) -> str:
    """What the accounts on a draft are to be given back of earlier months, in words."""
    said = assembly.adjustments.to_credit
    concerned = sorted({drafted.account_id, *(line.account_id for line in drafted.lines)})
    return " ".join(said[account_id] for account_id in concerned if account_id in said)


def _note_issued(assembly: _Assembly, seen: set[UUID]) -> None:
    """Note what issued invoices of the month come to; of some nothing may be left."""
    of_month = assembly.session.scalars(
        select(Invoice.id).where(
            Invoice.origin == InvoiceOrigin.RATED,
            Invoice.invoice_month == assembly.invoice_month,
            Invoice.status.in_([InvoiceStatus.DUE, InvoiceStatus.PAID]),
        )
    )
    gone: dict[UUID, list[RatedLine]] = {one: [] for one in of_month if one not in seen}
    issued = gone | assembly.issued
    differing = note_rerated(assembly.session, issued, assembly.rating_run_id)
    assembly.report.issued_differs.extend(differing)


def _is_up_to_date(assembly: _Assembly, existing: Invoice, lines_hash: str) -> bool:
    should_be_parked = existing.account_id in assembly.unrated
    is_parked = existing.review_state is ReviewState.PARKED
    is_of_type = existing.document_type is _type_of(assembly, existing.account_id)
    is_equal = existing.lines_hash == lines_hash and is_of_type
    return is_equal and not should_be_parked and not is_parked


def _new_draft(assembly: _Assembly, drafted: DraftedLines, revision: int) -> Invoice:
    now = assembly.clock.now()
    return Invoice(
        id=new_id(),
        account_id=drafted.account_id,
        customer_id=drafted.first.customer_id,
        supplier_gstin=assembly.supplier.gstin,
        period_start=drafted.period_start,
        period_end=drafted.period_end,
        invoice_month=assembly.invoice_month,
        revision=revision,
        status=InvoiceStatus.DRAFT,
        currency=drafted.first.currency,
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


def _emptied(session: Session, draft_id: UUID) -> Invoice:
    """The draft without its lines; flushed, so that new ones may have the same references."""
    draft = load_invoice(session, draft_id)
    draft.lines.clear()
    draft.taxable_minor = draft.tax_minor = draft.total_minor = 0
    session.flush()
    return draft


def _fill(assembly: _Assembly, invoice: Invoice, drafted: DraftedLines, lines_hash: str) -> None:
    """Give a draft its lines and taxes, or park it with what stands in the way."""
    invoice.lines_hash = lines_hash
    invoice.document_type = _type_of(assembly, invoice.account_id)
    invoice.period_start, invoice.period_end = drafted.period_start, drafted.period_end
    invoice.usage_breakdown = usage_of(assembly.session, drafted, assembly.used)
    invoice.rating_run_id = assembly.rating_run_id
    invoice.updated_at = assembly.clock.now()
    invoice.reviewed_by = None
    invoice.lines = [
        _to_line(number, line, line.account_id if drafted.is_shared else None)
        for number, line in enumerate(drafted.lines, 1)
    ]
    note, rejected = _tax(assembly, invoice, invoice.lines)
    unrated = assembly.unrated.get(invoice.account_id)
    to_look_at = [unrated or note, _to_credit(assembly, drafted)]
    invoice.review_note = " ".join(one for one in to_look_at if one) or None
    if unrated or rejected:
        invoice.review_state = ReviewState.PARKED
        assembly.report.parked.append(invoice.id)
    else:
        invoice.review_state = ReviewState.PENDING
    assembly.session.add(invoice)  # whole: what is added piece by piece is looked through each time


def _tax(
    assembly: _Assembly, invoice: Invoice, lines: list[InvoiceLine]
) -> tuple[str | None, bool]:
    """Put tax on a draft; return what a person has to look at, and whether it must not go out."""
    try:
        # All new drafts are written together at the end, not one by one as profiles are read.
        with assembly.session.no_autoflush:
            decision, _ = decide_tax_of(
                assembly.session, invoice, assembly.supplier, _tax_date(assembly), assembly.turnover
            )
    except BillingError as error:
        # Without a tax profile or a rate there is no tax yet, but the lines are worth showing.
        invoice.taxable_minor = invoice.total_minor = sum(line.amount_minor for line in lines)
        invoice.tax_minor = invoice.round_off_minor = 0
        return error.message, True
    apply_tax(invoice, lines, decision)
    return decision.notes, decision.status is DecisionStatus.REJECT


def _tax_date(assembly: _Assembly) -> date:
    """The supply is made as the period ends; on the day of issue it is decided again."""
    today = local_day(assembly.clock.now(), DEFAULT_ZONE)
    return min(today, month_of(assembly.invoice_month).end)


def _to_line(ordinal: int, line: RatedLine, account_id: UUID | None) -> InvoiceLine:
    return InvoiceLine(
        account_id=account_id,
        line_ref=line.line_ref,
        ordinal=ordinal,
        description=line.description,
        item_code=line.item_code,
        sac=line.sac,
        quantity=line.quantity,
        unit=line.unit,
        unit_price=line.unit_price,
        amount_minor=line.amount_minor,
        period_start=line.serves[0] if line.serves else line.period_start,
        period_end=line.serves[1] if line.serves else line.period_end,
        tier_breakdown=line.tier_breakdown,
        taxes=[],
    )


def _remove_unsupported(assembly: _Assembly, seen: set[UUID]) -> None:
    """Delete drafts of the month that have no line left, as when all their usage was voided."""
    session = assembly.session
    drafts = session.scalars(
        select(Invoice.id).filter_by(
            invoice_month=assembly.invoice_month,
            status=InvoiceStatus.DRAFT,
            origin=InvoiceOrigin.RATED,
        )
    ).all()
    for draft in drafts:
        if draft not in seen:
            session.delete(_emptied(session, draft))
            assembly.report.removed.append(draft)


def hash_of_lines(lines: Sequence[RatedLine], noted: str = "") -> str:
    """SHA-256 over what the lines say; equal hash, equal invoice.

    Args:
        noted: what else whoever reviews the draft is told.
    """
    said: list[Any] = [
        [
            line.line_ref,
            line.description,
            line.sac,
            line.quantity.normalize(),
            line.unit,
            None if line.unit_price is None else line.unit_price.normalize(),
            line.amount_minor,
            line.tier_breakdown,
        ]
        for line in lines
    ]
    if noted:
        said.append(noted)
    return hashlib.sha256(canonical_json(said).encode()).hexdigest()
