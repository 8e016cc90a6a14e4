"""What the CGST Rules want on vouchers and notes: each particular, by its letter, in the PDF."""

import io
import re
from collections.abc import Mapping
from typing import Any, Final

import pypdf

from billing.access.actor import SYSTEM
from billing.commands import Context
from billing.customers.tables import BillingMode
from billing.db.unit_of_work import unit_of_work
from billing.tax.model import TaxKind
from billing.wallets.service import CreateWallet, create_wallet
from invoicing.vouchers import issue_missing_vouchers
from tests.support.api import Api
from tests.support.counter import Counter
from tests.support.factories.parties import gstin, make_account

OURS: Final = (
    "Otpless Test Private Limited Trading as OTPless 1 Residency Road Bengaluru 560025, "
    f"Karnataka (29) India GSTIN {gstin('29')}"
)
THEIRS: Final = "Private Limited 2 Market Street Somewhere 560001, {place} India GSTIN {number}"
IN_MAHARASHTRA: Final = THEIRS.format(place="Maharashtra (27)", number=gstin("27", "AAACM5678K"))
UNREGISTERED: Final = THEIRS.format(place="Tamil Nadu (33)", number="Unregistered")
TODAY: Final = "15 Jul 2026"


def assert_printed(api: Api, path: str, particulars: Mapping[str, str]) -> None:
    """Every particular is in the text of the pages, as it is drawn, in runs of one blank."""
    response = api.call("GET", f"/api/v1{path}/pdf")
    assert response.status_code == 200, response.text
    (page,) = pypdf.PdfReader(io.BytesIO(response.content)).pages
    text = re.sub(r"\s+", " ", page.extract_text())
    missing = {name: said for name, said in particulars.items() if said not in text}
    assert not missing, text


def test_vouchers_of_an_advance_bear_what_rules_50_and_51_ask_for(counter: Counter) -> None:
    api = counter.api
    with unit_of_work(api.engine) as session:
        owner = make_account(session, state_code="27", billing_mode=BillingMode.PREPAID)
        context = Context(session, SYSTEM, api.clock)
        wallet = str(create_wallet(context, CreateWallet(account_id=owner.id)).id)
        customer = str(owner.customer_id)
    paid = counter.ask(wallet_id=wallet, credits_minor=10_000)
    counter.pay(paid)
    api.post(f"/payments/{paid['id']}/refunds", {"amount_minor": 5_900, "reason": "Not needed"})
    issue_missing_vouchers(api.engine, api.clock)
    found = {
        row["attributes"]["kind"]: row for row in api.get(f"/documents?customer_id={customer}")
    }

    assert_printed(
        api,
        f"/documents/{found['receipt_voucher']['id']}",
        {
            "nature": "Receipt Voucher",
            "50(a) supplier": OURS,
            "50(b) serial number": "VOUCHER NUMBER RV-2627-000001",
            "50(c) date of issue": f"VOUCHER DATE {TODAY}",
            "50(d) recipient": f"Received from Customer {_number(customer, api)} {IN_MAHARASHTRA}",
            "50(e) description": "Advance for authentication services (wallet credits) 998413",
            "50(f) amount of the advance": "RECEIVED ₹118.00",
            "50(g) rate of tax": "IGST 18%",
            "50(h) amount of tax": "Taxable value 100.00 IGST 18% 18.00 Total ₹118.00",
            "50(i) place of supply": "PLACE OF SUPPLY 27-Maharashtra",
            "50(j) reverse charge": "TAX ON REVERSE CHARGE No",
            "50(k) signature": "computer-generated voucher; no signature is required",
            "when it came": f"RECEIVED ON {TODAY}",
        },
    )
    assert_printed(
        api,
        f"/documents/{found['refund_voucher']['id']}",
        {
            "nature": "Refund Voucher",
            "51(a) supplier": OURS,
            "51(b) serial number": "VOUCHER NUMBER RF-2627-000001",
            "51(c) date of issue": f"VOUCHER DATE {TODAY}",
            "51(d) recipient": f"Refunded to Customer {_number(customer, api)} {IN_MAHARASHTRA}",
            "51(e) receipt voucher": f"Against receipt voucher RV-2627-000001 of {TODAY}",
            "51(f) description": "Refund of an advance for authentication services",
            "51(g) amount of the refund": "REFUNDED ₹59.00",
            "51(h) rate of tax": "IGST 18%",
            "51(i) amount of tax": "Taxable value 50.00 IGST 18% 9.00 Total ₹59.00",
            "51(j) reverse charge": "TAX ON REVERSE CHARGE No",
            "51(k) signature": "computer-generated voucher; no signature is required",
            "when it went": f"REFUNDED ON {TODAY}",
        },
    )


