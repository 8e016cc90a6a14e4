"""Approval: the moment a draft becomes a document, in one transaction.

Number, tax of the day, settlement, snapshot: either all of it happens or none. The number comes
last of what can fail, so that the counter is locked as briefly as possible. Several drafts go
through each step together: what they share is read once, and what they write goes out at once.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID

from sqlalchemy import select

from billing.access.roles import Permission
from billing.commands import Context, Request, command_for_each
from billing.customers.tables import Account, Customer
from billing.db.recall import keep, recalling
from billing.errors import BillingError, InvalidError, PreconditionError, not_found
from billing.invoices.approvals import enough_approvals
from billing.invoices.numbering import next_numbers
from billing.invoices.repository import load_invoices, registration
from billing.invoices.service import require_draft
from billing.invoices.tables import (
    Invoice,
    InvoiceAllocation,
    InvoiceOrigin,
    InvoiceStatus,
    ReviewState,
    SupplierRegistration,
)
from billing.invoices.taxing import (
    InvoiceTax,
    apply_tax,
    decide_tax_of,
    read_tax_profiles,
    total_with,
)
from billing.periods import DEFAULT_ZONE, local_day
from billing.subscriptions.ahead import too_early
from billing.tax.einvoice import DocumentType
from billing.tax.model import DecisionStatus
from invoicing.document import hash_of
from invoicing.einvoice.prepare import prepare
from invoicing.foresee import require_tax_reviewed, require_total
from invoicing.settle import settle_from_wallet
from invoicing.view import Decided, document_on

_SERIES = {
    DocumentType.DEBIT_NOTE: "DN",
    DocumentType.BILL_OF_SUPPLY: "BOS",
    DocumentType.STATEMENT: "ST",
}
_MAY_BE_APPROVED = frozenset({ReviewState.PENDING, ReviewState.IN_REVIEW})


class ApproveInvoice(Request):
    """Approve and issue a draft."""

    invoice_id: UUID
    issue_date: date | None = None
    """A day in India; today if not given."""
    expected_total_minor: int | None = None
    """What the approver confirms, with tax, in the draft's currency; another total is refused."""
    tax_reviewed: bool = False
    """The approver has looked at what the tax rules ask a person to look at."""


@dataclass(frozen=True, slots=True)
class _Ready:
    """A draft that may be issued on a day, with what that rests on."""

    invoice: Invoice
    issue_date: date
    supplier: SupplierRegistration
    decided: Decided | None
    """None of a debit note: it keeps the tax of the supply it corrects."""


@dataclass(frozen=True, slots=True)
class _Settled:
    """A draft that needs nothing more than its number."""

    ready: _Ready
    account: Account
    allocations: list[InvoiceAllocation]

    @property
    def counter(self) -> tuple[str, str, date]:
        """Which numbers it takes its own from."""
        ready = self.ready
        series = _series(ready.invoice, ready.supplier)
        return ready.invoice.supplier_gstin, series, ready.issue_date


def approve_invoice(ctx: Context, request: ApproveInvoice) -> Invoice:
    """Issue a draft: decide its tax for the day, settle it, number it, freeze it.

    Above the registration's limit the first approval is kept and the draft waits for a second
    person; it comes back as the draft it still is.

    Raises:
        PreconditionError: if it is no draft, is parked or rejected, its tax cannot be decided or
            was not reviewed though it must be, its total would be another than the expected one,
            or the same person approves twice.
        InvalidError: if the issue date is before the period has ended, or in the future.
    """
    (answer,) = approve_invoices(ctx, [request], [ctx.idempotency_key])
    if isinstance(answer, BillingError):
        raise answer
    return answer


@command_for_each("invoice.approve", Permission.INVOICES_APPROVE)
def approve_invoices(
    ctx: Context, requests: Sequence[ApproveInvoice]
) -> list[Invoice | BillingError]:
    """Issue drafts together, each as `approve_invoice` does, numbered in the order given.

    What tells beforehand that a draft cannot be issued is answered for that draft; none is asked
    for twice.

    Raises:
        BillingError: if something of one of them fails later on; nothing may be kept then, and
            each can be tried by itself.
    """
    with recalling(ctx.session):
        drafts = load_invoices(ctx.session, [one.invoice_id for one in requests], lock=True)
        parties = _read_parties(ctx, requests, drafts)
        refused = too_early(ctx.session, drafts.values())
        looked_at = [
            refused.get(one.invoice_id) or _look_at(ctx, one, drafts.get(one.invoice_id))
            for one in requests
        ]
        ready = [one for one in looked_at if isinstance(one, _Ready)]
        settled = [_settled(ctx, one, parties) for one in ready if _is_approved(ctx, one)]
        for one, number in _numbered(ctx, settled):
            draft, terms = one.ready, one.account.payment_terms_days
            invoice, day, decided = draft.invoice, draft.issue_date, draft.decided
            freeze(ctx, invoice, number, day, terms, one.allocations, decided)
    return [one.invoice if isinstance(one, _Ready) else one for one in looked_at]


def _read_parties(
    ctx: Context, requests: Sequence[ApproveInvoice], drafts: Mapping[UUID, Invoice]
) -> dict[UUID, Account]:
    """The accounts; customers and their tax profiles are read with them, to be found later."""
    accounts = ctx.session.scalars(
        select(Account).where(Account.id.in_({draft.account_id for draft in drafts.values()}))
    )
    customers = {draft.customer_id for draft in drafts.values()}
    found = ctx.session.scalars(select(Customer).where(Customer.id.in_(customers))).all()
    keep(ctx.session, "customers", found)  # the session itself forgets what nobody holds
    for day in {one.issue_date or _today(ctx) for one in requests}:
        read_tax_profiles(ctx.session, customers, day)
    return {account.id: account for account in accounts}


