"""Credit grants: priority, end and scope, from the API to the invoice and the ledger."""

import io
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pypdf
import pytest
from sqlalchemy import text
from sqlalchemy.event import listen, remove
from sqlalchemy.exc import DBAPIError

from billing.customers.tables import Account, BillingMode
from billing.db.unit_of_work import unit_of_work
from billing.wallets.grants import expire_grants
from invoicing.assemble import draft_invoices
from tests.support.api import Api
from tests.support.bodies import PLATFORM_ITEM, SMS_ITEM
from tests.support.factories.parties import make_account, make_supplier
from tests.support.marts import create_marts, make_rated_line, make_rating_run

JUNE = date(2026, 6, 1)
UNITS = 10_000
"""In a paisa."""


@pytest.fixture
def wallet(api: Api) -> tuple[str, str]:
    """A prepaid account and its wallet, on 10 June 2026, and two items."""
    _go_to(api, 6, 10)
    with unit_of_work(api.engine) as session:
        create_marts(session)
        make_supplier(session)
        account = str(make_account(session, billing_mode=BillingMode.PREPAID).id)
    for item in (SMS_ITEM, PLATFORM_ITEM):
        api.post("/billable-items", item)
    return account, str(api.post("/wallets", {"account_id": account})["id"])


def _go_to(api: Api, month: int, day: int) -> None:
    api.clock.instant = datetime(2026, month, day, 6, tzinfo=UTC)


def grant(api: Api, wallet_id: str, amount_minor: int, reference: str, **more: Any) -> Any:
    body = {"amount_minor": amount_minor, "reference": reference, **more}
    return api.post(f"/wallets/{wallet_id}/grants", body)


