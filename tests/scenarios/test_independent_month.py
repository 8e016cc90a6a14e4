"""One month of two merchants, sent through the front door and worked out a second time by hand.

Everything between the sender and the invoice is real: API, Redis, writer, PostgreSQL, Dagster, dbt.
The expected numbers come from `independent.py`, which shares no rule with any of it.
"""

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from billing.clock import SystemClock
from billing.demo import catalogue
from billing.demo.calendar import COMPLETE_MONTHS, DemoCalendar
from billing.demo.closing import Closer
from billing.demo.merchants import SUPPLIER, DayOf, Merchant, WalletPolicy, merchant
from billing.demo.papers import Papers
from billing.demo.send import send_corrections, send_events, send_top_up
from billing.demo.setup import Setup
from billing.demo.timeline import Correction, Day, Delivery, timeline
from billing.demo.traffic import UsageEvent
from billing.periods import add_months, local_day
from billing.stack.services import PROJECT
from tests.scenarios import independent
from tests.scenarios.conftest import Installation

pytestmark = pytest.mark.timeout(1200)

STARTS = DayOf(COMPLETE_MONTHS - 1, 1)
PREPAID = replace(
    merchant("chandni-bazaar"),
    starts=STARTS,
    wallet=WalletPolicy(Decimal(500), Decimal(3000), Decimal(1500)),
    traffic=replace(merchant("chandni-bazaar").traffic, events_per_day=25),
)
POSTPAID = replace(
    merchant("kaveri-retail"),
    starts=STARTS,
    traffic=replace(
        merchant("kaveri-retail").traffic,
        events_per_day=20,
        messages_per_event=(100, 400),  # enough to reach the third tier
        countries={"IN": 94, "AE": 3, "US": 2, "GB": 1},
    ),
)
MERCHANTS = (PREPAID, POSTPAID)
WALLET_UNITS_PER_PAISA = 10_000
GIVEN_BACK = 100_00
SHARE_OF_NOTE = 20


@dataclass
class Outcome:
    """What was sent, and where to look for what came of it."""

    month: date
    sent: dict[str, list[Delivery | Correction]]
    """By merchant code."""
    topped_up: Counter[date]
    """Into the wallet, in paise without tax, by the month of the bank's day."""
    wallet_id: str
    invoices: dict[str, dict[str, object]]
    """The issued invoices as the API shows them, by merchant code."""


@pytest.fixture(scope="module")
def outcome(installation: Installation) -> Outcome:
    calendar = DemoCalendar.at(SystemClock().now())
    month = calendar.complete_months[-1]
    wallets = Setup(installation.api, calendar, "scenario").everything(MERCHANTS)
    until = calendar.issue_date(month)
    days = [day for day in timeline(calendar, MERCHANTS) if month <= day.day < until]
    _add_hard_cases(days, month)
    sent: dict[str, list[Delivery | Correction]] = {found.code: [] for found in MERCHANTS}
    by_alias = {found.alias: found.code for found in MERCHANTS}
    topped_up: Counter[date] = Counter()
    with ThreadPoolExecutor(2) as pool:
        for day in days:
            for top_up in day.top_ups:
                topped_up[top_up.day.replace(day=1)] += int(top_up.amount * 100)
                send_top_up(installation.api, wallets[top_up.merchant], top_up, "scenario")
            list(send_events(installation.api, pool, day.deliveries))
            send_corrections(installation.api, pool, day.corrections)
            messages: list[Delivery | Correction] = [*day.deliveries, *day.corrections]
            for message in messages:
                sent[by_alias[message.event.account]].append(message)
    with Closer(PROJECT, installation.environment) as closer:
        closer.close(month)
    invoices = _approve(installation, month, until)
    _correct_and_pay(installation, invoices, wallets[PREPAID.code])
    return Outcome(month, sent, topped_up, wallets[PREPAID.code], invoices)


