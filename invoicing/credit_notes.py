"""Credit notes: what an issued invoice said too much is taken back by a document of its own.

The note repeats the invoice's particulars, heads and rates (CGST Act s.34(1), Rules r.53). After
the time limit of s.34(2) it is a financial note: the value goes back, the tax does not.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from uuid import UUID

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from billing.access.roles import Permission
from billing.commands import Context, Request, command
from billing.customers.tables import Account, BillingMode
from billing.documents.crediting import CreditedLine, LineLeft, TaxPart, credit, left_of
from billing.documents.repository import notes_of
from billing.documents.tables import SERIES, Document, DocumentKind, DocumentLine
from billing.errors import FieldError, InvalidError, PreconditionError, not_found
from billing.invoices.numbering import next_number
from billing.invoices.repository import load_invoice
from billing.invoices.settlement import SettlementSource, outstanding_minor, settle
from billing.invoices.tables import Invoice, InvoiceOrigin, InvoiceStatus
from billing.money import minor_to_units, split
from billing.periods import DEFAULT_ZONE, local_day
from billing.tax.einvoice import DocumentType
from billing.tax.fiscal import credit_note_safe_issue_day
from billing.tax.model import TaxHead
from billing.wallets.ledger import Posting, post_adjustment
from billing.wallets.tables import LedgerAccount, LedgerKind, Wallet
from invoicing.einvoice.prepare import prepare
from invoicing.note_paper import note_paper

_ISSUED = frozenset({InvoiceStatus.DUE, InvoiceStatus.PAID})


class CreditLine(Request):
    """How much of a line to take back, exclusive of tax, in minor units."""

    line_ref: str
    amount_minor: int = Field(gt=0, lt=2**53)


class IssueCreditNote(Request):
    """What to take back of an invoice; everything that is left if no lines are named."""

    invoice_id: UUID
    reason: str = Field(min_length=3, max_length=500)
    lines: tuple[CreditLine, ...] | None = Field(default=None, min_length=1)


class ApplyCreditNote(Request):
    """Set what is left of a note against another invoice of the customer."""

    document_id: UUID
    invoice_id: UUID
    amount_minor: int = Field(gt=0, lt=2**53)


@command("credit_note.issue", Permission.INVOICES_APPROVE)
def issue_credit_note(ctx: Context, request: IssueCreditNote) -> Document:
    """Issue a credit note and give its amount back: first against what is still due on the
    invoice, then into the wallet of a prepaid account; the rest waits for another invoice.

    Raises:
        PreconditionError: if the invoice is not issued.
        InvalidError: if a line is unknown, or less of it is left.
    """
    invoice = load_invoice(ctx.session, request.invoice_id, lock=True)
    ctx.actor.require_customer(invoice.customer_id)
    require_creditable(invoice)
    if invoice.document_type is DocumentType.STATEMENT:
        raise PreconditionError(
            "A statement of usage bears no tax; correct the wallet instead.", code="statement"
        )
    return take_back(ctx, invoice, _wanted(left_on(ctx.session, invoice), request), request.reason)


def take_back(
    ctx: Context,
    invoice: Invoice,
    wanted: Sequence[tuple[LineLeft, int]],
    reason: str,
    *,
    for_usage: bool = False,
) -> Document:
    """Issue a note for parts of lines, exclusive of tax in minor units, and give it back.

    Of a statement, which bears no tax, it is a financial note.

    Args:
        for_usage: it gives back what usage came to less after issue.

    Raises:
        PreconditionError: if the invoice is not issued, or no note takes back what it says.
        InvalidError: if less of a line is left.
    """
    issue_date = require_creditable(invoice)
    today = local_day(ctx.clock.now(), DEFAULT_ZONE)
    with_tax = (
        today <= credit_note_safe_issue_day(issue_date)
        and invoice.document_type is not DocumentType.STATEMENT
    )
    kind = DocumentKind.CREDIT_NOTE if with_tax else DocumentKind.FINANCIAL_CREDIT_NOTE
    credited = [
        credit(left, amount_minor, invoice.currency, with_tax=with_tax)
        for left, amount_minor in wanted
    ]
    note = issue_note(
        ctx,
        invoice,
        credited,
        kind,
        today,
        reason,
        for_usage=for_usage,
        round_off_minor=_round_off_of_last(ctx.session, invoice, credited) if with_tax else 0,
    )
    _give_back(ctx, invoice, note)
    return note


@command("credit_note.apply", Permission.PAYMENTS_WRITE)
def apply_credit_note(ctx: Context, request: ApplyCreditNote) -> Document:
    """Set what is left of a note against another invoice of the same customer.

    Raises:
        PreconditionError: if less is left, or the invoice is another customer's or in another
            currency.
    """
    note = ctx.session.get(
        Document, request.document_id, with_for_update=True, populate_existing=True
    )
    if note is None:
        raise not_found("document", request.document_id)
    ctx.actor.require_customer(note.customer_id)
    invoice = load_invoice(ctx.session, request.invoice_id, lock=True)
    if (invoice.customer_id, invoice.currency) != (note.customer_id, note.currency):
        raise PreconditionError(
            "A note settles invoices of its own customer in its own currency only.",
            code="other_party",
        )
    if note.invoice_id is None or request.amount_minor > note.unapplied_minor:
        raise PreconditionError(
            f"Of {note.number} there is {note.unapplied_minor if note.invoice_id else 0} left.",
            code="more_than_left",
        )
    _settle(ctx, invoice, note, request.amount_minor)
    return note


def require_creditable(invoice: Invoice) -> date:
    """When it was issued; what follows from a top-up is corrected there, and its paper follows.

    Raises:
        PreconditionError: if it is not issued, or no note takes back what it says.
    """
    if invoice.status not in _ISSUED or invoice.issue_date is None:
        raise PreconditionError(
            f"This invoice is {invoice.status.value}; credit notes take back issued ones. "
            "A draft is corrected by changing what it is made from.",
            code="not_issued",
        )
    if invoice.origin is InvoiceOrigin.TOP_UP:
        raise PreconditionError(
            "Refund the top-up; its credit note follows by itself.", code="refund_instead"
        )
    return invoice.issue_date


def _round_off_of_last(session: Session, invoice: Invoice, credited: Sequence[CreditedLine]) -> int:
    """The invoice's round-off, if nothing is left of it once these lines are taken back."""
    if not invoice.round_off_minor:
        return 0
    left_minor = sum(line.taxable_minor for line in left_on(session, invoice))
    is_last = left_minor == sum(line.taxable_minor for line in credited)
    return invoice.round_off_minor if is_last else 0


