"""Calls to gateways that survive a crash at any point.

A call is three steps: written down and committed, made outside of any transaction, and its answer
written down. If the process dies between, the call stands as `started`; whoever repeats the
request makes it again under the same key, and the gateway does it once. No answer is `unknown`,
never `failed`: nothing is asked for under another key until the gateway was looked at.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

import structlog
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from billing.access.actor import SYSTEM, Actor
from billing.access.roles import Permission
from billing.clock import Clock
from billing.commands import Context, Request, command
from billing.customers.tables import Customer
from billing.db.unit_of_work import read_only, unit_of_work
from billing.errors import InvalidError, PreconditionError, UnavailableError
from billing.invoices.tables import Invoice
from billing.payments.facts import Fact, FactKind, Notice
from billing.payments.inbox import ApplyEvent, apply_event, keep, lock_payment
from billing.payments.repository import get_payment, provider_payments_of
from billing.payments.service import (
    RequestPayment,
    RequestRefund,
    request_payment,
    request_refund,
)
from billing.payments.tables import (
    CallState,
    EventOutcome,
    GatewayCall,
    GatewayEvent,
    Payment,
    PaymentPurpose,
    Refund,
)
from invoicing.gateways.protocol import (
    Checkout,
    CheckoutRequest,
    Gateway,
    KnownPayment,
    RefundRequest,
    RefusedError,
    UnknownOutcomeError,
)
from invoicing.gateways.registry import Gateways
from invoicing.gateways.settings import GatewaySettings
from invoicing.vouchers import issue_missing_vouchers

logger = structlog.get_logger(__name__)

T = TypeVar("T")


class NoteCheckout(Request):
    """The page that a gateway made for a payment."""

    payment_id: UUID
    provider_order_id: str
    url: str


class NoteRefund(Request):
    """The name that a gateway gave a refund."""

    refund_id: UUID
    provider_refund_id: str


@command("payment.note_checkout", Permission.PAYMENTS_WRITE)
def note_checkout(ctx: Context, request: NoteCheckout) -> Payment:
    """Write down where a payment can be paid."""
    payment = lock_payment(ctx.session, request.payment_id)
    payment.provider_order_id = request.provider_order_id
    payment.checkout_url = request.url
    payment.updated_at = ctx.clock.now()
    return payment


@command("payment.note_refund", Permission.PAYMENTS_WRITE)
def note_refund(ctx: Context, request: NoteRefund) -> Refund:
    """Write down what the gateway calls a refund."""
    refund = ctx.session.get_one(Refund, request.refund_id, with_for_update=True)
    refund.provider_refund_id = request.provider_refund_id
    refund.updated_at = ctx.clock.now()
    return refund


@dataclass(frozen=True, slots=True)
class Collector:
    """Collects money: what the API, the console and the pipeline use.

    Attributes:
        engine: calls are made between transactions, so it takes the engine and not a session.
    """

    engine: Engine
    clock: Clock
    gateways: Gateways
    settings: GatewaySettings

    def request(
        self, actor: Actor, request: RequestPayment, idempotency_key: str | None = None
    ) -> UUID:
        """Ask for a payment and make its page; asked again, it is the same one.

        Raises:
            UnavailableError: if the gateway does not answer; the same request may be sent again.
            PreconditionError: if the gateway refuses.
        """
        gateway = self.gateways.get(request.gateway)
        with unit_of_work(self.engine) as session:
            context = Context(session, actor, self.clock, idempotency_key)
            payment = request_payment(context, request)
            if payment.currency not in gateway.currencies:
                raise InvalidError(
                    f"{gateway.name} does not take {payment.currency}.", code="currency"
                )
            if payment.checkout_url is not None:
                return payment.id
            page = self._page(session, payment)
            call = self.begin_call(session, payment.id, "checkout", f"{payment.id}:checkout")
        made: Checkout = self.make_call(
            payment, call, lambda: gateway.create_checkout(page, f"{payment.id}:checkout")
        )
        with unit_of_work(self.engine) as session:
            note = NoteCheckout(
                payment_id=payment.id, provider_order_id=made.provider_order_id, url=made.url
            )
            note_checkout(Context(session, SYSTEM, self.clock), note)
        pending = Notice(
            f"made:{made.provider_order_id}",
            "checkout.made",
            (Fact(FactKind.PENDING),),
            reference=str(payment.id),
            provider_order_id=made.provider_order_id,
        )
        self.receive(gateway.name, pending, b"")
        return payment.id

    def refund(
        self, actor: Actor, request: RequestRefund, idempotency_key: str | None = None
    ) -> UUID:
        """Send money back; it counts as refunded when the gateway says so.

        Raises:
            UnavailableError: if the gateway does not answer; the same request, with the same
                idempotency key, may be sent again.
        """
        with unit_of_work(self.engine) as session:
            context = Context(session, actor, self.clock, idempotency_key)
            refund = request_refund(context, request)
            payment = get_payment(session, actor, refund.payment_id)
            gateway = self.gateways.get(payment.gateway)
            known = _known(session, payment)
            if not known.provider_payment_ids:
                raise PreconditionError("Nothing came in that could be sent back.", code="no_money")
            if refund.provider_refund_id is not None:
                return refund.id
            key = f"{refund.id}:refund"
            call = self.begin_call(session, payment.id, "refund", key)
        asked = RefundRequest(
            known, known.provider_payment_ids[0], refund.amount_minor, refund.reason
        )
        notice = self.make_call(payment, call, lambda: gateway.refund(asked, key))
        provider_refund_id = notice.event_id.split(":")[1]
        with unit_of_work(self.engine) as session:
            note = NoteRefund(refund_id=refund.id, provider_refund_id=provider_refund_id)
            note_refund(Context(session, SYSTEM, self.clock), note)
        self.receive(gateway.name, notice, b"")
        return refund.id

    def look_up(self, payment_id: UUID, actor: Actor = SYSTEM) -> list[Notice]:
        """Ask the gateway how a payment stands, in case a message never came.

        Returns:
            What it said; all of that is applied.

        Raises:
            UnavailableError: if it does not answer.
        """
        with read_only(self.engine) as session:
            payment = get_payment(session, actor, payment_id)
            known, gateway = _known(session, payment), self.gateways.get(payment.gateway)
        try:
            notices = list(gateway.look_up(known))
        except (RefusedError, UnknownOutcomeError) as error:
            raise UnavailableError(
                f"{gateway.name} does not say: {error}", code="gateway_away"
            ) from error
        for notice in notices:
            self.receive(gateway.name, notice, b"")
        return notices

    def receive(self, gateway: str, notice: Notice, body: bytes) -> bool:
        """Keep a message, then apply it; False if it was kept before."""
        is_new = self.keep(gateway, notice, body)
        self.apply(gateway, notice.event_id)
        return is_new

    def keep(self, gateway: str, notice: Notice, body: bytes) -> bool:
        """Keep a message; False if it was kept before. From then on it can be answered."""
        with unit_of_work(self.engine) as session:
            return keep(session, Context(session, SYSTEM, self.clock), gateway, notice, body)

    def apply(self, gateway: str, event_id: str) -> None:
        """Apply a kept message, unless that was done."""
        with unit_of_work(self.engine) as session:
            asked = ApplyEvent(gateway=gateway, event_id=event_id)
            event = apply_event(Context(session, SYSTEM, self.clock), asked)
            payment = session.get(Payment, event.payment_id) if event.payment_id else None
            is_advance = payment is not None and payment.purpose is PaymentPurpose.TOP_UP
        if is_advance and payment is not None:
            issue_missing_vouchers(self.engine, self.clock, payment_id=payment.id)

    def apply_or_leave(self, gateway: str, event_id: str) -> bool:
        """Apply a kept message that was answered for; False if it must wait for another time.

        Whatever stands in its way is logged: `apply_waiting` tries it again, and a message that is
        never applied shows in the reconciliation, as money that is missing here.
        """
        try:
            self.apply(gateway, event_id)
        except Exception:
            logger.exception("a message was not applied", gateway=gateway, event=event_id)
            return False
        return True

    def apply_waiting(self, gateway: str | None = None) -> int:
        """Apply the messages that were kept and not applied, as after a crash; how many it were.

        Args:
            gateway: those of all gateways, if None.
        """
        waiting = select(GatewayEvent.gateway, GatewayEvent.event_id).filter_by(
            outcome=EventOutcome.RECEIVED
        )
        if gateway is not None:
            waiting = waiting.filter_by(gateway=gateway)
        with read_only(self.engine) as session:
            found = session.execute(
                waiting.order_by(GatewayEvent.received_at, GatewayEvent.event_id)
            ).all()
        return sum(self.apply_or_leave(row.gateway, row.event_id) for row in found)

    def begin_call(self, session: Session, payment_id: UUID, operation: str, key: str) -> UUID:
        """Write down that a call is about to be made; repeated, it is the same one."""
        call = session.scalars(
            select(GatewayCall).filter_by(key=key).with_for_update()
        ).one_or_none()
        if call is None:
            call = GatewayCall(payment_id=payment_id, operation=operation, key=key)
            session.add(call)
        call.state, call.started_at = CallState.STARTED, self.clock.now()
        call.error = call.finished_at = None
        session.flush()
        return call.id

    def make_call(self, payment: Payment, call_id: UUID, call: Callable[[], T]) -> T:
        """Make a call that is written down, and write down what became of it.

        Raises:
            PreconditionError: if the gateway refuses.
            UnavailableError: if nobody knows whether it did what it was asked.
        """
        try:
            answer = call()
        except RefusedError as error:
            self._end(call_id, CallState.FAILED, str(error))
            raise PreconditionError(
                f"{payment.gateway} refuses: {error}", code="gateway_refused"
            ) from error
        except UnknownOutcomeError as error:
            self._end(call_id, CallState.UNKNOWN, str(error))
            raise UnavailableError(
                f"{payment.gateway} did not answer. Send the same request again with the same "
                "Idempotency-Key; nothing is done twice.",
                code="gateway_away",
            ) from error
        self._end(call_id, CallState.SUCCEEDED)
        return answer

    def _end(self, call_id: UUID, state: CallState, error: str | None = None) -> None:
        with unit_of_work(self.engine) as session:
            call = session.get_one(GatewayCall, call_id, with_for_update=True)
            call.state, call.error, call.finished_at = state, error, self.clock.now()

    def _page(self, session: Session, payment: Payment) -> CheckoutRequest:
        customer = session.get_one(Customer, payment.customer_id)
        if payment.invoice_id is not None:
            invoice = session.get_one(Invoice, payment.invoice_id)
            description = f"Invoice {invoice.number}"
        else:
            description = "Wallet credits, with GST where it applies"
        return CheckoutRequest(
            reference=str(payment.id),
            amount_minor=payment.amount_minor,
            currency=payment.currency,
            description=description,
            customer_name=customer.name,
            customer_email=customer.email,
            return_url=self.settings.checkout_return_url,
        )


def gateway_for(gateways: Gateways, name: str | None, currency: str) -> Gateway:
    """The gateway that was asked for, or the first that takes the currency.

    Raises:
        PreconditionError: if none does.
    """
    if name is not None:
        return gateways.get(name)
    usable = gateways.for_currency(currency)
    if not usable:
        raise PreconditionError(f"No gateway here takes {currency}.", code="no_gateway")
    return usable[0]


def _known(session: Session, payment: Payment) -> KnownPayment:
    return KnownPayment(
        reference=str(payment.id),
        currency=payment.currency,
        provider_order_id=payment.provider_order_id,
        provider_payment_ids=tuple(provider_payments_of(session, payment)),
    )
