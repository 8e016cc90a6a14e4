"""The return over HTTP: files, reconciliation, and a month that is locked for good."""

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from billing.access.actor import SYSTEM
from billing.access.roles import Role
from billing.commands import Context
from billing.customers.tables import BillingMode
from billing.db.unit_of_work import read_only, unit_of_work
from billing.invoices.numbering import next_number
from billing.invoices.tables import Invoice
from billing.payments.receipts import RecordReceipt, record_receipt
from billing.stack.process import wait_until
from billing.tax.model import TaxKind
from billing.wallets.service import CreateWallet, TopUp, create_wallet, top_up
from invoicing.assemble import draft_invoices
from invoicing.vouchers import issue_missing_vouchers
from tests.support.api import Api
from tests.support.factories.parties import gstin, make_account, make_supplier
from tests.support.marts import create_marts, make_rated_line, make_rating_run

JUNE = date(2026, 6, 1)
OURS = gstin("29")
JULY_RETURN = f"/gstr1?gstin={OURS}&month=2026-07"


@pytest.fixture
def july(api: Api) -> Callable[..., Invoice]:
    """Issues an invoice in July for usage of June; a prepaid account topped up 1,000.00 before."""
    api.clock.advance(datetime(2026, 7, 5, 6, tzinfo=UTC) - api.clock.now())
    with unit_of_work(api.engine) as session:
        create_marts(session)
        make_supplier(session)

    def make(amount_minor: int = 10_000, **account: Any) -> Invoice:
        with unit_of_work(api.engine) as session:
            owner = make_account(session, **account)
            if owner.billing_mode is BillingMode.PREPAID:
                context = Context(session, SYSTEM, api.clock)
                wallet = create_wallet(context, CreateWallet(account_id=owner.id))
                top_up(
                    context,
                    TopUp(
                        wallet_id=wallet.id,
                        amount_minor=100_000,
                        tax_minor=18_000,
                        reference=f"first:{owner.code}",
                    ),
                )
            run = make_rating_run(session, JUNE)
            make_rated_line(session, run.id, owner, amount_minor=amount_minor)
            (draft,) = draft_invoices(session, JUNE, run.id, api.clock).created
        api.post(f"/invoices/{draft}/approve")
        with unit_of_work(api.engine) as session:
            return session.get_one(Invoice, UUID(str(draft)))

    return make


def returned(api: Api, path: str = JULY_RETURN) -> Any:
    response = api.call("GET", f"/api/v1{path}", role=Role.FINANCE_ADMIN)
    assert response.status_code == 200, response.text
    return json.loads(response.text, parse_float=Decimal)


def differences(api: Api, month: str = "2026-07") -> list[str]:
    found = api.get(f"/gstr1/reconciliation?gstin={OURS}&month={month}")
    return [one["name"] for one in found["attributes"]["differences"]]


def test_every_document_of_a_month_stands_in_its_table(
    api: Api, july: Callable[..., Invoice]
) -> None:
    intra = july()
    july(state_code="27", tax_kind=TaxKind.SEZ_UNIT)
    small = july(state_code="27", tax_kind=TaxKind.UNREGISTERED)
    large = july(10_000_000, state_code="27", tax_kind=TaxKind.UNREGISTERED)
    july(3_333, billing_mode=BillingMode.PREPAID)
    assert issue_missing_vouchers(api.engine, api.clock) == (1, 0)
    for invoice in (intra, small, large):
        api.post(f"/invoices/{invoice.id}/credit-notes", {"reason": "Receipts came late"})

    found = returned(api)

    assert (found["gstin"], found["fp"]) == (OURS, "072026")
    (customer,) = [one for one in found["b2b"] if one["ctin"].startswith("29")]
    assert customer["inv"][0] == {
        "inum": intra.number,
        "idt": "05-07-2026",
        "val": Decimal("118.00"),
        "pos": "29",
        "rchrg": "N",
        "inv_typ": "R",
        "itms": [
            {
                "num": 1,
                "itm_det": {
                    "rt": 18,
                    "txval": Decimal("100.00"),
                    "iamt": 0,
                    "camt": Decimal("9.00"),
                    "samt": Decimal("9.00"),
                    "csamt": 0,
                },
            }
        ],
    }
    (zone,) = [one for one in found["b2b"] if one["ctin"].startswith("27")]
    assert zone["inv"][0]["inv_typ"] == "SEWOP"
    assert found["b2cl"][0]["inv"][0]["inum"] == large.number
    assert [note["typ"] for note in found["cdnur"]] == ["B2CL"]
    assert "b2cs" not in found  # the note took all of it back
    assert found["cdnr"][0]["nt"][0]["ntty"] == "C"
    advance = found["at"][0]["itms"][0]
    assert (advance["ad_amt"], advance["camt"]) == (Decimal("966.67"), Decimal("87.00"))
    assert [part["doc_num"] for part in found["doc_issue"]["doc_det"]] == [1, 5, 6]
    assert found["doc_issue"]["doc_det"][0]["docs"][0]["net_issue"] == 5
    assert differences(api) == []


