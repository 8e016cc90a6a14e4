"""The console's only writer: the commands of the domain, each in one transaction.

Nothing is decided here. Each function hands an actor, a request and an idempotency key to a
command; the command asks for the permission, whatever the page has shown or hidden.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Any, Final, TypeVar
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy.exc import OperationalError

from billing.access.actor import Actor
from billing.access.roles import Permission
from billing.commands import Context, Request
from billing.customers.bulk import RowOutcome, import_customers
from billing.customers.directory import AddContact, add_contact
from billing.customers.tables import CustomerContact
from billing.db.unit_of_work import read_only, unit_of_work
from billing.decks.service import (
    CreateDeck,
    DraftDeckVersion,
    PublishDeckVersion,
    create_deck,
    draft_deck_version,
    publish_deck_version,
)
from billing.decks.tables import RateDeck, RateDeckVersion
from billing.documents.repository import get_document
from billing.documents.templates import SaveTemplate
from billing.einvoices.tables import EInvoiceState
from billing.errors import (
    BillingError,
    FieldError,
    InvalidError,
    PreconditionError,
    UnavailableError,
)
from billing.invoices.repository import get_invoice
from billing.invoices.service import RejectInvoice, SubmitInvoice, reject_invoice, submit_invoice
from billing.invoices.tables import Invoice
from billing.invoices.voiding import VoidInvoice, void_invoice
from billing.payments.methods import BeginMethod
from billing.payments.receipts import RecordReceipt, record_receipt
from billing.payments.tables import Payment as PaymentRow
from billing.usage.quarantine import (
    DiscardQuarantined,
    MendQuarantined,
    ReplayQuarantined,
    discard_quarantined,
    mend_quarantined,
    replay_quarantined,
)
from billing.usage.tables import QuarantinedEntry
from billing.wallets.service import TopUp, top_up
from billing.wallets.tables import Wallet
from console.database import clock, engine
from invoicing import issue_many
from invoicing.charges import look_up_method, save_method
from invoicing.collect import Collector
from invoicing.einvoice.register import CancelEInvoice, open_registrar
from invoicing.gateways.protocol import Gateway
from invoicing.gateways.registry import gateways
from invoicing.gateways.settings import GatewaySettings
from invoicing.issue import ApproveInvoice, approve_invoice
from invoicing.storage import document_pdf, invoice_pdf, preview_pdf

_PLAIN: Final = {
    "string_too_short": "needs at least {min_length} characters",
    "string_too_long": "may have at most {max_length} characters",
    "string_pattern_mismatch": "has a character that is not allowed here",
}

Result = TypeVar("Result")
Input = TypeVar("Input", bound=Request)
Seen = TypeVar("Seen")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one invoice of several."""

    invoice_id: UUID
    number: str | None
    error: BillingError | None


def submit(actor: Actor, key: str, invoice_id: UUID) -> Invoice:
    """Hand a draft to review."""
    return run(actor, key, submit_invoice, SubmitInvoice, invoice_id=invoice_id)


def reject(actor: Actor, key: str, invoice_id: UUID, reason: str) -> Invoice:
    """Send a draft back with a reason."""
    return run(
        actor, key, reject_invoice, RejectInvoice, invoice_id=invoice_id, reason=reason.strip()
    )


def approve(
    actor: Actor,
    key: str,
    invoice_id: UUID,
    total_minor: int,
    *,
    issue_date: date | None = None,
    tax_reviewed: bool = False,
) -> Invoice:
    """Approve and issue a draft at the total that was shown, in minor units."""
    return run(
        actor, key, approve_invoice, ApproveInvoice, invoice_id=invoice_id, issue_date=issue_date,
        expected_total_minor=total_minor, tax_reviewed=tax_reviewed,
    )  # fmt: skip


def void(actor: Actor, key: str, invoice_id: UUID, reason: str) -> Invoice:
    """Make an issued invoice void, where the law still allows it."""
    return run(actor, key, void_invoice, VoidInvoice, invoice_id=invoice_id, reason=reason.strip())