def _approve(
    installation: Installation, month: date, issue_date: date
) -> dict[str, dict[str, object]]:
    by_customer = {row["id"]: row["attributes"]["code"] for row in _customers(installation)}
    issued = {}
    today = SystemClock().now().astimezone(ZoneInfo("Asia/Kolkata")).date()
    for draft in list(installation.api.pages("/api/v1/invoices", invoice_month=month.isoformat())):
        path = f"/api/v1/invoices/{draft['id']}"
        body = {"issue_date": min(issue_date, today).isoformat()}
        installation.api.post(f"{path}/approve", body, f"approve:{draft['id']}")
        invoice = installation.api.get(path)
        issued[by_customer[invoice["relationships"]["customer"]["id"]]] = invoice
    return issued


def _correct_and_pay(
    installation: Installation, invoices: dict[str, dict[str, object]], wallet_id: str
) -> None:
    """A note of each kind, a transfer less tax deducted, and credits that went back."""
    today = local_day(SystemClock().now(), "Asia/Kolkata")
    papers = Papers(installation.api, "scenario")
    invoice_id = str(invoices[POSTPAID.code]["id"])
    papers.deduct_tax(invoice_id)
    papers.credit(invoice_id)
    papers.charge_more(invoice_id, today)
    papers.pay(invoice_id, today)
    papers.give_back(PREPAID, wallet_id, today)


def _customers(installation: Installation) -> list[dict[str, dict[str, str]]]:
    return list(installation.api.pages("/api/v1/customers"))


def _add_hard_cases(days: list[Day], month: date) -> None:
    """What a generator hits only by luck: the edges of the month, and each kind of correction."""
    following = add_months(month, 1)
    for found in MERCHANTS:
        edge = _event(found, "first-instant", _midnight(month, found))
        last = _event(
            found, "last-instant", _midnight(following, found) - timedelta(microseconds=1)
        )
        outside = _event(found, "next-month", _midnight(following, found))
        noon = _midnight(month, found) + timedelta(hours=12)
        twice = _event(found, "sent-thrice", noon)
        gone = _event(found, "taken-back", noon)
        failed = _event(found, "turned-out-failed", noon)
        arrived = _event(found, "arrived-after-all", noon).with_status("pending")
        late = _event(found, "two-days-late", _midnight(following, found) - timedelta(hours=5))
        for event in (edge, twice, gone, failed, arrived, twice):
            days[0].deliveries.append(Delivery(event.occurred_at, event))
        days[1].deliveries.append(Delivery(twice.occurred_at, twice))
        days[-1].deliveries += [Delivery(e.occurred_at, e) for e in (last, outside, late)]
        days[1].corrections += [
            Correction(noon, gone, None),
            Correction(noon, failed, "failed"),
            Correction(noon, arrived, "delivered"),
        ]


def _midnight(day: date, found: Merchant) -> datetime:
    return datetime.combine(day, time(), ZoneInfo(found.zone)).astimezone(UTC)


def _event(found: Merchant, name: str, occurred_at: datetime) -> UsageEvent:
    return UsageEvent(
        event_id=f"{found.code}-{name}",
        account=found.alias,
        event_type="otp.sms",
        occurred_at=occurred_at,
        quantity=7,
        dimensions={
            "country": "IN",
            "channel": "sms",
            "status": "delivered",
            "operator": "jio",
            "route": "direct",
        },
        cost=Decimal("0.763"),
    )


def _expected(outcome: Outcome, found: Merchant, month: date | None = None) -> independent.Month:
    plan = catalogue.plan(found.plan)
    return independent.work_out(found, plan, outcome.sent[found.code], month or outcome.month)


@pytest.mark.parametrize("found", MERCHANTS, ids=lambda found: found.code)
def test_every_line_and_every_tax_head_is_what_a_pencil_gives(
    outcome: Outcome, found: Merchant
) -> None:
    attributes = outcome.invoices[found.code]["attributes"]
    items = {charge.code: charge.item for charge in catalogue.plan(found.plan).charges}
    billed = sorted(
        (
            line["item_code"],
            Decimal(line["quantity"]),
            line["amount_minor"],
            {tax["head"]: tax["tax_minor"] for tax in line["taxes"]},
        )
        for line in attributes["lines"]  # type: ignore[index]
    )
    expected = _expected(outcome, found)
    assert billed == sorted(
        (items[line.charge], line.quantity, line.amount, line.taxes) for line in expected.lines
    )
    assert len(billed) > 5