def test_an_older_advance_is_adjusted_where_it_is_invoiced(
    api: Api, july: Callable[..., Invoice]
) -> None:
    api.clock.advance(datetime(2026, 6, 10, 6, tzinfo=UTC) - api.clock.now())
    with unit_of_work(api.engine) as session:
        owner = make_account(session, billing_mode=BillingMode.PREPAID, state_code="27")
        context = Context(session, SYSTEM, api.clock)
        wallet = create_wallet(context, CreateWallet(account_id=owner.id))
        paid = TopUp(wallet_id=wallet.id, amount_minor=1_000_000, tax_minor=180_000, reference="a")
        top_up(context, paid)
    issue_missing_vouchers(api.engine, api.clock)
    api.clock.advance(datetime(2026, 7, 5, 6, tzinfo=UTC) - api.clock.now())
    with unit_of_work(api.engine) as session:
        run = make_rating_run(session, JUNE)
        make_rated_line(session, run.id, owner, amount_minor=300_000)
        (draft,) = draft_invoices(session, JUNE, run.id, api.clock).created
    api.post(f"/invoices/{draft}/approve")

    june = returned(api, f"/gstr1?gstin={OURS}&month=2026-06")
    (received,) = june["at"]
    (adjusted,) = returned(api)["txpd"]

    assert (received["pos"], received["sply_ty"]) == ("27", "INTER")
    assert received["itms"][0]["ad_amt"] == Decimal("10000.00")
    assert adjusted["itms"][0]["ad_amt"] == Decimal("3000.00")
    assert adjusted["itms"][0]["iamt"] == Decimal("540.00")
    assert differences(api, "2026-06") == differences(api) == []


def test_an_advance_is_in_the_return_of_the_day_on_which_the_bank_had_it(
    api: Api, july: Callable[..., Invoice]
) -> None:
    with unit_of_work(api.engine) as session:
        owner = make_account(session, billing_mode=BillingMode.PREPAID)
        context = Context(session, SYSTEM, api.clock)
        wallet = create_wallet(context, CreateWallet(account_id=owner.id)).id
    api.clock.advance(datetime(2026, 8, 3, 6, tzinfo=UTC) - api.clock.now())
    receipt = {"wallet_id": str(wallet), "credits_minor": 50_000, "amount_minor": 59_000}
    late = receipt | {"reference": "NEFT-1", "received_on": "2026-07-30"}
    with unit_of_work(api.engine) as session:  # cut off before its voucher
        context = Context(session, SYSTEM, api.clock)
        paid = record_receipt(context, RecordReceipt.model_validate(late))
        assert paid.captured_at == datetime(2026, 7, 29, 18, 30, tzinfo=UTC)
    assert [name.split()[0] for name in differences(api)] == ["advance"]

    assert issue_missing_vouchers(api.engine, api.clock) == (1, 0)

    (voucher,) = api.get(f"/documents?customer_id={owner.customer_id}")
    assert voucher["attributes"]["issue_date"] == "2026-08-03"
    (row,) = returned(api)["at"]
    assert row["itms"][0]["ad_amt"] == Decimal("500.00")
    assert "at" not in api.call("GET", f"/api/v1/gstr1?gstin={OURS}&month=2026-08").json()
    api.post("/gstr1/locks", {"gstin": OURS, "month": "2026-07"}, role=Role.FINANCE_ADMIN)
    error = api.refused("POST", "/payments/receipts", 409, json=late | {"reference": "NEFT-2"})
    assert error["code"] == "return_period_locked"
    assert "table 11A of 2026-07" in error["message"]


def test_what_differs_is_named_and_keeps_the_month_open(
    api: Api, july: Callable[..., Invoice]
) -> None:
    july(billing_mode=BillingMode.PREPAID)
    api.clock.advance(datetime(2026, 8, 2, 6, tzinfo=UTC) - api.clock.now())

    (missing, unfounded) = sorted(differences(api))

    assert missing.startswith("advance without voucher")
    assert unfounded.startswith("advances used without voucher INV-2627-")
    error = api.refused("POST", "/gstr1/locks", 409, json={"gstin": OURS, "month": "2026-07"})
    assert error["code"] == "return_differs"