def left_on(session: Session, invoice: Invoice) -> list[LineLeft]:
    """What earlier notes have left of the lines of an invoice."""
    taken: dict[UUID, list[tuple[int, list[TaxPart]]]] = {}
    for note in notes_of(session, invoice.id):
        for line in note.lines:
            if line.invoice_line_id is not None:
                parts = [_part(tax) for tax in line.taxes]
                taken.setdefault(line.invoice_line_id, []).append((line.taxable_minor, parts))
    return [
        left_of(
            line.line_ref,
            line.amount_minor,
            [TaxPart(tax.head, tax.rate, tax.tax_minor) for tax in line.taxes],
            taken.get(line.id, []),
        )
        for line in invoice.lines
    ]


def _wanted(left: list[LineLeft], request: IssueCreditNote) -> list[tuple[LineLeft, int]]:
    if request.lines is None:
        whole = [(line, line.taxable_minor) for line in left if line.taxable_minor]
        if not whole:
            raise PreconditionError(
                "Everything on this invoice was taken back already.", code="nothing_left"
            )
        return whole
    by_ref = {line.line_ref: line for line in left}
    amounts: dict[str, int] = {}
    for asked in request.lines:
        if asked.line_ref not in by_ref:
            raise InvalidError(
                f"There is no line {asked.line_ref} on this invoice.",
                fields=[FieldError("lines", f"{asked.line_ref} is not on this invoice")],
            )
        amounts[asked.line_ref] = amounts.get(asked.line_ref, 0) + asked.amount_minor
    return [(by_ref[line_ref], amount) for line_ref, amount in amounts.items()]


