"""One invoice for several accounts: set, drafted, issued, printed and noted through HTTP."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pypdf
import pytest

from billing.customers.tables import Account
from billing.db.unit_of_work import unit_of_work
from billing.dunning.service import run_dunning
from invoicing.assemble import DraftReport, draft_invoices
from tests.support.api import Api
from tests.support.factories.parties import make_account, make_branch, make_supplier
from tests.support.marts import create_marts, make_rated_line, make_rating_run

JUNE = date(2026, 6, 1)


@dataclass
class Group:
    """A head office with two branches, rated for June."""

    head: str
    north: str
    south: str


@pytest.fixture
def group(api: Api) -> Group:
    api.clock.advance(datetime(2026, 7, 5, 6, tzinfo=UTC) - api.clock.now())
    with unit_of_work(api.engine) as session:
        create_marts(session)
        make_supplier(session)
        head = make_account(session)
        branches = [make_branch(session, head, name) for name in ("north", "south")]
        return Group(str(head.id), *(str(branch.id) for branch in branches))


@pytest.fixture
def rate(api: Api) -> Callable[..., DraftReport]:
    """Rates June anew with an amount per account, and drafts it."""

    def run(amounts: dict[str, int], **what: Any) -> DraftReport:
        with unit_of_work(api.engine) as session:
            run = make_rating_run(session, JUNE)
            for account_id, amount_minor in amounts.items():
                account = session.get_one(Account, account_id)
                make_rated_line(
                    session,
                    run.id,
                    account,
                    amount_minor=amount_minor,
                    line_ref=f"{account.code}:sms",
                    **what,
                )
            return draft_invoices(session, JUNE, run.id, api.clock)

    return run


def share(api: Api, group: Group, valid_from: str = "2026-06-01") -> None:
    for branch in (group.north, group.south):
        api.post(
            f"/accounts/{branch}/bill-accounts",
            {"bill_account_id": group.head, "valid_from": valid_from},
        )


def test_accounts_below_stand_on_one_invoice_with_a_section_each_and_have_none_of_their_own(
    api: Api, group: Group, rate: Callable[..., DraftReport]
) -> None:
    amounts = {group.head: 10_001, group.south: 333, group.north: 20_005}
    before = rate(amounts)
    assert len(before.created) == 3
    share(api, group)
    again = rate(amounts)
    assert (len(again.created), len(again.updated), len(again.removed)) == (0, 1, 2)
    assert len(rate(amounts).unchanged) == 1

    draft = str(again.updated[0])
    issued = api.post(f"/invoices/{draft}/approve")
    found = issued["attributes"]
    assert issued["relationships"]["account"]["id"] == group.head
    assert [line["account_id"] for line in found["lines"]] == [
        group.head,
        group.north,
        group.south,
    ]
    # each head is rounded once for each line, and the header is the sum of the lines
    assert [tax["tax_minor"] for line in found["lines"] for tax in line["taxes"]] == [
        900,
        900,
        1_800,
        1_800,
        30,
        30,
    ]
    assert (found["taxable_minor"], found["total_minor"]) == (30_339, 30_339 + 5_460)
    page = api.call("GET", f"/api/v1/invoices/{draft}/pdf")
    printed = " ".join(pypdf.PdfReader(io.BytesIO(page.content)).pages[0].extract_text().split())
    assert printed.index("Branch north") < printed.index("Branch south")
    assert "236.05" in printed  # the section of the branch in the north: 200.05 and its tax
    assert "393.0" not in printed
    kept = rate(amounts)
    assert [str(one) for one in kept.issued_kept] == [draft]
    assert not kept.created


def test_a_note_corrects_a_line_of_a_branch(
    api: Api, group: Group, rate: Callable[..., DraftReport]
) -> None:
    share(api, group)
    draft = str(rate({group.north: 20_000}).created[0])
    issued = api.post(f"/invoices/{draft}/approve")["attributes"]
    line = issued["lines"][0]["line_ref"]

    note = api.post(
        f"/invoices/{draft}/credit-notes",
        {"reason": "Agreed price", "lines": [{"line_ref": line, "amount_minor": 5_000}]},
    )

    assert note["attributes"]["tax_minor"] == 900


def test_a_setting_ends_from_a_day_and_not_within_days_that_are_invoiced(
    api: Api, group: Group, rate: Callable[..., DraftReport]
) -> None:
    share(api, group)
    draft = str(rate({group.north: 20_000, group.head: 100}).created[0])
    api.post(f"/invoices/{draft}/approve")

    alone = {"bill_account_id": None, "valid_from": "2026-06-15"}
    path = f"/accounts/{group.north}/bill-accounts"
    assert api.call("POST", f"/api/v1{path}", json=alone).json()["error"]["code"] == (
        "already_billed"
    )
    charge = {
        "account_id": group.north,
        "invoice_month": "2026-06-01",
        "description": "Support",
        "sac": "998313",
        "quantity": "1",
        "unit": "day",
        "unit_price": "10",
    }
    refused = api.call("POST", "/api/v1/custom-charges", json=charge)
    assert refused.json()["error"]["code"] == "already_billed"

    api.post(path, alone | {"valid_from": "2026-07-01"})
    assert [row["attributes"]["valid_from"] for row in api.get(path)] == [
        "2026-06-01",
        "2026-07-01",
    ]


def test_only_postpaid_accounts_above_in_the_same_currency_are_billed_for_others(
    api: Api, group: Group
) -> None:
    def refusal(account: str, bill_account: str) -> str:
        body = {"bill_account_id": bill_account, "valid_from": "2026-06-01"}
        answer = api.call("POST", f"/api/v1/accounts/{account}/bill-accounts", json=body)
        return str(answer.json()["error"]["code"])

    assert refusal(group.head, group.north) == "not_above"
    assert refusal(group.north, group.south) == "not_above"
    customer = api.get(f"/accounts/{group.head}")["relationships"]["customer"]["id"]
    below = {"customer_id": customer, "name": "Below", "parent_account_id": group.north}
    prepaid = api.post("/accounts", below | {"code": "low-1", "billing_mode": "prepaid"})["id"]
    dollars = api.post(
        "/accounts", below | {"code": "low-2", "billing_mode": "postpaid", "currency": "USD"}
    )["id"]
    lowest = api.post("/accounts", below | {"code": "low-3", "billing_mode": "postpaid"})["id"]
    assert refusal(prepaid, group.head) == "prepaid"
    assert refusal(dollars, group.head) == "another_currency"
    share(api, group)
    assert refusal(lowest, group.north) == "bill_account_chain"
    assert refusal(group.north, group.head) == "bill_account_exists"


def test_usage_without_a_rate_in_a_branch_parks_the_shared_draft(
    api: Api, group: Group, rate: Callable[..., DraftReport]
) -> None:
    share(api, group)
    with unit_of_work(api.engine) as session:
        session.connection().exec_driver_sql(
            "INSERT INTO marts.fct_unrated_usage VALUES (%s, %s, 'whatsapp_otp', 3, 3)",
            (JUNE, group.south),
        )

    report = rate({group.head: 100})

    assert report.parked == report.created


def test_a_debt_suspends_whoever_it_concerns_and_lets_them_back_when_all_is_paid(
    api: Api, group: Group, rate: Callable[..., DraftReport]
) -> None:
    """The branch in the north left after that month, that in the south sent nothing in it."""
    share(api, group)
    alone = {"bill_account_id": None, "valid_from": "2026-07-01"}
    draft = str(rate({group.head: 10_000, group.north: 20_000}).created[0])
    total = api.post(f"/invoices/{draft}/approve")["attributes"]["total_minor"]
    api.post(f"/accounts/{group.north}/bill-accounts", alone)
    schedule = {"name": "Short", "is_default": True, "steps": [{"day": 1, "action": "suspend"}]}
    api.call("PUT", "/api/v1/dunning-schedules/short", json=schedule)

    def states() -> list[tuple[str, str | None]]:
        found = [api.get(f"/accounts/{one}")["attributes"] for one in vars(group).values()]
        return [(one["status"], one["suspended_for"]) for one in found]

    def pay(amount_minor: int) -> None:
        line = {"source": "tds_income_tax", "amount_minor": amount_minor}
        line["reference"] = f"Q2-{amount_minor}"
        api.post(f"/invoices/{draft}/settlement-lines", line)

    api.clock.advance(timedelta(days=60))
    run_dunning(api.engine, api.clock)
    assert states() == [("suspended", "debt")] * 3

    api.post(f"/accounts/{group.south}/suspend")
    pay(100)
    assert states() == [("suspended", "debt")] * 2 + [("suspended", "hand")]
    pay(total - 100)
    assert states() == [("active", None)] * 2 + [("suspended", "hand")]