def test_a_locked_month_takes_no_document_by_code_or_by_the_database(
    api: Api, july: Callable[..., Invoice]
) -> None:
    july()
    body = {"gstin": OURS, "month": "2026-07"}
    assert api.refused("POST", "/gstr1/locks", 409, json=body)["code"] == "month_not_over"
    api.refused("POST", "/gstr1/locks", 403, json=body, role=Role.SUPPORT)
    api.clock.advance(datetime(2026, 8, 2, 6, tzinfo=UTC) - api.clock.now())
    key = {"Idempotency-Key": "file-july"}
    locked = api.post("/gstr1/locks", body, role=Role.FINANCE_ADMIN, headers=key)

    assert api.post("/gstr1/locks", body, role=Role.FINANCE_ADMIN, headers=key) == locked
    assert api.refused("POST", "/gstr1/locks", 409, json=body)["code"] == "already_locked"
    with unit_of_work(api.engine) as session:
        run = make_rating_run(session, JUNE)
        make_rated_line(session, run.id, make_account(session), amount_minor=10_000)
        (draft,) = draft_invoices(session, JUNE, run.id, api.clock).created
    path = f"/invoices/{draft}/approve"
    error = api.refused("POST", path, 409, json={"issue_date": "2026-07-31"})
    assert error["code"] == "return_period_locked"
    with pytest.raises(DBAPIError, match="is locked"), api.engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE billing.invoices SET status = 'due', number = 'X1', "
                "issue_date = '2026-07-31' WHERE id = :id"
            ),
            {"id": draft},
        )
    api.post(path, {"issue_date": "2026-08-01"})
    found = api.get(f"/gstr1/reconciliation?gstin={OURS}&month=2026-07")["attributes"]
    assert found["locked_by"] == locked["attributes"]["locked_by"]
    assert found["changed_since_lock"] is False


def test_a_lock_waits_for_what_is_being_issued_into_the_month(
    api: Api, july: Callable[..., Invoice]
) -> None:
    july()
    api.clock.advance(datetime(2026, 8, 2, 6, tzinfo=UTC) - api.clock.now())
    waiting = text(
        "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database "
        "WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted"
    )

    def is_waiting() -> bool:
        with read_only(api.engine) as session:
            return bool(session.execute(waiting).scalar_one())

    with ThreadPoolExecutor(1) as pool:
        with unit_of_work(api.engine) as issuing:
            number = next_number(issuing, gstin=OURS, series="INV", issue_date=date(2026, 7, 31))
            body = {"gstin": OURS, "month": "2026-07"}
            locking = pool.submit(api.post, "/gstr1/locks", body)
            assert wait_until(is_waiting, 20)
            assert not locking.done()
        assert locking.result()["attributes"]["month"] == "2026-07-01"
    assert number == "INV-2627-000002"


def test_tables_come_as_csv_one_or_all(api: Api, july: Callable[..., Invoice]) -> None:
    invoice = july()

    packed = api.call("GET", f"/api/v1{JULY_RETURN}&format=csv").content
    one = api.call("GET", f"/api/v1{JULY_RETURN}&format=csv&table=b2b").text

    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert archive.namelist() == ["b2b.csv", "hsn.csv", "doc_issue.csv"]
        assert archive.read("b2b.csv").decode() == one
    head, row = one.splitlines()
    assert head == "ctin,inum,idt,val,pos,rchrg,inv_typ,num,rt,txval,iamt,camt,samt,csamt"
    assert row.split(",")[1:4] == [invoice.number, "05-07-2026", "118.00"]
    api.refused("GET", f"{JULY_RETURN}&format=csv&table=b3b", 400)
    api.refused("GET", JULY_RETURN, 403, role=Role.CUSTOMER)
    api.refused("GET", f"/gstr1?gstin={gstin('27')}&month=2026-07", 404)
    assert api.refused("GET", f"/gstr1?gstin={OURS}&month=2026-13", 400)["code"] == "month"


def test_the_command_writes_the_same_files(
    api: Api, july: Callable[..., Invoice], database_url: str, tmp_path: Path
) -> None:
    july()

    done = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("billing")), "gstr1", "export"),
            *("--month", "2026-07", "--to", str(tmp_path / "returns")),
        ],
        env={"DATABASE_URL": database_url, "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    written = (tmp_path / "returns" / f"GSTR1-{OURS}-2026-07.json").read_text(encoding="utf-8")
    assert written == api.call("GET", f"/api/v1{JULY_RETURN}").text