def test_notes_bear_what_rule_53_asks_for_also_to_persons_without_a_number(
    counter: Counter,
) -> None:
    api = counter.api
    for place, (kind, state, recipient) in enumerate(
        [
            (TaxKind.REGISTERED, "27", IN_MAHARASHTRA),
            (TaxKind.UNREGISTERED, "33", UNREGISTERED),
        ],
        1,
    ):
        with unit_of_work(api.engine) as session:
            account = make_account(session, state_code=state, tax_kind=kind)
            account_id, customer = str(account.id), str(account.customer_id)
        shared = {
            "53(1A)(a) supplier": OURS,
            "53(1A)(d) date of issue": f"NOTE DATE {TODAY}",
            "53(1A)(e), (f) recipient": f"Bill to Customer {_number(customer, api)} {recipient}",
            "53(1A)(g) invoice": f"Against INV-2627-{place:06} of {TODAY}",
            "53(1A)(h) description": "Integration support 998313",
            "53(1A)(h) value, rate and tax": "Taxable value 50.01 IGST 18% 9.00 Total ₹59.01",
            "reason": "Reason: Half of it was not done",
        }
        if kind is TaxKind.UNREGISTERED:
            shared["53(1A)(f) address of delivery"] = "Delivered electronically to this address."
            shared["53(1A)(f) State"] = "PLACE OF SUPPLY 33-Tamil Nadu"
        for path, nature, series in _notes(api, account_id):
            own = {
                "53(1A)(b) nature": f"OTPless {nature.title()}ORIGINAL FOR RECIPIENT",
                "53(1A)(c) serial number": f"NOTE NUMBER {series}-2627-{place:06}",
                "53(1A)(i) signature": f"computer-generated {nature}; no signature is required",
            }
            assert_printed(api, path, shared | own)


def _notes(api: Api, account_id: str) -> list[tuple[str, str, str]]:
    """A debit note and a credit note against one invoice: where, what and in which series."""
    line: dict[str, Any] = {"description": "Integration support", "sac": "998313", "unit": "day"}
    bought = line | {"quantity": "2", "unit_price": "50"}
    invoice = api.post("/invoices", {"account_id": account_id, "lines": [bought]})
    path = f"/invoices/{invoice['id']}"
    (issued,) = api.post(f"{path}/approve")["attributes"]["lines"]
    part = {"line_ref": issued["line_ref"], "amount_minor": 5_001}
    body = {"reason": "Half of it was not done", "lines": [part]}
    debit = api.post(f"{path}/debit-notes", body)["id"]
    api.post(f"/invoices/{debit}/approve")
    credit = api.post(f"{path}/credit-notes", body)["id"]
    return [
        (f"/invoices/{debit}", "debit note", "DN"),
        (f"/documents/{credit}", "credit note", "CN"),
    ]


def _number(customer_id: str, api: Api) -> str:
    """Of a customer that a factory made, as it stands in its name."""
    name: str = api.get(f"/customers/{customer_id}")["attributes"]["name"]
    return name.removeprefix("Customer ")
