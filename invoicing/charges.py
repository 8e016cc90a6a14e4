"""Saved methods: where customers save them, and charges that are on record.

A charge is a payment that names its method. Whoever finds it unmade makes the call, under one key
for ever; a process that dies leaves it to the next run.

Run as a program it is `billing payments charge`.
"""

from typing import Final
from uuid import UUID

from sqlalchemy import or_, select

from billing.access.actor import SYSTEM, Actor
from billing.clock import SystemClock
from billing.commands import Context
from billing.customers.tables import Account, Customer
from billing.db.engine import open_engine
from billing.db.unit_of_work import read_only, unit_of_work
from billing.errors import BillingError, PreconditionError, UnavailableError
from billing.payments.charging import begin_auto_top_ups
from billing.payments.facts import Fact, FactKind, Notice, PaymentStatus
from billing.payments.method_tables import MethodState, PaymentMethod
from billing.payments.methods import (
    BeginMethod,
    NoteMethod,
    NoteSetup,
    begin_method,
    get_method,
    note_saved,
    note_setup,
)
from billing.payments.tables import Payment, PaymentPurpose
from billing.settings import Settings
from invoicing.collect import Collector
from invoicing.gateways.protocol import (
    ChargeRequest,
    RefusedError,
    SavesMethods,
    Setup,
    SetupRequest,
    UnknownOutcomeError,
)
from invoicing.gateways.registry import gateways
from invoicing.gateways.settings import GatewaySettings

MANDATE_LIMIT_MINOR: Final = 1_500_000_00
"""What one charge may take at most where a mandate must name it: Rs 15 lakh, in paise."""


def save_method(
    collector: Collector, actor: Actor, request: BeginMethod, idempotency_key: str | None = None
) -> UUID:
    """Make a page on which a customer saves a method.

    Raises:
        PreconditionError: if that gateway keeps no methods, or refuses.
        UnavailableError: if it does not answer; send the same request with the same key again.
    """
    gateway = _keeper(collector, request.gateway)
    with unit_of_work(collector.engine) as session:
        method = begin_method(Context(session, actor, collector.clock, idempotency_key), request)
        if method.setup_url is not None:
            return method.id
        account = session.get_one(Account, method.account_id)
        customer = session.get_one(Customer, method.customer_id)
        asked = SetupRequest(
            reference=str(method.id),
            currency=account.currency,
            customer_name=customer.name,
            customer_email=customer.email,
            return_url=collector.settings.checkout_return_url,
            limit_minor=MANDATE_LIMIT_MINOR,
        )
    try:
        made = gateway.begin_setup(asked, f"{method.id}:setup")
    except RefusedError as error:
        raise PreconditionError(
            f"{request.gateway} refuses: {error}", code="gateway_refused"
        ) from error
    except UnknownOutcomeError as error:
        raise UnavailableError(
            f"{request.gateway} did not answer. Send the same request again with the same "
            "Idempotency-Key.",
            code="gateway_away",
        ) from error
    with unit_of_work(collector.engine) as session:
        note = NoteSetup(
            method_id=method.id,
            provider_customer_id=made.provider_customer_id,
            provider_setup_id=made.provider_setup_id,
            url=made.url,
        )
        note_setup(Context(session, SYSTEM, collector.clock), note)
    return method.id


def look_up_method(collector: Collector, method_id: UUID, actor: Actor = SYSTEM) -> None:
    """Ask the gateway whether a method was saved, and note it.

    Raises:
        UnavailableError: if it does not say.
    """
    with read_only(collector.engine) as session:
        method = get_method(session, actor, method_id)
    if method.state is not MethodState.PENDING or method.provider_setup_id is None:
        return
    gateway = _keeper(collector, method.gateway)
    setup = Setup(
        method.provider_customer_id or "", method.provider_setup_id, method.setup_url or ""
    )
    try:
        saved = gateway.saved_method(setup)
    except (RefusedError, UnknownOutcomeError) as error:
        raise UnavailableError(
            f"{method.gateway} does not say: {error}", code="gateway_away"
        ) from error
    if saved is None:
        return
    with unit_of_work(collector.engine) as session:
        note = NoteMethod(
            method_id=method.id, provider_method_id=saved.provider_method_id, label=saved.label
        )
        note_saved(Context(session, SYSTEM, collector.clock), note)


def charge_waiting(collector: Collector) -> tuple[int, int]:
    """Make the charges that are on record, and ask how those stand that were made.

    Returns:
        How many the gateways answered, and how many they did not; these are tried next time.
    """
    with read_only(collector.engine) as session:
        waiting = session.execute(
            select(Payment.id, Payment.status)
            .where(
                Payment.payment_method_id.is_not(None),
                or_(
                    Payment.status == PaymentStatus.CREATED,
                    Payment.status == PaymentStatus.PENDING,
                ),
            )
            .order_by(Payment.id)
        ).all()
    answered = away = 0
    for payment_id, status in waiting:
        try:
            if status is PaymentStatus.CREATED:
                _charge(collector, payment_id)
            else:
                collector.look_up(payment_id)
            answered += 1
        except BillingError:
            away += 1
    return answered, away


def fill_and_charge(collector: Collector) -> tuple[int, int]:
    """Let wallets that run low fill themselves, and make all charges that wait.

    First comes what gateways have said already: messages that were answered and not yet applied.
    """
    collector.apply_waiting()
    begin_auto_top_ups(collector.engine, collector.clock)
    return charge_waiting(collector)


def _charge(collector: Collector, payment_id: UUID) -> None:
    key = f"{payment_id}:charge"
    with unit_of_work(collector.engine) as session:
        payment = session.get_one(Payment, payment_id)
        gateway = _keeper(collector, payment.gateway)
        method = session.get_one(PaymentMethod, payment.payment_method_id)
        what = "wallet credits" if payment.purpose is PaymentPurpose.TOP_UP else "invoice"
        asked = ChargeRequest(
            reference=str(payment.id),
            amount_minor=payment.amount_minor,
            currency=payment.currency,
            description=f"Authentication services: {what}",
            provider_customer_id=method.provider_customer_id or "",
            provider_method_id=method.provider_method_id or "",
            customer_email=session.get_one(Customer, payment.customer_id).email,
        )
        call = collector.begin_call(session, payment.id, "charge", key)
    try:
        notice = collector.make_call(payment, call, lambda: gateway.charge(asked, key))
    except PreconditionError as error:
        failed = Fact(FactKind.FAILED, detail=error.message)
        notice = Notice(f"refused:{key}", "charge.refused", (failed,), reference=str(payment.id))
    collector.receive(payment.gateway, notice, b"")


def _keeper(collector: Collector, name: str) -> SavesMethods:
    gateway = collector.gateways.get(name)
    if not isinstance(gateway, SavesMethods):
        raise PreconditionError(
            f"{name} keeps no methods of payment for us.", code="no_saved_methods"
        )
    return gateway


def main() -> None:
    """Fill wallets that run low, make the charges that wait, and say how many there were."""
    engine = open_engine(
        Settings.load().require_database_url(), application="billing-charges", pool_size=2
    )
    try:
        collector = Collector(engine, SystemClock(), gateways(), GatewaySettings.load())
        answered, away = fill_and_charge(collector)
    finally:
        engine.dispose()
    print(f"{answered} charges answered, {away} to be tried again")
    raise SystemExit(1 if away else 0)


if __name__ == "__main__":
    main()
