"""Commands on drafts before they are issued, and on our own registrations."""

from datetime import date
from uuid import UUID

from pydantic import Field
from sqlalchemy import update

from billing.access.roles import Permission
from billing.commands import Context, Request, command
from billing.errors import FieldError, InvalidError, PreconditionError
from billing.invoices.repository import load_invoice, registration
from billing.invoices.tables import Invoice, InvoiceStatus, ReviewState, SupplierRegistration
from billing.tax import gstin

_MAY_BE_SUBMITTED = frozenset({ReviewState.PENDING, ReviewState.REJECTED})
_MAY_BE_REJECTED = frozenset({ReviewState.PENDING, ReviewState.IN_REVIEW})


class SubmitInvoice(Request):
    """Hand a draft to a reviewer."""

    invoice_id: UUID


class RejectInvoice(Request):
    """Send a draft back with what is wrong."""

    invoice_id: UUID
    reason: str = Field(min_length=3, max_length=500)


class SupplierBank(Request):
    """Where customers transfer to; printed on invoices."""

    account_name: str
    account_number: str
    bank_name: str
    branch: str = ""
    ifsc: str = ""
    swift: str = ""
    upi_id: str = ""


_NEVER_EMPTY = frozenset({"trade_name", "bank_details", "round_off", "oldest_fx_rate_days"})


class RegisterSupplier(Request):
    """One of our own GST registrations."""

    gstin: str
    legal_name: str = Field(min_length=1, max_length=200)
    trade_name: str = Field(min_length=1, max_length=200)
    address_line: str = Field(min_length=1, max_length=300)
    city: str = Field(min_length=1, max_length=100)
    postal_code: str = Field(pattern=r"^[1-9][0-9]{5}$")
    lut_arn: str | None = None
    lut_valid_from: date | None = None
    lut_valid_to: date | None = None
    invoice_series: str = Field(default="INV", pattern=r"^[A-Z]{1,3}$")
    bank_details: SupplierBank | None = None
    is_default: bool = True
    second_approval_above_minor: int | None = Field(default=None, ge=0)
    """In paise, with tax: above it a second person approves."""
    round_off: bool = False
    """Whether invoices in rupees that no wallet pays come to whole ones."""
    oldest_fx_rate_days: int = Field(default=7, ge=0, le=366)
    """A document with an older rate of exchange is looked at by a person."""


class ChangeSupplier(Request):
    """What may change of a registration; what is left out stays."""

    gstin: str
    trade_name: str | None = Field(default=None, min_length=1, max_length=200)
    lut_arn: str | None = None
    lut_valid_from: date | None = None
    lut_valid_to: date | None = None
    bank_details: SupplierBank | None = None
    second_approval_above_minor: int | None = Field(default=None, ge=0)
    round_off: bool | None = None
    oldest_fx_rate_days: int | None = Field(default=None, ge=0, le=366)


@command("invoice.submit", Permission.INVOICES_WRITE)
def submit_invoice(ctx: Context, request: SubmitInvoice) -> Invoice:
    """Move a draft into review."""
    invoice = require_draft(load_invoice(ctx.session, request.invoice_id, lock=True))
    _require_review_state(invoice, _MAY_BE_SUBMITTED, "submitted")
    invoice.review_state = ReviewState.IN_REVIEW
    invoice.review_note = None
    invoice.updated_at = ctx.clock.now()
    return invoice


@command("invoice.reject", Permission.INVOICES_APPROVE)
def reject_invoice(ctx: Context, request: RejectInvoice) -> Invoice:
    """Send a draft back; the reason stays with it until it is submitted again."""
    invoice = require_draft(load_invoice(ctx.session, request.invoice_id, lock=True))
    _require_review_state(invoice, _MAY_BE_REJECTED, "rejected")
    invoice.review_state = ReviewState.REJECTED
    invoice.review_note = request.reason
    invoice.reviewed_by = ctx.actor.name
    invoice.updated_at = ctx.clock.now()
    return invoice


@command("supplier_registration.create", Permission.INVOICES_WRITE)
def register_supplier(ctx: Context, request: RegisterSupplier) -> SupplierRegistration:
    """Record one of our registrations; a new default takes the place of the old one."""
    number = gstin.parse(request.gstin)
    if not number.is_usable or number.state_code is None:
        raise InvalidError(
            "The GSTIN is not valid.",
            fields=[FieldError("gstin", reason.message) for reason in number.reasons],
        )
    if request.is_default:
        ctx.session.execute(update(SupplierRegistration).values(is_default=False))
    row = SupplierRegistration(
        **request.model_dump(exclude={"gstin", "bank_details"}),
        bank_details=request.bank_details.model_dump() if request.bank_details else {},
        gstin=number.value,
        state_code=number.state_code,
    )
    ctx.session.add(row)
    return row


@command("supplier_registration.change", Permission.INVOICES_APPROVE)
def change_supplier(ctx: Context, request: ChangeSupplier) -> SupplierRegistration:
    """Change a registration from now on; issued documents keep what they were issued with.

    Raises:
        NotFoundError: if the registration is not ours.
    """
    row = registration(ctx.session, request.gstin)
    changed = request.model_dump(exclude_unset=True, exclude={"gstin"})
    for name, value in changed.items():
        if name in _NEVER_EMPTY and value is None:
            continue
        setattr(row, name, value)
    return row


def require_draft(invoice: Invoice) -> Invoice:
    """Refuse what only a draft allows.

    Raises:
        PreconditionError: if the invoice was issued already.
    """
    if invoice.status is not InvoiceStatus.DRAFT:
        raise PreconditionError(
            f"Invoice {invoice.number} is issued; correct it with a credit or debit note.",
            code="already_issued",
            details={"number": invoice.number, "status": invoice.status.value},
        )
    return invoice


def _require_review_state(
    invoice: Invoice, allowed: frozenset[ReviewState], participle: str
) -> None:
    if invoice.review_state in allowed:
        return
    states = ", ".join(sorted(state.value for state in allowed))
    raise PreconditionError(
        f"This draft is {invoice.review_state.value}; it can be {participle} when {states}."
        + (f" {invoice.review_note}" if invoice.review_note else ""),
        code="review_state",
    )