def left(api: Api, wallet_id: str) -> dict[str, tuple[str, int]]:
    """State and paise left by reference, in the order of use."""
    rows = [row["attributes"] for row in api.get(f"/wallets/{wallet_id}/grants")]
    return {row["reference"]: (row["state"], row["left_units"] // UNITS) for row in rows}


def invoice(api: Api, account_id: str, **minor_by_item: int) -> str:
    """The invoice of June, issued on 4 July."""
    _go_to(api, 7, 4)
    with unit_of_work(api.engine) as session:
        run = make_rating_run(session, JUNE)
        account = session.get_one(Account, UUID(account_id))
        for item, minor in minor_by_item.items():
            code = item.replace("_", "-")
            make_rated_line(session, run.id, account, amount_minor=minor, charge_code=code)
        (draft,) = draft_invoices(session, JUNE, run.id, api.clock).created
    return str(api.post(f"/invoices/{draft}/approve")["id"])


def test_credits_are_used_by_priority_then_by_what_ends_first(
    api: Api, wallet: tuple[str, str]
) -> None:
    account, wallet_id = wallet
    top_up = {"amount_minor": 10_000, "tax_minor": 1_800, "reference": "NEFT-1"}
    api.post(f"/wallets/{wallet_id}/top-ups", top_up)
    grant(api, wallet_id, 300, "spring", expires_on="2026-09-01")
    grant(api, wallet_id, 200, "summer", expires_on="2026-07-15")
    grant(api, wallet_id, 5_000, "last", kind="commitment", priority=90, expires_on="2026-07-15")
    bought = grant(api, wallet_id, 1_000, "NEFT-2", kind="purchased", tax_minor=180, priority=5)
    assert bought["attributes"]["state"] == "open"
    assert api.get(f"/wallets/{wallet_id}")["attributes"]["balance_units"] == 16_500 * UNITS

    issued = invoice(api, account, otp_sms=1_700)

    assert left(api, wallet_id) == {
        "NEFT-2": ("used", 0),
        "summer": ("used", 0),
        "spring": ("used", 0),
        "last": ("open", 5_000),
    }
    rows = [row["attributes"] for row in api.get(f"/wallets/{wallet_id}/lot-allocations")]
    assert [(row["lot_reference"], row["credit_units"] // UNITS) for row in rows] == [
        ("top_up:NEFT-2", 1_000),
        ("promotion:summer", 200),
        ("promotion:spring", 300),
        ("top_up:NEFT-1", 200),
    ]
    page = api.call("GET", f"/api/v1/invoices/{issued}/pdf")
    printed = " ".join(pypdf.PdfReader(io.BytesIO(page.content)).pages[0].extract_text().split())
    assert "Promotional credits" in printed


def test_what_is_left_at_the_end_goes_by_a_posting_and_what_comes_back_goes_again(
    api: Api, wallet: tuple[str, str]
) -> None:
    _, wallet_id = wallet
    path = f"/wallets/{wallet_id}"
    grant(api, wallet_id, 500, "welcome", priority=10, expires_on="2026-06-20")
    grant(api, wallet_id, 700, "committed", kind="commitment")
    used = {"amount_units": -200 * UNITS, "reference": "t-1", "note": "Counted too little"}
    api.post(f"{path}/corrections", used)
    assert expire_grants(api.engine, api.clock) == 0

    _go_to(api, 6, 20)
    assert [expire_grants(api.engine, api.clock) for _ in range(2)] == [1, 0]

    assert left(api, wallet_id) == {"welcome": ("expired", 0), "committed": ("open", 700)}
    newest = api.get(f"{path}/movements")[0]["attributes"]
    assert (newest["kind"], newest["amount_units"]) == ("expiry", -300 * UNITS)
    back = {"amount_units": 50 * UNITS, "reference": "t-2", "note": "Counted too much"}
    api.post(f"{path}/corrections", back)
    assert expire_grants(api.engine, api.clock) == 0, "a correction is a lot of its own"
    assert api.get(path)["attributes"]["balance_units"] == 750 * UNITS


def test_looking_for_grants_that_are_over_reads_a_wallet_once(
    api: Api, wallet: tuple[str, str]
) -> None:
    for reference in ("a", "b", "c"):
        grant(api, wallet[1], 500, reference, expires_on="2026-06-20")
    _go_to(api, 6, 20)
    assert expire_grants(api.engine, api.clock) == 3
    said: list[str] = []

    def note(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        said.append(statement)

    listen(api.engine, "before_cursor_execute", note)
    assert expire_grants(api.engine, api.clock) == 0
    remove(api.engine, "before_cursor_execute", note)
    assert len([one for one in said if "AS voucher_date" in one]) == 1


def test_a_grant_for_some_items_pays_their_lines_and_is_not_in_the_balance(
    api: Api, wallet: tuple[str, str]
) -> None:
    account, wallet_id = wallet
    path = f"/wallets/{wallet_id}"
    api.post(f"{path}/top-ups", {"amount_minor": 10_000, "tax_minor": 1_800, "reference": "N"})
    for_sms = {"item_codes": ["otp-sms"], "expires_on": "2026-06-25"}
    grant(api, wallet_id, 1_000, "sms", **for_sms)
    grant(api, wallet_id, 400, "sooner", item_codes=["otp-sms"], priority=1)
    grant(api, wallet_id, 900, "other", item_codes=["platform"])
    assert api.get(path)["attributes"]["balance_units"] == 10_000 * UNITS

    issued = invoice(api, account, otp_sms=1_100, platform=300)

    assert left(api, wallet_id) == {
        "sooner": ("used", 0),
        "sms": ("expired", 300),  # June, in which it held, took 700
        "other": ("open", 600),
    }
    # the grants paid all of it, so the money is still there
    assert api.get(path)["attributes"]["balance_units"] == 10_000 * UNITS
    rows = [row["attributes"] for row in api.get(f"{path}/lot-allocations")]
    assert [row["credit_units"] // UNITS for row in rows if row["credit_units"]] == [400, 700, 300]
    assert {row["used_by"] for row in rows} == {f"invoice:{issued}"}


def test_voiding_takes_what_is_left_and_money_is_refunded_instead(
    api: Api, wallet: tuple[str, str]
) -> None:
    _, wallet_id = wallet
    path = f"/wallets/{wallet_id}"
    given = grant(api, wallet_id, 500, "twice")
    again = grant(api, wallet_id, 500, "twice")
    assert again["id"] == given["id"]
    scoped = grant(api, wallet_id, 500, "scoped", item_codes=["otp-sms"])
    bought = grant(api, wallet_id, 500, "paid", kind="purchased")
    reason = {"reason": "Granted twice"}

    for one in (given, scoped, given):
        voided = api.post(f"{path}/grants/{one['id']}/void", reason)["attributes"]
        assert (voided["state"], voided["left_units"]) == ("voided", 0)

    assert api.get(path)["attributes"]["balance_units"] == 500 * UNITS
    refused = api.refused("POST", f"{path}/grants/{bought['id']}/void", 409, json=reason)
    assert refused["code"] == "grant_was_paid"
    with pytest.raises(DBAPIError), unit_of_work(api.engine) as session:
        session.execute(text("UPDATE billing.credit_grants SET amount_units = 1"))


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"kind": "purchased", "expires_on": "2027-01-01"}, "expires_on"),
        ({"kind": "purchased", "item_codes": ["otp-sms"]}, "item_codes"),
        ({"tax_minor": 18}, "tax_minor"),
        ({"amount_minor": 2**53}, "amount_minor"),
        ({"kind": "purchased", "tax_minor": 2**53}, "tax_minor"),
        ({"expires_on": "2026-06-10"}, "expires_on"),
        ({"item_codes": ["nothing"]}, "item_codes"),
    ],
)
def test_what_does_not_go_together_is_refused(
    api: Api, wallet: tuple[str, str], wrong: dict[str, Any], field: str
) -> None:
    body = {"amount_minor": 100, "reference": "r", **wrong}
    error = api.refused("POST", f"/wallets/{wallet[1]}/grants", 400, json=body)
    assert [one["field"] for one in error["fields"]] == [field]
