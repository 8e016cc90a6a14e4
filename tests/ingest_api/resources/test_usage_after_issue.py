"""Usage that came or went after its invoice was issued, billed and credited through HTTP."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from typing import Any

import pytest
from sqlalchemy import text

from billing.customers.tables import Account, BillingMode
from billing.db.unit_of_work import read_only, unit_of_work
from billing.stack.process import wait_until
from billing.wallets.tables import Wallet
from invoicing.assemble import DraftReport, draft_invoices
from tests.support.api import Api
from tests.support.factories.debits import IN_JUNE, debit
from tests.support.factories.parties import make_account, make_branch, make_supplier
from tests.support.marts import create_marts, make_rated_line, make_rating_run

JUNE, JULY, AUGUST = date(2026, 6, 1), date(2026, 7, 1), date(2026, 8, 1)
Rate = Callable[..., DraftReport]


@pytest.fixture
def rate(api: Api) -> Rate:
    """Rates a month of an account with amounts by line, and drafts it."""
    api.clock.advance(datetime(2026, 9, 4, 6, tzinfo=UTC) - api.clock.now())
    with unit_of_work(api.engine) as session:
        create_marts(session)
        make_supplier(session)

    def run(account_id: str, month: date, accept_seq: int = 0, **amounts: int) -> DraftReport:
        with unit_of_work(api.engine) as session:
            run = make_rating_run(session, month, accept_seq)
            run.finished_at = run.started_at
            account = session.get_one(Account, account_id)
            for name, amount_minor in amounts.items():
                make_rated_line(
                    session, run.id, account, amount_minor=amount_minor, month=month,
                    line_ref=f"{account_id}:{month:%Y%m%d}:{name}",
                    period_end=date(2026, month.month + 1, 1),
                )  # fmt: skip
            return draft_invoices(session, month, run.id, api.clock)

    return run


def issued(api: Api, report: DraftReport) -> dict[str, Any]:
    (draft,) = [*report.created, *report.updated, *report.unchanged]
    invoice: dict[str, Any] = api.post(f"/invoices/{draft}/approve")
    return invoice


def open_of(api: Api, invoice: dict[str, Any]) -> dict[str, Any] | None:
    found = api.get("/usage-differences", params={"invoice_id": invoice["id"]})
    return found[0]["attributes"] if found else None


def billed(invoice: dict[str, Any]) -> dict[str, int]:
    return {line["line_ref"]: line["amount_minor"] for line in invoice["attributes"]["lines"]}


def test_more_usage_is_billed_once_by_an_adjustment_line_of_the_next_draft(
    api: Api, rate: Rate
) -> None:
    with unit_of_work(api.engine) as session:
        mine = str(make_account(session).id)
    june = issued(api, rate(mine, JUNE, sms=10_000, fee=5_000))
    assert rate(mine, JUNE, sms=10_000, fee=5_000).issued_differs == []

    report = rate(mine, JUNE, sms=10_250, voice=300, fee=5_000)
    assert [str(one) for one in report.issued_differs] == [june["id"]]
    found = open_of(api, june)
    assert found is not None
    assert (found["to_bill_minor"], found["to_credit_minor"]) == (550, 0)
    assert {line["line_ref"][-5:]: line["open_minor"] for line in found["lines"]} == {
        "1:sms": 250,
        "voice": 300,
    }

    drafted = rate(mine, JULY, sms=7_000)
    assert open_of(api, june) is None
    assert len(rate(mine, JULY, sms=7_000).unchanged) == 1  # closed twice
    rate(mine, JUNE, sms=10_260, voice=300, fee=5_000)  # and still more came
    again = rate(mine, JULY, sms=7_000)
    assert again.updated == drafted.created
    july = issued(api, again)
    lines = {f"adjustment:{mine}:20260601:sms": 260, f"adjustment:{mine}:20260601:voice": 300}
    assert billed(july) == {f"{mine}:20260701:sms": 7_000} | lines
    assert july["attributes"]["taxable_minor"] == 7_560
    assert july["attributes"]["tax_minor"] == 1_360  # 630, 23 and 27, for each of two heads
    added = next(
        line for line in july["attributes"]["lines"] if line["line_ref"].endswith("0601:sms")
    )
    assert added["description"] == "Adjustment of SMS to India, June 2026"
    assert (added["period_start"], added["period_end"]) == ("2026-06-01", "2026-07-01")

    assert rate(mine, JUNE, sms=10_260, voice=300, fee=5_000).issued_differs == []
    assert rate(mine, JULY, sms=7_000).issued_differs == []
    assert billed(issued(api, rate(mine, AUGUST, sms=1))) == {f"{mine}:20260801:sms": 1}


def test_less_usage_goes_back_by_a_credit_note_once_and_the_next_draft_says_so(
    api: Api, rate: Rate
) -> None:
    with unit_of_work(api.engine) as session:
        mine = str(make_account(session).id)
    june = issued(api, rate(mine, JUNE, sms=10_000))
    number = june["attributes"]["number"]
    rate(mine, JUNE, sms=8_800)
    (draft,) = rate(mine, JULY, sms=7_000).created
    told = api.get(f"/invoices/{draft}")["attributes"]
    assert told["taxable_minor"] == 7_000
    assert told["review_note"] == (
        f"{number} comes to 12.00 INR less by now: issue its credit note for usage."
    )

    path = f"/invoices/{june['id']}/usage-credit-notes"
    note = api.post(path, {})["attributes"]
    assert (note["taxable_minor"], note["tax_minor"]) == (1_200, 216)
    api.refused("POST", path, 409, json={})
    assert open_of(api, june) is None
    assert rate(mine, JUNE, sms=8_800).issued_differs == []

    # goodwill is no usage: it is not billed again
    line = f"{mine}:20260601:sms"
    goodwill = {"reason": "Goodwill", "lines": [{"line_ref": line, "amount_minor": 100}]}
    api.post(f"/invoices/{june['id']}/credit-notes", goodwill)
    assert rate(mine, JUNE, sms=8_800).issued_differs == []
    assert rate(mine, JULY, sms=7_000).updated == [draft]
    assert api.get(f"/invoices/{draft}")["attributes"]["review_note"] is None

    # what came back in June is billed in July, and an invoice that all usage left is given back
    rate(mine, JUNE, sms=8_900)
    july = issued(api, rate(mine, JULY, sms=7_000))
    assert billed(july)[f"adjustment:{line}"] == 100
    rate(mine, JUNE)
    first = api.post(path, {})["attributes"]
    second = api.post(path, {})["attributes"]
    assert (first["taxable_minor"], second["taxable_minor"]) == (8_700, 100)
    assert open_of(api, june) is None  # the rest was given as goodwill
    api.refused("POST", path, 409, json={})


def test_usage_below_a_commitment_costs_nothing_although_two_lines_changed(
    api: Api, rate: Rate
) -> None:
    with unit_of_work(api.engine) as session:
        mine = str(make_account(session).id)
    june = issued(api, rate(mine, JUNE, sms=6_000, commitment=4_000))
    rate(mine, JUNE, sms=6_500, commitment=3_500)
    assert open_of(api, june) is not None
    assert billed(api.get(f"/invoices/{rate(mine, JULY, sms=10).created[0]}")) == {
        f"{mine}:20260701:sms": 10
    }

    rate(mine, JUNE, sms=10_700)  # now above it
    (draft,) = rate(mine, JULY, sms=10).updated
    assert billed(api.get(f"/invoices/{draft}"))[f"adjustment:{mine}:20260601:sms"] == 700


def test_an_account_without_usage_since_is_billed_for_the_calendar_month(
    api: Api, rate: Rate
) -> None:
    with unit_of_work(api.engine) as session:
        mine, other = (str(make_account(session).id) for _ in range(2))
    issued(api, rate(mine, JUNE, sms=10_000))
    rate(mine, JUNE, sms=10_001)

    report = rate(other, JULY, sms=1)

    found = [api.get(f"/invoices/{draft}") for draft in report.created]
    (alone,) = [one for one in found if one["relationships"]["account"]["id"] == mine]
    assert billed(alone) == {f"adjustment:{mine}:20260601:sms": 1}
    period = alone["attributes"]["period_start"], alone["attributes"]["period_end"]
    assert period == ("2026-07-01", "2026-08-01")


def test_a_prepaid_wallet_gives_exactly_what_is_billed_for_late_and_for_voided_usage(
    api: Api, rate: Rate
) -> None:
    with unit_of_work(api.engine) as session:
        mine = str(make_account(session, billing_mode=BillingMode.PREPAID).id)
    wallet = api.post("/wallets", {"account_id": mine})["id"]
    paid = {"amount_minor": 100_000, "tax_minor": 18_000, "reference": "NEFT-1"}
    api.post(f"/wallets/{wallet}/top-ups", paid)
    use(api, wallet, 1, 100_400_000)
    june = issued(api, rate(mine, JUNE, accept_seq=1, sms=10_000))
    assert left(api, wallet) == (900_000_000, 0)

    # Late: 2.50 was taken at once, tiers make it 2.00, which July's invoice bills.
    use(api, wallet, 2, 2_500_000)
    rate(mine, JUNE, accept_seq=2, sms=10_200)
    july = issued(api, rate(mine, JULY, accept_seq=2, sms=300))
    assert july["attributes"]["status"] == "paid"
    assert left(api, wallet) == (895_000_000, 0)  # less 2.00 and 3.00

    # Voided: the debit of 1.20 came back at once, and the note gives back the same.
    use(api, wallet, 3, -1_200_000)
    assert left(api, wallet)[0] == 896_200_000
    rate(mine, JUNE, accept_seq=3, sms=10_080)
    note = api.post(f"/invoices/{june['id']}/usage-credit-notes", {})["attributes"]
    assert (note["taxable_minor"], note["tax_minor"]) == (120, 22)
    assert left(api, wallet) == (896_200_000, 0)

    # Within what is free: 0.70 was taken at once, nothing is rated for it.
    use(api, wallet, 4, 700_000)
    rate(mine, JUNE, accept_seq=4, sms=10_080)
    issued(api, rate(mine, AUGUST, accept_seq=4, sms=100))
    assert left(api, wallet) == (895_200_000, 0)


def test_usage_of_a_statement_goes_back_by_a_note_without_tax(api: Api, rate: Rate) -> None:
    with unit_of_work(api.engine) as session:
        mine = str(make_account(session, billing_mode=BillingMode.PREPAID).id)
    wallet = api.post("/wallets", {"account_id": mine})["id"]
    policy = {"policy": "tax_invoice_at_top_up"}
    assert api.call("PUT", f"/api/v1/wallets/{wallet}/advance-policy", json=policy).is_success
    grant = {"amount_units": 1_000_000_000, "reference": "first"}
    api.post(f"/wallets/{wallet}/corrections", grant | {"note": "Bought before"})
    use(api, wallet, 1, 100_000_000)
    june = issued(api, rate(mine, JUNE, accept_seq=1, sms=10_000))
    assert june["attributes"]["document_type"] == "statement"

    use(api, wallet, 2, -12_000_000)
    rate(mine, JUNE, accept_seq=2, sms=8_800)
    note = api.post(f"/invoices/{june['id']}/usage-credit-notes", {})["attributes"]

    assert (note["kind"], note["taxable_minor"], note["tax_minor"]) == (
        "financial_credit_note",
        1_200,
        0,
    )
    assert left(api, wallet) == (912_000_000, 0)
    assert open_of(api, june) is None


def test_what_a_longer_period_bills_is_left_to_it_by_a_month_of_adjustments(
    api: Api, rate: Rate
) -> None:
    with unit_of_work(api.engine) as session:
        mine = str(make_account(session, billing_mode=BillingMode.PREPAID).id)
        other = str(make_account(session).id)
    wallet = api.post("/wallets", {"account_id": mine})["id"]
    paid = {"amount_minor": 100_000, "tax_minor": 18_000, "reference": "NEFT-1"}
    api.post(f"/wallets/{wallet}/top-ups", paid)
    june = issued(api, rate(mine, JUNE, sms=100))
    use(api, wallet, 1, 2_500_000)
    use(api, wallet, 2, 3_000_000, datetime(2026, 7, 10, tzinfo=UTC))
    rate(mine, JUNE, accept_seq=2, sms=350)

    july = issued(api, rate(other, JULY, accept_seq=2))

    assert (july["attributes"]["taxable_minor"], open_of(api, june)) == (250, None)
    # 1.00 and 2.50 are billed; 3.00 of July waits for the invoice of its own period
    assert left(api, wallet) == (1_000_000_000 - 6_500_000, 3_000_000)


def test_a_draft_gives_up_what_went_again_and_keeps_its_invoice_from_becoming_void(
    api: Api, rate: Rate
) -> None:
    with unit_of_work(api.engine) as session:
        mine = str(make_account(session).id)
    june = issued(api, rate(mine, JUNE, sms=10_000))
    rate(mine, JUNE, sms=10_250)
    (draft,) = rate(mine, JULY, sms=7_000).created
    refused = api.refused("POST", f"/invoices/{june['id']}/void", 409, json={"reason": "Wrong"})
    assert refused["code"] == "built_on"

    rate(mine, JUNE, sms=9_900)
    assert rate(mine, JULY, sms=7_000).updated == [draft]
    assert billed(api.get(f"/invoices/{draft}")) == {f"{mine}:20260701:sms": 7_000}
    note = api.post(f"/invoices/{june['id']}/usage-credit-notes", {})["attributes"]

    assert note["taxable_minor"] == 100
    assert open_of(api, june) is None


def test_a_branch_is_adjusted_on_the_invoice_that_it_shares(api: Api, rate: Rate) -> None:
    with unit_of_work(api.engine) as session:
        head = make_account(session)
        branch = make_branch(session, head, "north")
        top, mine = str(head.id), str(branch.id)
    shared = {"bill_account_id": top, "valid_from": "2026-06-01"}
    api.post(f"/accounts/{mine}/bill-accounts", shared)
    june = issued(api, rate(mine, JUNE, sms=10_000))
    rate(mine, JUNE, sms=10_250)

    july = issued(api, rate(top, JULY, sms=1))

    assert july["relationships"]["account"]["id"] == top
    added = july["attributes"]["lines"][1]
    assert (added["account_id"], added["amount_minor"]) == (mine, 250)
    assert open_of(api, june) is None


def test_two_months_that_are_drafted_at_once_bill_a_difference_once(api: Api, rate: Rate) -> None:
    with unit_of_work(api.engine) as session:
        account = make_account(session)
        mine = str(account.id)
        august = make_rating_run(session, AUGUST).id
    issued(api, rate(mine, JUNE, sms=10_000))
    rate(mine, JUNE, sms=10_250)
    with unit_of_work(api.engine) as session:
        july = make_rating_run(session, JULY).id

    def draft_august() -> DraftReport:
        with unit_of_work(api.engine) as session:
            return draft_invoices(session, AUGUST, august, api.clock)

    with ThreadPoolExecutor(1) as pool:
        with unit_of_work(api.engine) as first:
            assert len(draft_invoices(first, JULY, july, api.clock).created) == 1
            second = pool.submit(draft_august)
            assert wait_until(lambda: waits_for_a_lock(api), 60)
        assert second.result().created == []


def waits_for_a_lock(api: Api) -> bool:
    waiting = text(
        "SELECT EXISTS (SELECT FROM pg_locks JOIN pg_database d ON d.oid = database "
        "WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted)"
    )
    with read_only(api.engine) as session:
        return bool(session.scalar(waiting))


def use(
    api: Api, wallet: str, accept_seq: int, amount_units: int, occurred_at: datetime = IN_JUNE
) -> None:
    """What the writer records of an event that took, or gave back, so much."""
    with unit_of_work(api.engine) as session:
        debit(session, session.get_one(Wallet, wallet), accept_seq, amount_units, occurred_at)


def left(api: Api, wallet: str) -> tuple[int, int]:
    """The wallet's balance, and what was used and not billed, in wallet units."""
    with api.engine.connect() as connection:
        row = connection.execute(
            text(
                "SELECT balance_units, (SELECT coalesce(sum(amount_units), 0) "
                "FROM billing.ledger_entries WHERE account = 'usage_unbilled') AS unbilled "
                "FROM billing.wallets WHERE id = :wallet"
            ),
            {"wallet": wallet},
        ).one()
    return row.balance_units, int(row.unbilled)
