"""Dunning over HTTP: reminded, suspended, let back; debts that two persons give up."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from billing.access.roles import Role
from billing.customers.tables import Customer
from billing.db.unit_of_work import unit_of_work
from billing.dunning.service import run_dunning
from billing.invoices.tables import Invoice, SupplierRegistration
from billing.mail.service import AttachedFile, RefusedForGoodError, send_queued
from billing.mail.smtp import MailSettings, SmtpSender
from billing.mail.tables import Mail
from tests.support.counter import Counter, Debt
from tests.support.smtp import Letters, running_smtp

SCHEDULE: dict[str, Any] = {
    "name": "Standard",
    "is_default": True,
    "ignore_below_minor": 100,
    "steps": [
        {"day": 1, "action": "charge"},
        {"day": 1, "action": "remind", "subject": "{number} is {days_late} days late"},
        {"day": 30, "action": "suspend"},
    ],
}


@pytest.fixture(scope="module")
def letters() -> Iterator[Letters]:
    with running_smtp() as running:
        yield running


def overdue(counter: Counter) -> tuple[Debt, str]:
    """A debt that was due on 1 July, of a customer with an address; its account."""
    counter.api.call("PUT", "/api/v1/dunning-schedules/standard", json=SCHEDULE)
    debt = counter.invoice(11_800)
    with unit_of_work(counter.api.engine) as session:
        session.get_one(Customer, debt.customer_id).email = "accounts@acme.test"
    invoice = counter.api.get(f"/invoices/{debt.id}")
    return debt, invoice["relationships"]["account"]["id"]


def status_of(counter: Counter, account: str) -> tuple[str, str | None]:
    found = counter.api.get(f"/accounts/{account}")["attributes"]
    return found["status"], found["suspended_for"]


def steps_of(counter: Counter, debt: Debt) -> list[tuple[int, str, str]]:
    rows = counter.api.get(f"/invoices/{debt.id}/dunning-steps")
    return [tuple(row["attributes"][n] for n in ("day", "action", "outcome")) for row in rows]


def test_a_debtor_is_reminded_suspended_and_let_back_when_it_pays(
    counter: Counter, letters: Letters
) -> None:
    debt, account = overdue(counter)
    engine, clock = counter.api.engine, counter.api.clock
    run_dunning(engine, clock)
    run_dunning(engine, clock)
    assert steps_of(counter, debt) == [(1, "charge", "not_possible"), (1, "remind", "done")]
    assert status_of(counter, account) == ("active", None)

    sender = SmtpSender(letters.settings)
    assert send_queued(engine, clock, sender) == (1, 0)
    assert send_queued(engine, clock, sender) == (0, 0)
    (sent,) = letters.received
    assert "To: accounts@acme.test" in sent
    assert "days late" in sent

    (listed,) = counter.api.get("/debts", params={"late_only": True})
    assert listed["id"] == str(debt.id)
    found = listed["attributes"]
    assert (found["outstanding_minor"], found["last_action"]) == (11_800, "remind")
    assert (found["next_action"], found["next_on"]) == ("suspend", "2026-07-31")
    assert counter.api.get("/debts", params={"after": str(debt.id)}) == []
    counter.api.refused("GET", "/debts", 403, key=debt.key)

    clock.advance(timedelta(days=40))
    run_dunning(engine, clock)
    assert status_of(counter, account) == ("suspended", "debt")
    counter.pay(counter.ask(invoice_id=str(debt.id), key=debt.key))
    assert status_of(counter, account) == ("active", None)
    run_dunning(engine, clock)
    assert status_of(counter, account) == ("active", None)


def test_a_pause_holds_and_afterwards_only_the_latest_is_done(counter: Counter) -> None:
    debt, account = overdue(counter)
    today = counter.api.clock.now().date()
    pause = {"paused_until": str(today + timedelta(days=5)), "pause_reason": "They dispute it."}
    counter.api.call("PUT", f"/api/v1/accounts/{account}/dunning", json=pause)
    run_dunning(counter.api.engine, counter.api.clock)
    assert steps_of(counter, debt) == []

    counter.api.clock.advance(timedelta(days=6))
    run_dunning(counter.api.engine, counter.api.clock)
    assert [step[1] for step in steps_of(counter, debt)] == ["charge", "remind"]


def test_a_reminder_goes_to_the_billing_contacts_as_the_invoice_did(counter: Counter) -> None:
    debt, _ = overdue(counter)
    with unit_of_work(counter.api.engine) as session:
        session.get_one(Customer, debt.customer_id).email = None
    for name in ("ap", "cfo"):
        contact = {"role": "billing", "name": name, "email": f"{name}@acme.test"}
        counter.api.post(f"/customers/{debt.customer_id}/contacts", contact)

    run_dunning(counter.api.engine, counter.api.clock)

    assert steps_of(counter, debt) == [(1, "charge", "not_possible"), (1, "remind", "done")]
    recipients = {mail["attributes"]["recipient"] for mail in counter.api.get("/mails")}
    assert recipients == {"ap@acme.test", "cfo@acme.test"}


def test_what_is_open_below_the_limit_is_no_debt(counter: Counter) -> None:
    debt, _ = overdue(counter)
    line = {"source": "tds_income_tax", "amount_minor": 11_700, "reference": "FY2627-Q2"}
    counter.api.post(f"/invoices/{debt.id}/settlement-lines", line)
    run_dunning(counter.api.engine, counter.api.clock)
    assert steps_of(counter, debt) == []


@pytest.mark.parametrize(
    "steps",
    [
        [{"day": -1, "action": "suspend"}],
        [{"day": 1, "action": "remind"}, {"day": 1, "action": "remind"}],
        [],
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(counter: Counter, steps: Any) -> None:
    body = {**SCHEDULE, "steps": steps}
    answer = counter.api.call("PUT", "/api/v1/dunning-schedules/odd", json=body)
    assert answer.status_code == 400, answer.text


def test_a_letter_waits_for_a_server_that_is_away_and_not_for_ever(counter: Counter) -> None:
    overdue(counter)
    engine, clock = counter.api.engine, counter.api.clock
    run_dunning(engine, clock)

    class Away:
        def send(self, mail: Mail, files: Sequence[AttachedFile] = ()) -> None:
            raise OSError("no route")

    class Never:
        def send(self, mail: Mail, files: Sequence[AttachedFile] = ()) -> None:
            raise RefusedForGoodError("no such address")

    assert send_queued(engine, clock, Away()) == (0, 1)
    assert send_queued(engine, clock, Away()) == (0, 0)
    clock.advance(timedelta(minutes=5))
    assert send_queued(engine, clock, Never()) == (0, 1)
    (mail,) = counter.api.get("/mails")
    assert (mail["attributes"]["state"], mail["attributes"]["tries"]) == ("given_up", 2)


def test_a_server_that_knows_no_such_address_is_believed(letters: Letters) -> None:
    mail = Mail(id=UUID(int=1), recipient="nobody@acme.test", subject="x", body="x")
    with pytest.raises(RefusedForGoodError):
        SmtpSender(letters.settings).send(mail)
    away = MailSettings(smtp_host="127.0.0.1", smtp_port=1, smtp_starttls=False)
    with pytest.raises(OSError, match="refused"):
        SmtpSender(away).send(mail)


def test_a_debt_is_given_up_by_two_persons(counter: Counter) -> None:
    debt = counter.invoice(11_800)
    line = {"source": "write_off", "amount_minor": 11_800, "reference": "alone"}
    with unit_of_work(counter.api.engine) as session:
        ours = session.scalars(select(SupplierRegistration)).one()
        ours.second_approval_above_minor = 10_000
        ours.gstin = session.get_one(Invoice, debt.id).supplier_gstin
    alone = counter.api.call("POST", f"/api/v1/invoices/{debt.id}/settlement-lines", json=line)
    assert alone.json()["error"]["code"] == "second_person"
    asked = {"amount_minor": 11_800, "reason": "Insolvent since May"}
    proposal = counter.api.post(f"/invoices/{debt.id}/write-offs", asked)
    path = f"/api/v1/write-offs/{proposal['id']}/decision"
    again = counter.api.call("POST", f"/api/v1/invoices/{debt.id}/write-offs", json=asked)
    assert again.json()["error"]["code"] == "proposed"
    assert counter.api.call("POST", path, json={"approve": True}).status_code == 403

    other = counter.api.call("POST", path, role=Role.FINANCE_ADMIN, json={"approve": True})
    assert other.status_code == 200, other.text
    assert counter.api.get(f"/invoices/{debt.id}")["attributes"]["status"] == "paid"
    denied = counter.api.call("POST", path, role=Role.FINANCE_ADMIN, json={"approve": False})
    assert denied.json()["error"]["code"] == "decided"