def approve_each(actor: Actor, key: str, totals_minor: Mapping[UUID, int]) -> Iterator[Outcome]:
    """Approve several drafts at the totals that were shown, in their order; one that is refused
    does not stop the rest.

    Each has its own key, so doing it all again issues nothing twice.
    """
    requests = [
        ApproveInvoice(invoice_id=invoice_id, expected_total_minor=total_minor)
        for invoice_id, total_minor in totals_minor.items()
    ]
    for one in issue_many.approve_each(engine(), actor, clock(), requests, key):
        waits = None if one.number else PreconditionError(one.review_note or "")
        yield Outcome(one.invoice_id, one.number, one.refusal or waits)


def document(actor: Actor, invoice_id: UUID) -> bytes:
    """The PDF of an invoice; stored the first time an issued one is asked for."""

    def read(context: Context) -> bytes:
        get_invoice(context.session, actor, invoice_id)
        return invoice_pdf(context.session, invoice_id, context.clock)

    return _in_transaction(actor, None, read)


def paper(actor: Actor, document_id: UUID) -> bytes:
    """The PDF of a note, voucher or proforma; stored the first time it is asked for."""
    return _in_transaction(
        actor,
        None,
        lambda context: document_pdf(
            context.session, get_document(context.session, actor, document_id), context.clock
        ),
    )


def template_preview(actor: Actor, invoice_id: UUID, look: dict[str, Any]) -> bytes:
    """An invoice as a draft with a look that is not kept."""
    actor.require(Permission.INVOICES_WRITE)
    asked = _asked(SaveTemplate, look)
    with read_only(engine()) as session:
        return preview_pdf(session, invoice_id, asked)


@dataclass(frozen=True, slots=True)
class Payment:
    """Money that came in for a wallet, in minor units of its currency."""

    amount_minor: int
    """Exclusive of tax: what the wallet is credited with."""
    tax_minor: int | None
    """None is what is due on it."""
    reference: str
    """Of the payment; the same one is never credited twice."""


def credit(actor: Actor, key: str, wallet_id: UUID, payment: Payment) -> Wallet:
    """Credit a wallet with money that came in."""
    return run(actor, key, top_up, TopUp, wallet_id=wallet_id, **asdict(payment))


def record_money(actor: Actor, key: str, **fields: Any) -> PaymentRow:
    """Record a transfer or cheque for an invoice; its reference is recorded once."""
    return run(actor, key, record_receipt, RecordReceipt, **fields)


def replay_mended(actor: Actor, key: str, entry_id: UUID, event: str) -> QuarantinedEntry:
    """Take in what was set aside, as it is written here; mending and taking in are one step."""
    try:
        fields = json.loads(event)
    except ValueError as error:
        raise InvalidError(
            "The event is not JSON.", fields=[FieldError("event", str(error))]
        ) from error
    try:
        mended = MendQuarantined(entry_id=entry_id, event=fields)
    except ValidationError as error:
        raise _invalid(error) from error

    def both(context: Context) -> QuarantinedEntry:
        mend_quarantined(replace(context, idempotency_key=None), mended)
        return replay_quarantined(context, ReplayQuarantined(entry_id=entry_id))

    return _in_transaction(actor, key, both)


def discard(actor: Actor, key: str, entry_id: UUID, reason: str) -> QuarantinedEntry:
    """Settle what was set aside without taking it in."""
    return run(
        actor,
        key,
        discard_quarantined,
        DiscardQuarantined,
        entry_id=entry_id,
        reason=reason.strip(),
    )


def record_contact(actor: Actor, key: str, **fields: Any) -> CustomerContact:
    """Name somebody at a customer who can be asked."""
    return run(actor, key, add_contact, AddContact, **fields)


def import_file(actor: Actor, content: bytes, *, dry_run: bool) -> list[RowOutcome]:
    """Create the customers of a file, or only check it."""
    try:
        said = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidError("The file is not UTF-8.") from error
    return _in_transaction(
        actor, None, lambda context: import_customers(context, said, dry_run=dry_run)
    )


