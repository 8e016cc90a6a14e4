"""Receipt and refund vouchers: an advance is taxed when it comes, and papered both ways.

Every posting that brings an advance into a wallet, or takes it out again, gets one voucher (CGST
Act s.31(3)(d) and (e), Rules r.50 and r.51). The posting is the natural key, so a voucher that was
missed is issued by asking again. A promotion is no consideration and has none.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import structlog
from sqlalchemy import Engine, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from billing.access.actor import SYSTEM
from billing.access.roles import Permission
from billing.clock import Clock
from billing.commands import Context, Request, command
from billing.customers.tables import Account, Customer, TaxProfile
from billing.db.unit_of_work import read_only, unit_of_work
from billing.documents.tables import SERIES, Document, DocumentKind, DocumentLine
from billing.errors import BillingError, PreconditionError, not_found
from billing.formatting import format_date
from billing.invoices.numbering import next_number
from billing.invoices.repository import default_registration
from billing.invoices.return_periods import hold_open
from billing.invoices.tables import Invoice, SupplierRegistration
from billing.invoices.taxing import decide_invoice_tax, tax_profile_on
from billing.money import currency
from billing.payments.advances import ADVANCE_SAC
from billing.payments.tables import Payment
from billing.periods import DEFAULT_ZONE, local_day
from billing.tax.einvoice import DocumentType
from billing.tax.model import DecisionStatus, TaxDecision
from billing.wallets.allocations import allocate, allocations_of
from billing.wallets.ledger import lock_wallet
from billing.wallets.tables import (
    AdvancePolicy,
    LedgerAccount,
    LedgerEntry,
    LedgerKind,
    LedgerTransaction,
    Wallet,
)
from invoicing import document as doc
from invoicing.parts import fx_on, head_totals
from invoicing.top_up_invoices import (
    Moved,
    credit_top_up,
    invoice_of_top_up,
    issue_top_up_invoice,
)
from invoicing.view import brand_of, recipient_part, supplier_part, template_of
from invoicing.voucher_tax import voucher_taxes
from invoicing.words import amount_in_words

logger = structlog.get_logger(__name__)

_KINDS = {
    LedgerKind.TOP_UP: DocumentKind.RECEIPT_VOUCHER,
    LedgerKind.REFUND: DocumentKind.REFUND_VOUCHER,
}
_TYPES = {
    DocumentKind.RECEIPT_VOUCHER: DocumentType.RECEIPT_VOUCHER,
    DocumentKind.REFUND_VOUCHER: DocumentType.REFUND_VOUCHER,
}
_TITLES = {
    DocumentKind.RECEIPT_VOUCHER: "Receipt Voucher",
    DocumentKind.REFUND_VOUCHER: "Refund Voucher",
}


class IssueVoucher(Request):
    """The posting that moved an advance."""

    ledger_transaction_id: UUID


@command("voucher.issue", Permission.INVOICES_WRITE)
def issue_voucher(ctx: Context, request: IssueVoucher) -> Document | Invoice:
    """Issue the voucher of a posting; a posting that has one gives that one.

    Under the policy of a tax invoice at the top-up it is that invoice, and of a refund the credit
    note against it.

    Raises:
        PreconditionError: if the posting is no advance, or its tax cannot be decided.
    """
    session = ctx.session
    for papers in (select(Document), select(Invoice)):
        of_posting = papers.filter_by(ledger_transaction_id=request.ledger_transaction_id)
        earlier: Document | Invoice | None = session.scalars(of_posting).one_or_none()
        if earlier is not None:
            return earlier
    posting = session.get(LedgerTransaction, request.ledger_transaction_id)
    if posting is None:
        raise not_found("ledger transaction", request.ledger_transaction_id)
    if posting.kind not in _KINDS:
        raise PreconditionError(
            f"A {posting.kind.value} posting is no advance and has no voucher.", code="no_advance"
        )
    return _with_invoice(ctx, posting) or _issue(ctx, posting, _KINDS[posting.kind])


def postings_without_voucher(
    session: Session, *, payment_id: UUID | None = None, limit: int = 500
) -> list[UUID]:
    """Advances that were received or refunded and are not papered yet, oldest first.

    Args:
        payment_id: only those of this payment.
    """
    papered = select(Document.ledger_transaction_id).where(
        Document.ledger_transaction_id == LedgerTransaction.id
    )
    invoiced = select(Invoice.id).where(Invoice.ledger_transaction_id == LedgerTransaction.id)
    query = select(LedgerTransaction.id).where(
        LedgerTransaction.kind.in_(_KINDS), ~papered.exists(), ~invoiced.exists()
    )
    if payment_id is not None:
        query = query.where(LedgerTransaction.reference.startswith(f"payment:{payment_id}:"))
    return list(session.scalars(query.order_by(LedgerTransaction.id).limit(limit)))


def issue_missing_vouchers(
    engine: Engine, clock: Clock, *, payment_id: UUID | None = None
) -> tuple[int, int]:
    """Paper every advance that is not; how many were issued, and how many could not be.

    One that cannot be (no tax profile, no exchange rate) is reported and tried again next time.
    """
    with read_only(engine) as session:
        missing = postings_without_voucher(session, payment_id=payment_id)
    issued = failed = 0
    for posting_id in missing:
        try:
            with unit_of_work(engine) as session:
                context = Context(session, SYSTEM, clock)
                issue_voucher(context, IssueVoucher(ledger_transaction_id=posting_id))
            issued += 1
        except BillingError as error:
            failed += 1
            logger.warning("no voucher", posting=str(posting_id), reason=error.message)
        except IntegrityError:
            continue  # another process papered it at the same moment
    return issued, failed


@dataclass(frozen=True, slots=True)
class _Advance:
    """All that a voucher is made of; amounts are positive minor units."""

    kind: DocumentKind
    posting: LedgerTransaction
    wallet: Wallet
    account: Account
    customer: Customer
    supplier: SupplierRegistration
    profile: TaxProfile
    decision: TaxDecision
    day: date
    """Of the document, never before that of the number before it."""
    moved_on: date
    """When the money came or went: its tax, its rate and its month in the return."""
    now: datetime
    taxable_minor: int
    tax_minor: int
    taxes: tuple[doc.TaxOnLine, ...]

    @property
    def total_minor(self) -> int:
        return self.taxable_minor + self.tax_minor

    @property
    def description(self) -> str:
        what = "Advance" if self.kind is DocumentKind.RECEIPT_VOUCHER else "Refund of an advance"
        received = "" if self.moved_on == self.day else f", {format_date(self.moved_on)}"
        return f"{what} for authentication services (wallet credits{received})"


def _with_invoice(ctx: Context, posting: LedgerTransaction) -> Document | Invoice | None:
    """The paper of a posting where top-ups are invoiced; None where they have vouchers."""
    wallet, taxable_minor, tax_minor = _amounts(ctx.session, posting)
    wallet = lock_wallet(ctx.session, wallet)
    day = local_day(ctx.clock.now(), DEFAULT_ZONE)
    moved = Moved(posting, wallet, taxable_minor, tax_minor, day)
    if posting.kind is LedgerKind.REFUND:
        sold = invoice_of_top_up(ctx.session, posting)
        return None if sold is None else credit_top_up(ctx, moved, sold.id)
    if wallet.advance_policy is not AdvancePolicy.TAX_INVOICE:
        return None
    return issue_top_up_invoice(ctx, moved, _supplier(ctx.session))


def _supplier(session: Session) -> SupplierRegistration:
    supplier = default_registration(session)
    if supplier is None:
        raise PreconditionError(
            "None of our registrations is the default; register one first.", code="no_supplier"
        )
    return supplier


def _issue(ctx: Context, posting: LedgerTransaction, kind: DocumentKind) -> Document:
    advance = _advance(ctx, posting, kind)
    number = next_number(
        ctx.session,
        gstin=advance.supplier.gstin,
        series=SERIES[kind],
        issue_date=advance.day,
    )
    paper = _paper(ctx.session, advance, number)
    voucher = Document(
        kind=kind,
        number=number,
        issue_date=advance.day,
        supplier_gstin=advance.supplier.gstin,
        customer_id=advance.account.customer_id,
        account_id=advance.account.id,
        currency=posting.currency,
        taxable_minor=advance.taxable_minor,
        tax_minor=advance.tax_minor,
        total_minor=advance.total_minor,
        reason=advance.description,
        ledger_transaction_id=posting.id,
        applied_minor=0,
        snapshot=paper.to_dict(),
        snapshot_hash=paper.snapshot_hash,
        issued_by=ctx.actor.name,
        issued_at=ctx.clock.now(),
        lines=[
            DocumentLine(
                ordinal=1,
                description=advance.description,
                sac=ADVANCE_SAC,
                taxable_minor=advance.taxable_minor,
                taxes=[tax.model_dump(mode="json") for tax in paper.lines[0].taxes],
            )
        ],
    )
    ctx.session.add(voucher)
    ctx.session.flush()
    return voucher


def _advance(ctx: Context, posting: LedgerTransaction, kind: DocumentKind) -> _Advance:
    session = ctx.session
    wallet, taxable_minor, tax_minor = _amounts(session, posting)
    account = session.get_one(Account, wallet.account_id)
    moved_on = _moved_on(session, posting)
    supplier = _supplier(session)
    hold_open(session, supplier.gstin, moved_on)
    profile = tax_profile_on(session, account.customer_id, moved_on)
    decision = decide_invoice_tax(
        supplier, profile, sacs={ADVANCE_SAC}, currency=posting.currency, tax_date=moved_on
    )
    if decision.status is DecisionStatus.REJECT:
        raise PreconditionError(decision.notes or "Tax cannot be decided.", code="tax_rejected")
    return _Advance(
        kind=kind,
        posting=posting,
        wallet=wallet,
        account=account,
        customer=session.get_one(Customer, account.customer_id),
        supplier=supplier,
        profile=profile,
        decision=decision.leading,
        day=local_day(ctx.clock.now(), DEFAULT_ZONE),
        moved_on=moved_on,
        now=ctx.clock.now(),
        taxable_minor=taxable_minor,
        tax_minor=tax_minor,
        taxes=voucher_taxes(session, posting, decision.leading, (taxable_minor, tax_minor)),
    )


def _moved_on(session: Session, posting: LedgerTransaction) -> date:
    """The day on which money came or went, in India; of a payment it is the bank's."""
    kind, _, name = posting.reference.partition(":")
    payment_id, _, number = name.partition(":")
    captured_at = None
    if (kind, number) == ("payment", "1"):  # what came or went later has no day but its own
        captured_at = session.get_one(Payment, UUID(payment_id)).captured_at
    return local_day(captured_at or posting.recorded_at, DEFAULT_ZONE)