@pytest.mark.parametrize("found", MERCHANTS, ids=lambda found: found.code)
def test_the_totals_are_what_a_pencil_gives(outcome: Outcome, found: Merchant) -> None:
    attributes = outcome.invoices[found.code]["attributes"]
    expected = _expected(outcome, found)
    assert {
        "taxable_minor": expected.taxable,
        "tax_minor": expected.tax,
        "total_minor": expected.total,
    }.items() <= attributes.items()  # type: ignore[attr-defined]


def test_the_third_tier_was_reached(outcome: Outcome) -> None:
    domestic = next(
        line
        for line in _expected(outcome, POSTPAID).lines
        if (line.charge, line.country) == ("sms", "IN")
    )
    assert domestic.quantity > 75_000


def test_the_wallet_holds_what_was_paid_in_less_what_was_used(
    outcome: Outcome, installation: Installation
) -> None:
    """In PostgreSQL and in Redis, to the last micro-rupee."""
    after_month = _expected(outcome, PREPAID, add_months(outcome.month, 1))
    expected = (
        (outcome.topped_up.total() - GIVEN_BACK) * WALLET_UNITS_PER_PAISA
        - _expected(outcome, PREPAID).taxable * WALLET_UNITS_PER_PAISA
        - after_month.debited_units
    )
    with installation.engine.connect() as connection:
        row = connection.execute(
            text(
                """
                SELECT wallet.balance_units, wallet.shard, state.epoch,
                    (SELECT sum(entry.amount_units) FROM billing.ledger_entries entry
                     WHERE entry.wallet_id = wallet.id AND entry.account = 'wallet')
                FROM billing.wallets wallet
                JOIN usage.shard_state state ON state.shard = wallet.shard
                WHERE wallet.id = :wallet
                """
            ),
            {"wallet": outcome.wallet_id},
        ).one()
    name = f"{{b:{row.shard}}}:{row.epoch}:w:{outcome.wallet_id.replace('-', '')}"
    in_redis = int(installation.cache.hget(name, "bal") or 0)
    assert (row[0], row[3], in_redis) == (expected, expected, expected)


@pytest.mark.parametrize("found", MERCHANTS, ids=lambda found: found.code)
def test_recurring_and_usage_revenue_are_what_a_pencil_gives(
    outcome: Outcome, installation: Installation, found: Merchant
) -> None:
    with installation.engine.connect() as connection:
        row = connection.execute(
            text(
                """
                SELECT mrr.mrr_minor, mrr.mrr_inr_minor,
                    mrr.usage_revenue_minor, mrr.usage_revenue_inr_minor, moved.movement,
                    moved.amount_inr_minor
                FROM marts.fct_mrr_monthly mrr
                JOIN billing.customers customer ON customer.id = mrr.customer_id
                LEFT JOIN marts.fct_mrr_movements moved
                    ON moved.customer_id = mrr.customer_id AND moved.month = mrr.month
                WHERE customer.code = :code AND mrr.month = :month
                """
            ),
            {"code": found.code, "month": outcome.month},
        ).one()
    expected = _expected(outcome, found)
    usage = expected.usage_revenue
    assert tuple(row) == (expected.mrr, expected.mrr, usage, usage, "new", expected.mrr)


def test_the_prepaid_invoice_is_settled_by_credits_and_the_tax_paid_with_them(
    outcome: Outcome,
) -> None:
    attributes = outcome.invoices[PREPAID.code]["attributes"]
    assert attributes["status"] == "paid"  # type: ignore[index]
    assert attributes["settled_minor"] == attributes["total_minor"]  # type: ignore[index]


def test_a_transfer_less_the_tax_deducted_pays_an_invoice_that_a_note_has_lowered(
    outcome: Outcome, installation: Installation
) -> None:
    path = f"/api/v1/invoices/{outcome.invoices[POSTPAID.code]['id']}"
    assert installation.api.get(path)["attributes"]["status"] == "paid"
    lines = installation.api.send("GET", f"{path}/settlement-lines").json()["data"]
    settled = Counter[str]()
    for line in lines:
        settled[line["attributes"]["source"]] += line["attributes"]["amount_minor"]
    month = _expected(outcome, POSTPAID)
    assert settled["tds_income_tax"] == independent.whole_coins(Decimal(month.taxable) / 50)
    assert settled.keys() == {"tds_income_tax", "credit_note", "payment"}
    assert settled.total() == month.total