def _look_at(
    ctx: Context, request: ApproveInvoice, invoice: Invoice | None
) -> _Ready | BillingError:
    """Whether a draft may be issued; changes nothing."""
    try:
        if invoice is None:
            raise not_found("invoice", request.invoice_id)
        require_draft(invoice)
        _require_approvable(invoice)
        issue_date = _issue_date(ctx, invoice, request.issue_date)
        supplier = registration(ctx.session, invoice.supplier_gstin)
        if invoice.origin is InvoiceOrigin.CORRECTION:
            require_total(invoice, issue_date, invoice.total_minor, request.expected_total_minor)
            return _Ready(invoice, issue_date, supplier, None)
        decision, profile = decide_tax_of(ctx.session, invoice, supplier, issue_date)
        if decision.status is DecisionStatus.REJECT:
            raise PreconditionError(decision.notes or "Tax cannot be decided.", code="tax_rejected")
        total = total_with(invoice, decision)
        require_total(invoice, issue_date, total, request.expected_total_minor)
        require_tax_reviewed(decision, request.tax_reviewed)
    except BillingError as error:
        return error
    return _Ready(invoice, issue_date, supplier, (decision, profile))


def _is_approved(ctx: Context, ready: _Ready) -> bool:
    """Put the tax of the day on a draft, and say whether enough persons approved that."""
    invoice = ready.invoice
    if ready.decided is not None and _is_changed_by(invoice, ready.decided[0]):
        for line in invoice.lines:
            line.taxes.clear()
        ctx.session.flush()
        apply_tax(invoice, invoice.lines, ready.decided[0])
        ctx.session.flush()
    return enough_approvals(ctx, invoice, ready.supplier, ready.issue_date)


def _is_changed_by(invoice: Invoice, decision: InvoiceTax) -> bool:
    """Whether the decision of the day, or the rounding of its total, is not on a draft yet."""
    return (
        decision.to_dict() != invoice.tax_decision
        or total_with(invoice, decision) != invoice.total_minor
    )


def _settled(ctx: Context, ready: _Ready, accounts: Mapping[UUID, Account]) -> _Settled:
    invoice = ready.invoice
    account = accounts[invoice.account_id]
    # What a person wrote was not debited from a wallet as it happened: it is paid as any other.
    is_rated = invoice.origin is InvoiceOrigin.RATED
    allocations = settle_from_wallet(ctx, invoice, account) if is_rated else []
    return _Settled(ready, account, allocations)


def _numbered(ctx: Context, settled: Sequence[_Settled]) -> list[tuple[_Settled, str]]:
    """Each with its number; the counters of all series are locked in one order."""
    numbers: dict[tuple[str, str, date], Iterator[str]] = {}
    for counter, count in sorted(Counter(one.counter for one in settled).items()):
        gstin, series, day = counter
        numbers[counter] = iter(
            next_numbers(ctx.session, gstin=gstin, series=series, issue_date=day, count=count)
        )
    return [(one, next(numbers[one.counter])) for one in settled]


def freeze(
    ctx: Context,
    invoice: Invoice,
    number: str,
    issue_date: date,
    payment_terms_days: int,
    allocations: Sequence[InvoiceAllocation],
    decided: Decided | None,
) -> None:
    """Make a flushed draft the document it is from now on.

    Args:
        allocations: what settles it already.
        decided: the tax of the day and the profile it rests on; None for a debit note.
    """
    # The database freezes the row as soon as it is issued, so everything goes in one update.
    with ctx.session.no_autoflush:
        _issue(ctx, invoice, number, issue_date, payment_terms_days)
        invoice.settled_minor = sum(allocation.amount_minor for allocation in allocations)
        if invoice.settled_minor == invoice.total_minor:
            invoice.status = InvoiceStatus.PAID
        paper = document_on(ctx.session, invoice, issue_date, allocations, decided)
        invoice.snapshot = paper.to_dict()
        invoice.snapshot_hash = hash_of(invoice.snapshot)
        prepare(ctx, paper, invoice.tax_decision, invoice_id=invoice.id)


def _series(invoice: Invoice, supplier: SupplierRegistration) -> str:
    return _SERIES.get(invoice.document_type, supplier.invoice_series)


def _require_approvable(invoice: Invoice) -> None:
    if invoice.review_state not in _MAY_BE_APPROVED:
        raise PreconditionError(
            f"This draft is {invoice.review_state.value} and cannot be approved. "
            f"{invoice.review_note or 'Submit it for review first.'}",
            code="review_state",
        )


def _today(ctx: Context) -> date:
    return local_day(ctx.clock.now(), DEFAULT_ZONE)


def _issue_date(ctx: Context, invoice: Invoice, asked: date | None) -> date:
    today = _today(ctx)
    issue_date = asked or today
    last_day = invoice.period_end - timedelta(days=1)
    if invoice.origin is not InvoiceOrigin.RATED:
        last_day = min(last_day, today)  # what a person writes may be for days to come
    if not last_day <= issue_date <= today:
        raise InvalidError(
            f"The issue date {issue_date} must lie between {last_day}, the last day of the "
            f"period, and {today}, today in India.",
            code="issue_date",
        )
    return issue_date


def _issue(
    ctx: Context, invoice: Invoice, number: str, issue_date: date, payment_terms_days: int
) -> None:
    invoice.status = InvoiceStatus.DUE
    invoice.review_state = ReviewState.APPROVED
    invoice.review_note = None
    invoice.reviewed_by = ctx.actor.name
    invoice.number = number
    invoice.issue_date = issue_date
    invoice.due_date = issue_date + timedelta(days=payment_terms_days)
    invoice.issued_at = invoice.updated_at = ctx.clock.now()