def _paper(session: Session, advance: _Advance, number: str) -> doc.InvoiceDocument:
    line = _line(advance)
    currency_code = advance.posting.currency
    amounts = [(line.taxable_minor, line.taxes)]
    return doc.InvoiceDocument(
        document_type=_TYPES[advance.kind],
        status=doc.DocumentStatus.ISSUED,
        title=_TITLES[advance.kind],
        brand=brand_of(advance.supplier, template_of(session, advance.supplier)),
        supplier=supplier_part(advance.supplier, advance.decision),
        recipient=recipient_part(advance.profile, advance.customer),
        supply=advance.decision.supply,
        number=number,
        issue_date=advance.day,
        period_start=advance.moved_on,
        period_end=advance.moved_on + timedelta(days=1),
        account_name=advance.account.name,
        references=_references(session, advance.posting, advance.wallet, advance.now),
        place_of_supply_code=advance.decision.pos_code or "",
        place_of_supply_name=advance.decision.pos_name or "",
        currency=currency_code,
        lines=(line,),
        head_totals=head_totals(amounts),
        taxable_minor=advance.taxable_minor,
        tax_minor=advance.tax_minor,
        total_minor=advance.total_minor,
        amount_in_words=amount_in_words(advance.total_minor, currency_code),
        fx=fx_on(session, currency_code, advance.moved_on, amounts),
        wording=advance.decision.wording,
        hidden_columns=("quantity", "unit_price"),
        signature_note="This is a computer-generated voucher; no signature is required.",
    )


