"""Asking before sending."""

from collections.abc import Callable
from datetime import UTC, datetime

from billing.access.actor import SYSTEM
from billing.access.roles import Role
from billing.clock import SystemClock
from billing.commands import Context
from billing.db.unit_of_work import unit_of_work
from billing.wallets.service import SetWalletLimits, TopUp, set_wallet_limits, top_up
from tests.ingest_api.intake.conftest import Api
from tests.support.factories.usage import Sender

Until = Callable[[Callable[[], bool]], None]


def pay(api: Api, sender: Sender, rupees: int, reference: str) -> None:
    assert sender.wallet is not None
    with unit_of_work(api.engine) as session:
        top_up(
            Context(session, SYSTEM, SystemClock()),
            TopUp(wallet_id=sender.wallet.id, amount_minor=rupees * 100, reference=reference),
        )


def status(api: Api, sender: Sender) -> str:
    assert sender.wallet is not None
    return str(api.one("SELECT status FROM billing.wallets WHERE id = %s", sender.wallet.id))


def test_an_empty_wallet_says_no_and_yes_again_after_a_top_up(api: Api, until: Until) -> None:
    sender = api.sender()
    assert api.ask(sender) == {
        "authorised": False,
        "reason": "insufficient_balance",
        "price": "0.12",
        "balance": "0",
        "available": "0",
        "currency": "INR",
        "state": None,
        "expires_at": None,
    }

    pay(api, sender, 1, "first")
    until(lambda: api.ask(sender)["authorised"])
    assert api.ask(sender)["balance"] == "1"
    assert status(api, sender) == "active"

    assert api.send([api.event(sender) for _ in range(9)]).status_code == 200
    assert api.ask(sender)["reason"] == "insufficient_balance"
    assert status(api, sender) == "suspended"

    pay(api, sender, 1, "second")
    until(lambda: api.ask(sender)["authorised"])
    assert api.ask(sender)["balance"] == "0.92"


def test_a_credit_line_lets_the_balance_go_below_zero_that_far(api: Api, until: Until) -> None:
    sender = api.sender()
    assert sender.wallet is not None
    with unit_of_work(api.engine) as session:
        set_wallet_limits(
            Context(session, SYSTEM, SystemClock()),
            SetWalletLimits(
                wallet_id=sender.wallet.id, credit_line_minor=24, low_balance_minor=1000
            ),
        )
    until(lambda: api.ask(sender)["authorised"])
    assert status(api, sender) == "low"

    api.send(api.event(sender))
    assert api.ask(sender)["authorised"]
    api.send(api.event(sender))
    assert api.ask(sender)["reason"] == "insufficient_balance"
    assert status(api, sender) == "suspended"


def test_what_happened_is_recorded_even_into_a_negative_balance(api: Api) -> None:
    sender = api.sender()

    assert api.send(api.event(sender)).status_code == 200
    assert api.balance(sender) == -120_000


def test_every_no_has_its_reason_and_is_no_error(api: Api, until: Until) -> None:
    sender, closed = api.sender(), api.sender(prepaid=False)
    api.connection.execute(
        "UPDATE billing.accounts SET status = 'suspended' WHERE id = %s", [closed.account.id]
    )

    assert api.ask(sender, account_id="nobody")["reason"] == "unknown_account"
    assert api.ask(api.sender(unsubscribed=True))["reason"] == "no_subscription"
    assert api.ask(sender, dimensions={"country": "FR"})["reason"] == "no_rate"
    assert api.ask(sender, event_type="otp.fax")["reason"] == "no_rate"
    assert api.ask(closed)["reason"] == "account_suspended"
    until(lambda: api.ask(api.sender(prepaid=False))["authorised"])


def test_a_question_that_makes_no_sense_is_refused(api: Api) -> None:
    for body in ({}, {"event_type": "otp.sms"}, {"event_type": "otp.sms", "alias": "a", "q": 1}):
        answer = api.client.post("/api/v1/authorizations", json=body)
        assert answer.status_code == 400
        assert answer.json()["error"]["fields"]


def test_a_key_of_one_customer_finds_no_other(api: Api) -> None:
    sender = api.sender()
    theirs = api.key(Role.CUSTOMER, customer_id=sender.account.customer_id)

    assert api.send(api.event(sender), headers=theirs).status_code == 403


def test_a_changed_account_is_noticed_at_once(api: Api, until: Until) -> None:
    sender = api.sender(prepaid=False)
    assert api.ask(sender)["authorised"]
    api.connection.execute(
        "UPDATE billing.accounts SET status = 'suspended', updated_at = %s WHERE id = %s",
        [datetime.now(UTC), sender.account.id],
    )

    until(lambda: api.ask(sender)["reason"] == "account_suspended")