def issue_note(
    ctx: Context,
    invoice: Invoice,
    credited: list[CreditedLine],
    kind: DocumentKind,
    today: date,
    reason: str,
    *,
    posting_id: UUID | None = None,
    for_usage: bool = False,
    round_off_minor: int = 0,
) -> Document:
    """Number and freeze a note that takes these lines back; it settles nothing by itself.

    Args:
        for_usage: it gives back what usage came to less after issue.
        round_off_minor: of the invoice, if nothing is left of it then.
        posting_id: of credits that went back, the posting that took them from their wallet.
    """
    rows = {line.line_ref: line for line in invoice.lines}
    number = next_number(
        ctx.session, gstin=invoice.supplier_gstin, series=SERIES[kind], issue_date=today
    )
    paper = note_paper(invoice, credited, kind, number, today, reason, round_off_minor)
    note = Document(
        kind=kind,
        number=number,
        issue_date=today,
        supplier_gstin=invoice.supplier_gstin,
        customer_id=invoice.customer_id,
        account_id=invoice.account_id,
        currency=invoice.currency,
        taxable_minor=paper.taxable_minor,
        tax_minor=paper.tax_minor,
        round_off_minor=paper.round_off_minor,
        total_minor=paper.total_minor,
        reason=reason,
        invoice_id=invoice.id,
        ledger_transaction_id=posting_id,
        applied_minor=0,
        for_usage=for_usage,
        snapshot=paper.to_dict(),
        snapshot_hash=paper.snapshot_hash,
        issued_by=ctx.actor.name,
        issued_at=ctx.clock.now(),
        lines=[
            DocumentLine(
                ordinal=ordinal,
                invoice_line_id=rows[line.line_ref].id,
                description=rows[line.line_ref].description,
                sac=rows[line.line_ref].sac,
                taxable_minor=line.taxable_minor,
                taxes=[
                    {"head": tax.head.value, "rate": str(tax.rate), "tax_minor": tax.tax_minor}
                    for tax in line.taxes
                ],
            )
            for ordinal, line in enumerate(credited, start=1)
        ],
    )
    ctx.session.add(note)
    ctx.session.flush()
    prepare(ctx, paper, invoice.tax_decision, document_id=note.id)
    return note


def _give_back(ctx: Context, invoice: Invoice, note: Document) -> None:
    due = min(outstanding_minor(invoice), note.total_minor)
    if due:
        _settle(ctx, invoice, note, due)
    account = ctx.session.get_one(Account, invoice.account_id)
    if account.billing_mode is BillingMode.PREPAID and note.unapplied_minor:
        _into_wallet(ctx, account, note)


def _settle(ctx: Context, invoice: Invoice, note: Document, amount_minor: int) -> None:
    settle(
        ctx.session,
        invoice,
        SettlementSource.CREDIT_NOTE,
        amount_minor,
        ctx.clock.now(),
        details={"credit_note": note.number},
    )
    note.applied_minor += amount_minor


def _into_wallet(ctx: Context, account: Account, note: Document) -> None:
    """Credits come back exclusive of tax; their tax waits for the next invoice again."""
    wallet = ctx.session.scalars(
        select(Wallet).filter_by(account_id=account.id, currency=note.currency)
    ).one()
    back_minor = note.unapplied_minor
    credits_minor, tax_minor = split(back_minor, [note.taxable_minor, note.tax_minor])
    credit_units = minor_to_units(credits_minor, note.currency)
    tax_units = minor_to_units(tax_minor, note.currency)
    tax = [
        Posting(LedgerAccount.TAX_ON_ADVANCES, tax_units),
        Posting(LedgerAccount.OUTPUT_TAX, -tax_units),
    ]
    post_adjustment(
        ctx.session,
        wallet,
        amount_units=credit_units,
        kind=LedgerKind.CREDIT_NOTE,
        counter_account=LedgerAccount.REVENUE,
        reference=f"credit_note:{note.id}",
        note=note.number,
        actor=ctx.actor.name,
        now=ctx.clock.now(),
        further=tax if tax_units else (),
    )
    note.applied_minor += back_minor


def _part(stored: Mapping[str, object]) -> TaxPart:
    return TaxPart(
        TaxHead(str(stored["head"])), Decimal(str(stored["rate"])), int(str(stored["tax_minor"]))
    )