def test_the_returns_are_what_the_documents_add_up_to_by_hand(
    outcome: Outcome, installation: Installation
) -> None:
    """Invoices, the debit note and advances by pencil; a credit note by what it says of itself."""
    issued_in = add_months(outcome.month, 1)
    before, found = (_return(installation, month) for month in (outcome.month, issued_in))
    invoiced, charged, credited = Counter[str](), Counter[str](), Counter[str]()
    for merchant_ in MERCHANTS:
        for line in _expected(outcome, merchant_).lines:
            _add(invoiced, line.amount, line.taxes)
    dearest = max(line.amount for line in _expected(outcome, POSTPAID).lines)
    more = dearest // SHARE_OF_NOTE
    _add(charged, more, independent.taxes_of(more, POSTPAID))
    (note,) = installation.api.pages("/api/v1/documents", kind="credit_note")
    for line in installation.api.get(f"/api/v1/documents/{note['id']}")["attributes"]["lines"]:
        taxes = {tax["head"]: tax["tax_minor"] for tax in line["taxes"]}
        _add(credited, line["taxable_minor"], taxes)
    assert credited["txval"] == more
    notes = [one for customer in found["cdnr"] for one in customer["nt"]]

    assert "b2b" not in before
    assert _sum(found["b2b"]) == invoiced
    assert _sum([one for one in notes if one["ntty"] == "D"]) == charged
    assert _sum([one for one in notes if one["ntty"] == "C"]) == credited
    by_code = invoiced + charged
    by_code.subtract(credited)
    assert _sum(found["hsn"]) == by_code

    claimed = installation.api.get(
        "/api/v1/gstr1/reconciliation", gstin=SUPPLIER.gstin, month=f"{issued_in:%Y-%m}"
    )["attributes"]
    assert claimed["differences"] == []
    received = outcome.topped_up[outcome.month]
    assert _sum(before["at"]) == Counter(ad_amt=received, iamt=received * 18 // 100)
    left = _sum(before["at"]) + _sum(found.get("at", []))
    left.subtract(_sum(found["txpd"]))
    used = _expected(outcome, PREPAID)
    open_tax = outcome.topped_up.total() * 18 // 100 - used.tax - GIVEN_BACK * 18 // 100
    assert left["iamt"] - claimed["refunds_to_claim"]["igst"] == open_tax
    # Values follow from the tax, of which each line of an invoice may have half a paisa more.
    open_ = outcome.topped_up.total() - used.taxable - GIVEN_BACK
    value = left["ad_amt"] - claimed["refunds_to_claim"]["taxable"]
    assert abs(value - open_) <= 3 * len(used.lines)


def _return(installation: Installation, month: date) -> Any:
    asked = {"gstin": SUPPLIER.gstin, "month": f"{month:%Y-%m}"}
    answer = installation.api.send("GET", "/api/v1/gstr1", params=asked)
    return json.loads(answer.text, parse_float=Decimal, parse_int=Decimal)


def _add(sums: Counter[str], taxable: int, taxes: dict[str, int]) -> None:
    columns = {"IGST": "iamt", "CGST": "camt", "SGST": "samt"}
    sums.update({"txval": taxable} | {columns[head]: tax for head, tax in taxes.items()})


def _sum(table: Any) -> Counter[str]:
    """The money of all items of a table, in paise, by column; none that comes to nothing."""
    sums = Counter[str]()
    for name, amount in _items(table):
        sums[name] += int(amount * 100)
    return +sums


def _items(value: Any) -> Iterator[tuple[str, Decimal]]:
    for one in value if isinstance(value, list) else value.values():
        if isinstance(one, dict | list):
            yield from _items(one)
    if isinstance(value, dict):
        named = ("txval", "ad_amt", "iamt", "camt", "samt")
        yield from ((name, value[name]) for name in named if name in value)