def new_deck(actor: Actor, key: str, *, code: str, name: str) -> RateDeck:
    """Name a rate deck."""
    return run(actor, key, create_deck, CreateDeck, code=code, name=name)


def upload_deck(
    actor: Actor, key: str, *, deck_id: UUID, effective_from: date, csv: str
) -> RateDeckVersion:
    """Keep a file of prices as a draft."""
    return run(
        actor,
        key,
        draft_deck_version,
        DraftDeckVersion,
        deck_id=deck_id,
        effective_from=effective_from,
        csv=csv,
    )


def publish_deck(actor: Actor, key: str, version_id: UUID) -> RateDeckVersion:
    """Let a draft price usage."""
    return run(actor, key, publish_deck_version, PublishDeckVersion, version_id=version_id)


def gateways_for(currency: str) -> list[Gateway]:
    """The payment gateways of this installation that take a currency."""
    return gateways().for_currency(currency)


def begin_saving(actor: Actor, key: str, account_id: UUID, gateway: str) -> UUID:
    """Make a page of a gateway on which a customer saves a method of payment."""
    return save_method(
        _collector(), actor, BeginMethod(account_id=account_id, gateway=gateway), key
    )


def look_up_saved(actor: Actor, method_id: UUID) -> None:
    """Ask the gateway whether a method was saved."""
    look_up_method(_collector(), method_id, actor)


def _collector() -> Collector:
    return Collector(engine(), clock(), gateways(), GatewaySettings.load())


def register_einvoice(actor: Actor, einvoice_id: UUID) -> EInvoiceState:
    """Ask the portal for a document's IRN; done once in any case."""
    return open_registrar(engine(), clock()).register(einvoice_id, actor)


def cancel_einvoice(actor: Actor, **fields: Any) -> None:
    """Cancel a registration, while the portal still allows it."""
    open_registrar(engine(), clock()).cancel(actor, _asked(CancelEInvoice, fields))


def run(
    actor: Actor,
    key: str,
    command: Callable[[Context, Input], Result],
    request: type[Input],
    **fields: Any,
) -> Result:
    """Give a command; pages name those that need nothing more than their request.

    Raises:
        BillingError: what the command refuses, or what is wrong with the fields.
    """
    asked = _asked(request, fields)
    return _in_transaction(actor, key, lambda context: command(context, asked))


def rehearse(
    actor: Actor,
    command: Callable[[Context, Input], Result],
    request: type[Input],
    read: Callable[[Context, Result], Seen],
    **fields: Any,
) -> Seen:
    """What a command would make: it is given, looked at, and rolled back.

    Args:
        read: takes from the result what is to be shown; nothing of the transaction is left after.

    Raises:
        BillingError: as the command itself would.
    """
    asked = _asked(request, fields)
    found: list[Seen] = []

    def work(context: Context) -> None:
        found.append(read(context, command(context, asked)))
        context.session.rollback()

    _in_transaction(actor, None, work)
    return found[0]


def _asked(request: type[Input], fields: dict[str, Any]) -> Input:
    try:
        return request(**fields)
    except ValidationError as error:
        raise _invalid(error) from error


def _in_transaction(actor: Actor, key: str | None, work: Callable[[Context], Result]) -> Result:
    try:
        with unit_of_work(engine()) as session:
            return work(Context(session, actor, clock(), key))
    except OperationalError as error:
        raise UnavailableError(
            "The database is busy or away, and nothing was changed. Try again in a moment.",
            code="database_away",
        ) from error


def _invalid(error: ValidationError) -> InvalidError:
    fields = [
        FieldError(
            ".".join(str(part) for part in found["loc"]) or "form",
            _PLAIN.get(found["type"], found["msg"]).format(**found.get("ctx", {})),
        )
        for found in error.errors()
    ]
    return InvalidError("Please correct what you entered.", fields=fields)