def _line(advance: _Advance) -> doc.DocumentLine:
    return doc.DocumentLine(
        ordinal=1,
        description=advance.description,
        sac=ADVANCE_SAC,
        quantity=Decimal(1),
        unit="advance",
        taxable_minor=advance.taxable_minor,
        taxes=advance.taxes,
        total_minor=advance.total_minor,
    )


def _amounts(session: Session, posting: LedgerTransaction) -> tuple[Wallet, int, int]:
    """The wallet, and what it gained or gave back: credits and tax, positive, in minor units."""
    scale = currency(posting.currency).units_per_minor
    sums = {LedgerAccount.WALLET: 0, LedgerAccount.TAX_ON_ADVANCES: 0}
    wallet_id = None
    for entry in session.scalars(select(LedgerEntry).filter_by(transaction_id=posting.id)):
        wallet_id = entry.wallet_id
        if entry.account in sums:
            sums[entry.account] += entry.amount_units
    taxable_minor, tax_minor = (abs(units) // scale for units in sums.values())
    return session.get_one(Wallet, wallet_id), taxable_minor, tax_minor


def _references(
    session: Session, posting: LedgerTransaction, wallet: Wallet, now: datetime
) -> tuple[doc.DocumentReference, ...]:
    """A refund names the vouchers of the advances that it gives back (r.51), as allocated."""
    if posting.kind is not LedgerKind.REFUND:
        return ()
    allocate(session, wallet, now)
    named = {
        one.voucher: one.voucher_date
        for one in allocations_of(session, wallet.id, [posting.reference])
        if one.voucher is not None and one.voucher_date is not None
    }
    return tuple(
        doc.DocumentReference(number=number, issue_date=day) for number, day in named.items()
    )
