"""Daily reconciliation: every entry of a gateway and every one of ours is matched, or named.

Where the sides differ, the gateway is first asked about those payments: a message that never came
is then caught up with, and only what still differs is kept as a difference.

Run as a program it is `billing payments reconcile`.
"""

import argparse
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from billing.access.actor import SYSTEM, Actor
from billing.access.roles import Permission
from billing.clock import SystemClock
from billing.commands import Context
from billing.db.engine import open_engine
from billing.db.unit_of_work import read_only, unit_of_work
from billing.errors import BillingError, UnavailableError
from billing.payments.facts import FactKind, Notice
from billing.payments.reconciliation import (
    BeginReconciliation,
    Difference,
    FinishReconciliation,
    Key,
    ReconciliationRun,
    Side,
    begin_reconciliation,
    compare,
    finish_reconciliation,
    our_side,
)
from billing.payments.repository import find_payment
from billing.settings import Settings
from invoicing.collect import Collector
from invoicing.gateways.protocol import Movement, RefusedError, UnknownOutcomeError
from invoicing.gateways.registry import gateways
from invoicing.gateways.settings import GatewaySettings

DAYS: Final = 35
"""So long may a dispute of dates reach back; gateways send messages again for some days only."""

_MARGIN: Final = timedelta(days=2)
"""An entry counts at the gateway's clock and at ours, and Stripe dates it by its creation."""


def reconcile(
    collector: Collector,
    gateway: str,
    *,
    days: int = DAYS,
    actor: Actor = SYSTEM,
    idempotency_key: str | None = None,
) -> UUID:
    """Compare a gateway's list of the last days with our books, and keep the outcome.

    Returns:
        The id of the `ReconciliationRun`; asked again under the same key, it is the same one.

    Raises:
        NotFoundError: if that gateway cannot be used here.
        UnavailableError: if it does not give its list; that is kept as a run with an error.
    """
    actor.require(Permission.PAYMENTS_WRITE)
    collector.gateways.get(gateway)
    with unit_of_work(collector.engine) as session:
        context = Context(session, actor, collector.clock, idempotency_key)
        run = begin_reconciliation(context, BeginReconciliation(gateway=gateway, days=days))
        run_id, since, until = run.id, run.since, run.until
        if run.error is None:
            return run_id
    try:
        outcome = _compared(collector, run_id, gateway, since, until)
    except (RefusedError, UnknownOutcomeError, UnavailableError) as problem:
        outcome = FinishReconciliation(run_id=run_id, error=str(problem) or type(problem).__name__)
    with unit_of_work(collector.engine) as session:
        finish_reconciliation(Context(session, actor, collector.clock), outcome)
    if outcome.error is not None:
        raise UnavailableError(
            f"{gateway} does not give its list: {outcome.error}", code="gateway_away"
        )
    return run_id


def _compared(
    collector: Collector, run_id: UUID, gateway: str, since: datetime, until: datetime
) -> FinishReconciliation:
    collector.apply_waiting(gateway)
    listed = list(collector.gateways.get(gateway).movements(since - _MARGIN, until + _MARGIN))
    inside = [one for one in listed if since <= one.at < until]
    theirs = _sides(listed)
    wanted = {_key(one) for one in inside}
    first = _differences(collector, gateway, since, until, theirs, wanted)
    with read_only(collector.engine) as session:
        of_key = {
            _key(one): find_payment(
                session,
                gateway,
                reference=one.reference,
                order_id=one.provider_order_id,
                provider_ids=[one.provider_payment_id],
            )
            for one in inside
        }
    doubted = {
        payment_id
        for one in first[1]
        if (payment_id := one.payment_id or of_key.get((one.provider_payment_id, one.refund_id)))
    }
    for payment_id in sorted(doubted):
        theirs |= _said(_asked(collector, payment_id))
    matched, differences = _differences(collector, gateway, since, until, theirs, wanted)
    named = [
        one.model_copy(
            update={
                "payment_id": one.payment_id or of_key.get((one.provider_payment_id, one.refund_id))
            }
        )
        for one in differences
    ]
    return FinishReconciliation(
        run_id=run_id,
        movements=len(inside),
        matched=matched,
        caught_up=len(doubted),
        differences=named,
    )


def _asked(collector: Collector, payment_id: UUID) -> list[Notice]:
    """What the gateway says of one payment; nothing, if it says that it does not know it."""
    try:
        return collector.look_up(payment_id)
    except UnavailableError as error:
        if isinstance(error.__cause__, RefusedError):
            return []
        raise


def _differences(
    collector: Collector,
    gateway: str,
    since: datetime,
    until: datetime,
    theirs: Mapping[Key, Side],
    wanted: set[Key],
) -> tuple[int, list[Difference]]:
    """Compare what lies in the window on one side at least; the rest only helps to match."""
    with read_only(collector.engine) as session:
        ours = our_side(session, gateway, since, until, [key[0] for key in wanted])
    concerned = wanted | ours.keys()
    return compare({key: side for key, side in theirs.items() if key in concerned}, ours)


def _sides(movements: Iterable[Movement]) -> dict[Key, Side]:
    return {_key(one): Side(one.currency, one.amount_minor) for one in movements}


def _said(notices: Iterable[Notice]) -> dict[Key, Side]:
    """The captures and refunds that a look at one payment showed."""
    return {
        (fact.provider_payment_id or "", fact.refund_id): Side(
            fact.currency or "", fact.amount_minor or 0
        )
        for notice in notices
        for fact in notice.facts
        if fact.kind in {FactKind.CAPTURED, FactKind.REFUNDED}
    }


def _key(movement: Movement) -> Key:
    return movement.provider_payment_id, movement.refund_id


def main() -> None:
    """Reconcile one gateway, or all that have keys, and say what came of it."""
    parser = argparse.ArgumentParser(prog="billing payments reconcile", description=__doc__)
    parser.add_argument("--gateway", help="All that have keys, if left out.")
    parser.add_argument("--days", type=int, default=DAYS)
    asked = parser.parse_args()
    engine = open_engine(
        Settings.load().require_database_url(), application="billing-reconcile", pool_size=2
    )
    collector = Collector(engine, SystemClock(), gateways(), GatewaySettings.load())
    names = [asked.gateway] if asked.gateway else collector.gateways.names
    if not names:
        raise SystemExit("No gateway has its keys set: see docs/payments.md.")
    clean = True
    try:
        for name in names:
            clean &= _say(collector, name, asked.days)
    except BillingError as error:
        raise SystemExit(error.message) from error
    finally:
        engine.dispose()
    raise SystemExit(0 if clean else 1)


def _say(collector: Collector, gateway: str, days: int) -> bool:
    run_id = reconcile(collector, gateway, days=days)
    with read_only(collector.engine) as session:
        run = session.get_one(ReconciliationRun, run_id)
        print(
            f"{gateway}: {run.movements} entries, {run.matched} matched, "
            f"{run.caught_up} asked about, {run.differing} differ (run {run.id})"
        )
        return run.differing == 0


if __name__ == "__main__":
    main()
