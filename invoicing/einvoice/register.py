"""Registering with the portal so that a crash or a lost answer registers nothing twice.

Three steps: what is asked is written down and committed, the portal is asked outside of any
transaction, its answer is written down. Without an answer the state is `unknown`, and from there
the portal is first asked what it has under the document's details. What it has counts only if the
IRN, the buyer, the total and the signature are ours; anything else is named and a person looks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from jwt import PyJWK
from pydantic import Field
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from billing.access.actor import SYSTEM, Actor
from billing.access.roles import Permission
from billing.clock import Clock
from billing.commands import Context, Request, command
from billing.db.unit_of_work import read_only, unit_of_work
from billing.einvoices.tables import EInvoice, EInvoiceState
from billing.errors import (
    BillingError,
    InvalidError,
    PreconditionError,
    UnavailableError,
    not_found,
)
from billing.periods import DEFAULT_ZONE, local_day
from invoicing.einvoice.deadlines import is_overdue
from invoicing.einvoice.gateway import (
    ALREADY_CANCELLED,
    DUPLICATE,
    EInvoiceGateway,
    EInvoiceSettings,
    RefusedError,
    Registered,
    UnknownOutcomeError,
    open_gateway,
)
from invoicing.einvoice.payload import wire_json
from invoicing.einvoice.shape import shape
from invoicing.einvoice.signatures import signed_data

CANCEL_WITHIN: Final = timedelta(hours=24)
REASONS: Final = {1: "Duplicate", 2: "Data entry mistake", 3: "Order cancelled", 4: "Others"}
_AWAY_AFTER: Final = 3
"""Questions without an answer, one after the other, after which the portal is left alone."""
_OPEN: Final = (EInvoiceState.WAITING, EInvoiceState.UNKNOWN)


class NoteAnswer(Request):
    """What the portal answered, or that it did not."""

    einvoice_id: UUID
    state: EInvoiceState
    ack_number: str | None = None
    acknowledged_at: Any = None
    signed_invoice: str | None = None
    signed_qr: str | None = None
    error_code: str | None = None
    error: str | None = None


class NoteCancelled(Request):
    """That the portal cancelled a registration."""

    einvoice_id: UUID
    reason: int
    remark: str
    cancelled_at: Any


class CancelEInvoice(Request):
    """Cancel the registration of a document, within 24 hours of its acknowledgement."""

    einvoice_id: UUID
    reason: int = Field(ge=1, le=4)
    """1 duplicate, 2 data entry mistake, 3 order cancelled, 4 others."""
    remark: str = Field(min_length=1, max_length=100)


@command("einvoice.note_answer", Permission.INVOICES_WRITE)
def note_answer(ctx: Context, request: NoteAnswer) -> EInvoice:
    """Write down what the portal said; what is registered or cancelled stays so."""
    row = _locked(ctx.session, request.einvoice_id)
    if row.state not in {EInvoiceState.REGISTERED, EInvoiceState.CANCELLED}:
        for name, value in request.model_dump(exclude={"einvoice_id"}).items():
            setattr(row, name, value)
        row.updated_at = ctx.clock.now()
    return row


@command("einvoice.note_cancelled", Permission.INVOICES_APPROVE)
def note_cancelled(ctx: Context, request: NoteCancelled) -> EInvoice:
    """Write down that a registration is cancelled; its IRN is never used again."""
    row = _locked(ctx.session, request.einvoice_id)
    row.state = EInvoiceState.CANCELLED
    row.cancel_reason, row.cancel_remark = request.reason, request.remark
    row.cancelled_at, row.updated_at = request.cancelled_at, ctx.clock.now()
    return row


@dataclass(frozen=True, slots=True)
class Registrar:
    """Registers and cancels: what the API, the console and the schedule use."""

    engine: Engine
    clock: Clock
    gateway: EInvoiceGateway
    keys: Mapping[str, PyJWK]

    def register_waiting(self, limit: int = 500) -> dict[EInvoiceState, int]:
        """Register everything that waits, those first whose last day is nearest.

        Returns:
            How many ended in which state; the rest wait if the portal is away.
        """
        with read_only(self.engine) as session:
            waiting = session.scalars(
                select(EInvoice.id)
                .where(EInvoice.state.in_(_OPEN))
                .order_by(EInvoice.report_by.nulls_last(), EInvoice.created_at, EInvoice.id)
                .limit(limit)
            ).all()
        counted: dict[EInvoiceState, int] = {}
        silent = 0
        for einvoice_id in waiting:
            state = self.register(einvoice_id, SYSTEM)
            counted[state] = counted.get(state, 0) + 1
            silent = silent + 1 if state is EInvoiceState.UNKNOWN else 0
            if silent == _AWAY_AFTER:
                break  # each question waits for its time limit; the next round asks again
        return counted

    def register(self, einvoice_id: UUID, actor: Actor) -> EInvoiceState:
        """Register one document, or find out how it stands; asked again, it is the same one."""
        actor.require(Permission.INVOICES_WRITE)
        with unit_of_work(self.engine) as session:
            row = _locked(session, einvoice_id)
            if row.state in {EInvoiceState.REGISTERED, EInvoiceState.CANCELLED}:
                return row.state
            ask_first = row.state is EInvoiceState.UNKNOWN or row.attempts > 0
            row.state, row.attempts = EInvoiceState.UNKNOWN, row.attempts + 1
            row.updated_at = self.clock.now()
            too_late = row.report_by is not None and row.report_by < local_day(
                self.clock.now(), DEFAULT_ZONE
            )
        answer = self._ask(row, ask_first=ask_first, too_late=too_late)
        with unit_of_work(self.engine) as session:
            note_answer(Context(session, SYSTEM, self.clock), answer)
        return answer.state

    def cancel(self, actor: Actor, request: CancelEInvoice) -> None:
        """Cancel a registration.

        Raises:
            PreconditionError: if it is not registered, the 24 hours are over, or it is refused.
            UnavailableError: if the portal does not answer; the same may be asked again.
        """
        actor.require(Permission.INVOICES_APPROVE)
        with read_only(self.engine) as session:
            row = _found(session, request.einvoice_id)
            irn, acknowledged_at = row.irn, row.acknowledged_at
            if row.state is EInvoiceState.CANCELLED:
                return
            if row.state is not EInvoiceState.REGISTERED or acknowledged_at is None:
                raise PreconditionError(
                    f"{row.number} is {row.state.value}; only what is registered is cancelled.",
                    code="not_registered",
                )
        if self.clock.now() >= acknowledged_at + CANCEL_WITHIN:
            raise PreconditionError(
                "The portal cancels within 24 hours of its acknowledgement; issue a credit note.",
                code="cancel_too_late",
            )
        try:
            cancelled_at = self.gateway.cancel(irn, request.reason, request.remark)
        except RefusedError as refusal:
            if refusal.code != ALREADY_CANCELLED:
                raise PreconditionError(
                    f"The portal does not cancel: {refusal}", code="cancel_refused"
                ) from refusal
            cancelled_at = self.clock.now()  # an earlier answer was lost
        except UnknownOutcomeError as silence:
            raise UnavailableError(
                f"The portal did not answer; ask again: {silence}", code="einvoice_away"
            ) from silence
        with unit_of_work(self.engine) as session:
            note = NoteCancelled(
                einvoice_id=request.einvoice_id,
                reason=request.reason,
                remark=request.remark,
                cancelled_at=cancelled_at,
            )
            note_cancelled(Context(session, actor, self.clock), note)

    def _ask(self, row: EInvoice, *, ask_first: bool, too_late: bool) -> NoteAnswer:
        try:
            found = self._looked_up(row) if ask_first else None
            if found is None:
                found = self._registered(row, too_late=too_late)
            self._compare(row, found)
        except UnknownOutcomeError as silence:
            return NoteAnswer(einvoice_id=row.id, state=EInvoiceState.UNKNOWN, error=str(silence))
        except RefusedError as refusal:
            return NoteAnswer(
                einvoice_id=row.id,
                state=EInvoiceState.REFUSED,
                error_code=refusal.code,
                error=refusal.message,
            )
        except BillingError as difference:
            return NoteAnswer(
                einvoice_id=row.id,
                state=EInvoiceState.REFUSED,
                error_code=difference.code,
                error=difference.message,
            )
        return NoteAnswer(
            einvoice_id=row.id,
            state=EInvoiceState.REGISTERED,
            ack_number=found.ack_number,
            acknowledged_at=found.acknowledged_at,
            signed_invoice=found.signed_invoice,
            signed_qr=found.signed_qr,
        )

    def _registered(self, row: EInvoice, *, too_late: bool) -> Registered:
        if too_late:
            raise RefusedError("too_late", f"The portal took it until {row.report_by}, not today.")
        try:
            return self.gateway.register(wire_json(as_numbers(row.payload)))
        except RefusedError as refusal:
            if refusal.code != DUPLICATE:
                raise
            found = self._looked_up(row)
            if found is None:
                raise
            return found

    def _looked_up(self, row: EInvoice) -> Registered | None:
        details = row.payload["DocDtls"]
        gstin = str(row.payload["SellerDtls"]["Gstin"])
        return self.gateway.look_up(gstin, details["Typ"], details["No"], row.issue_date)

    def _compare(self, row: EInvoice, found: Registered) -> None:
        """Refuse what the portal has if it is not what we sent.

        Raises:
            SignatureError: if it did not sign it.
            InvalidError: naming what differs.
        """
        said = signed_data(found.signed_qr, self.keys)
        signed_data(found.signed_invoice, self.keys)
        payload = as_numbers(row.payload)
        wanted = {
            "Irn": row.irn,
            "SellerGstin": payload["SellerDtls"]["Gstin"],
            "BuyerGstin": payload["BuyerDtls"]["Gstin"],
            "DocNo": payload["DocDtls"]["No"],
            "DocTyp": payload["DocDtls"]["Typ"],
            "TotInvVal": payload["ValDtls"]["TotInvVal"],
        }
        differing = [name for name, value in wanted.items() if said.get(name) != value]
        if found.irn != row.irn:
            differing.append("Irn of the answer")
        if found.is_cancelled:
            differing.append("Status, which is cancelled there")
        if differing:
            raise InvalidError(
                f"The portal has {row.number} with another {', '.join(differing)}.",
                code="einvoice_differs",
            )


def open_registrar(engine: Engine, clock: Clock) -> Registrar:
    """The registrar of this installation, by its environment.

    Raises:
        PreconditionError: if no gateway is set up.
    """
    settings = EInvoiceSettings.load()
    return Registrar(engine, clock, open_gateway(settings), settings.pinned_keys())


def as_numbers(stored: dict[str, Any]) -> dict[str, Any]:
    """A stored payload with its amounts as numbers again: JSON columns keep them as text."""

    def block(value: dict[str, Any], rule: Mapping[str, Any]) -> dict[str, Any]:
        fields, blocks = rule.get("fields", {}), rule.get("blocks", {})
        found: dict[str, Any] = {}
        for name, one in value.items():
            if name in blocks:
                many = isinstance(one, list)
                parts = [block(part, blocks[name]) for part in (one if many else [one])]
                found[name] = parts if many else parts[0]
            elif fields[name]["type"] == "number" and isinstance(one, str):
                found[name] = Decimal(one)
            else:
                found[name] = one
        return found

    return block(stored, shape())


def get_einvoice(session: Session, actor: Actor, einvoice_id: UUID) -> EInvoice:
    """One e-invoice, for staff.

    Raises:
        NotFoundError: if there is none.
    """
    actor.require(Permission.INVOICES_READ)
    return _found(session, einvoice_id)


def list_einvoices(
    session: Session,
    actor: Actor,
    *,
    state: EInvoiceState | None = None,
    invoice_id: UUID | None = None,
    overdue_on: date | None = None,
    limit: int = 50,
    after: UUID | None = None,
) -> Sequence[EInvoice]:
    """E-invoices, newest first, one page at a time.

    Args:
        overdue_on: only those without an IRN that the portal no longer takes on that day.
    """
    actor.require(Permission.INVOICES_READ)
    query = select(EInvoice).order_by(EInvoice.id.desc()).limit(limit)
    if state is not None:
        query = query.where(EInvoice.state == state)
    if invoice_id is not None:
        query = query.where(EInvoice.invoice_id == invoice_id)
    if overdue_on is not None:
        query = query.where(is_overdue(overdue_on))
    if after is not None:
        query = query.where(EInvoice.id < after)
    return session.scalars(query).all()


def _found(session: Session, einvoice_id: UUID) -> EInvoice:
    row = session.get(EInvoice, einvoice_id)
    if row is None:
        raise not_found("e-invoice", einvoice_id)
    return row


def _locked(session: Session, einvoice_id: UUID) -> EInvoice:
    row = session.get(EInvoice, einvoice_id, with_for_update=True, populate_existing=True)
    if row is None:
        raise not_found("e-invoice", einvoice_id)
    return row
