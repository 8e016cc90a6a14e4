"""E-invoices over HTTP, against a local portal that signs with a test key and has bad days."""

import base64
import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pypdf
import pytest
from sqlalchemy.orm import Session

from billing.clock import ManualClock
from billing.db.unit_of_work import unit_of_work
from billing.einvoices.tables import EInvoiceState
from billing.periods import local_day
from billing.tax.einvoice import DocumentType
from billing.tax.irn import CODES, irn
from billing.tax.model import TaxKind
from invoicing.einvoice.deadlines import count_open, tell_overdue
from invoicing.einvoice.payload import payload_of
from invoicing.einvoice.register import open_registrar
from invoicing.einvoice.shape import problems
from invoicing.einvoice.signatures import SignatureError, public_key, signed_data
from tests.invoicing import document_samples as samples
from tests.support.api import Api
from tests.support.factories.parties import gstin, make_account, make_supplier
from tests.support.gateways.irp import KID, FakePortal, running_portal, signing_key

VECTORS = json.loads(
    (Path(__file__).parents[2] / "vectors" / "gst-vectors.json").read_text(encoding="utf-8")
)
IRNS = VECTORS["irn"]
OURS = gstin("29")
LINE = {"description": "Integration support", "sac": "998313", "quantity": "2", "unit_price": "50"}


@pytest.fixture
def portal(api: Api, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakePortal]:
    """A portal, and a PAN above the limit, on 5 July 2026."""
    api.clock.advance(datetime(2026, 7, 5, 6, tzinfo=UTC) - api.clock.now())
    with unit_of_work(api.engine) as session:
        make_supplier(session)
    turnover = {"pan": OURS[2:12], "financial_year": "2025-26", "crore": "12"}
    api.post("/turnovers", turnover)
    now = api.clock.now().astimezone(ZoneInfo("Asia/Kolkata"))
    with running_portal(now) as running:
        monkeypatch.setenv("BILLING_EINVOICE_ADDRESS", running.address)
        monkeypatch.setenv("BILLING_EINVOICE_KEYS", json.dumps({KID: signing_key().jwk}))
        monkeypatch.setenv("BILLING_EINVOICE_TIMEOUT_SECONDS", "5")
        yield running


@pytest.fixture
def issue(api: Api, portal: FakePortal) -> Callable[..., tuple[str, str]]:
    """Issues an invoice of ₹118.00; its id and that of its e-invoice."""

    def make(**account: Any) -> tuple[str, str]:
        assert portal.address
        with unit_of_work(api.engine) as session:
            owner = str(make_account(session, **account).id)
        draft = str(api.post("/invoices", {"account_id": owner, "lines": [LINE]})["id"])
        api.post(f"/invoices/{draft}/approve")
        (found,) = api.get(f"/einvoices?invoice_id={draft}")
        return draft, str(found["id"])

    return make


def register(api: Api, einvoice: str) -> Any:
    return api.post(f"/einvoices/{einvoice}/register")["attributes"]


def test_without_its_irn_a_document_is_neither_drawn_nor_sent(
    api: Api, issue: Callable[..., tuple[str, str]], portal: FakePortal
) -> None:
    invoice, einvoice = issue()
    assert api.refused("GET", f"/invoices/{invoice}/pdf", 409)["code"] == "irn_pending"
    sent = {"json": {"recipient": "accounts@acme.example"}}
    assert api.refused("POST", f"/invoices/{invoice}/deliveries", 409, **sent)

    found = register(api, einvoice)

    assert found["state"] == "registered"
    assert found["irn"] == irn(OURS, DocumentType.INVOICE, "INV-2627-000001", date(2026, 7, 5))
    assert found["report_by"] == "2026-08-03"
    (item,) = portal.received[0]["ItemList"]
    assert (item["UnitPrice"], item["CgstAmt"], item["TotItemVal"]) == (100, 9, 118)
    response = api.call("GET", f"/api/v1/invoices/{invoice}/pdf")
    printed = pypdf.PdfReader(io.BytesIO(response.content)).pages[0].extract_text()
    exported = api.call("GET", "/api/v1/exports/invoices").text
    assert f",{found['irn']},registered," in exported
    for particular in [found["irn"], found["ack_number"], "5 Jul 2026"]:
        assert "".join(particular.split()) in "".join(printed.split())


def test_an_answer_that_is_lost_registers_nothing_twice(
    api: Api, issue: Callable[..., tuple[str, str]], portal: FakePortal
) -> None:
    _, einvoice = issue()
    portal.hang_after_effect = 1
    assert register(api, einvoice)["state"] == "unknown"
    portal.fail_next = 1
    assert register(api, einvoice)["state"] == "unknown"

    assert register(api, einvoice)["state"] == "registered"
    assert len(portal.received) == 1


def test_a_duplicate_is_taken_over_only_if_it_is_ours(
    api: Api, issue: Callable[..., tuple[str, str]], portal: FakePortal
) -> None:
    _, einvoice = issue()
    register(api, einvoice)
    with unit_of_work(api.engine) as session:
        session.connection().exec_driver_sql(
            "UPDATE billing.einvoices SET state = 'waiting', attempts = 0"
        )
    assert register(api, einvoice)["state"] == "registered"  # answered 2150, then looked up
    assert len(portal.received) == 2


def test_what_waits_is_registered_by_the_schedule_and_what_is_late_is_named_once(
    api: Api, issue: Callable[..., tuple[str, str]], portal: FakePortal
) -> None:
    _, first = issue()
    portal.fail_next = 1
    registrar = open_registrar(api.engine, api.clock)
    assert registrar.register_waiting() == {EInvoiceState.UNKNOWN: 1}
    assert registrar.register_waiting() == {EInvoiceState.REGISTERED: 1}
    assert registrar.register_waiting() == {}

    _, late = issue()
    api.clock.advance(timedelta(days=28))
    today = local_day(api.clock.now(), "Asia/Kolkata")
    with Session(api.engine) as session:
        assert count_open(session, today) == (0, 1)
        assert count_open(session, today + timedelta(days=2)) == (1, 0)
    assert api.get("/einvoices?overdue=true") == []

    api.clock.advance(timedelta(days=2))
    assert registrar.register_waiting() == {EInvoiceState.REFUSED: 1}
    assert [row["id"] for row in api.get("/einvoices?overdue=true")] == [late]
    assert tell_overdue(api.engine, api.clock) == 1
    assert tell_overdue(api.engine, api.clock) == 0
    (told,) = api.get("/outbox?topic=einvoice.overdue")
    assert told["attributes"]["payload"]["number"] == "INV-2627-000002"
    assert first != late


def test_a_portal_that_is_away_is_left_alone_until_the_next_round(
    api: Api, issue: Callable[..., tuple[str, str]], portal: FakePortal
) -> None:
    for _ in range(5):
        issue()
    portal.fail_next = 100

    counted = open_registrar(api.engine, api.clock).register_waiting()

    assert counted == {EInvoiceState.UNKNOWN: 3}


@pytest.mark.parametrize(
    ("mood", "code"),
    [
        ("wrong_total", "einvoice_differs"),
        ("wrong_irn", "einvoice_differs"),
        ("wrong_key", "einvoice_signature"),
    ],
)
def test_what_the_portal_gets_wrong_is_named_and_not_printed(
    api: Api, issue: Callable[..., tuple[str, str]], portal: FakePortal, mood: str, code: str
) -> None:
    invoice, einvoice = issue()
    setattr(portal, mood, True)

    found = register(api, einvoice)

    assert (found["state"], found["error_code"]) == ("refused", code)
    assert api.refused("GET", f"/invoices/{invoice}/pdf", 409)["code"] == "irn_pending"


def test_cancelled_within_a_day_it_may_be_void_and_its_number_stays_used(
    api: Api, issue: Callable[..., tuple[str, str]], portal: FakePortal, clock: ManualClock
) -> None:
    invoice, einvoice = issue()
    late, late_einvoice = issue()
    for one in (einvoice, late_einvoice):
        register(api, one)
    why = {"json": {"reason": "Wrong buyer"}}
    assert api.refused("POST", f"/invoices/{invoice}/void", 409, **why)["code"] == "registered"
    reason = {"reason": 2, "remark": "Wrong buyer"}

    portal.hang_after_effect = 1
    assert api.refused("POST", f"/einvoices/{einvoice}/cancel", 503, json=reason)
    found = api.post(f"/einvoices/{einvoice}/cancel", reason)["attributes"]

    assert found["state"] == "cancelled"
    assert api.post(f"/invoices/{invoice}/void", why["json"])["attributes"]["status"] == "void"
    clock.advance(timedelta(hours=24))
    refused = api.refused("POST", f"/einvoices/{late_einvoice}/cancel", 409, json=reason)
    assert refused["code"] == "cancel_too_late"
    assert late


def test_what_the_portal_does_not_take_says_why(
    api: Api, issue: Callable[..., tuple[str, str]], portal: FakePortal
) -> None:
    with unit_of_work(api.engine) as session:
        owner = str(make_account(session, tax_kind=TaxKind.UNREGISTERED).id)
    draft = str(api.post("/invoices", {"account_id": owner, "lines": [LINE]})["id"])
    api.post(f"/invoices/{draft}/approve")

    assert api.get(f"/einvoices?invoice_id={draft}") == []
    response = api.call("GET", f"/api/v1/invoices/{draft}/pdf")
    printed = pypdf.PdfReader(io.BytesIO(response.content)).pages[0].extract_text()
    assert "we are not required to prepare an invoice" in " ".join(printed.split())

    _, einvoice = issue()
    portal.inactive_buyers.add(gstin("29", "AAACM5678K"))
    found = register(api, einvoice)
    assert (found["state"], found["error_code"]) == ("refused", "3028")


@pytest.mark.parametrize(
    "case",
    [*IRNS["public_vectors"], *IRNS["derived_vectors"]],
    ids=lambda case: f"{case['type']}-{case['no']}",
)
def test_the_irn_is_the_portals(case: dict[str, str]) -> None:
    kind = next(kind for kind, code in CODES.items() if code == case["type"])
    written = case.get("doc_date", f"01/05/{case['fy'][:4]}")
    day = datetime.strptime(written, "%d/%m/%Y").replace(tzinfo=UTC).date()
    assert irn(case["gstin"], kind, case["no"], day) == case["irn"]


def test_from_june_2025_letter_case_of_the_number_does_not_matter() -> None:
    case = IRNS["case_vector"]
    found = irn(case["gstin"], DocumentType.INVOICE, case["no_sent"], date(2026, 5, 1))
    assert found == case["irn"]


@pytest.mark.parametrize(
    ("sample", "kind"),
    [
        (samples.intra_state, "B2B"),
        (samples.inter_state, "B2B"),
        (samples.sez_under_lut, "SEZWOP"),
        (samples.export, "EXPWOP"),
    ],
)
def test_every_kind_of_document_has_the_published_shape(sample: Any, kind: str) -> None:
    payload = payload_of(sample(), kind)
    assert problems(payload) == []
    assert ("ExpDtls" in payload) == kind.startswith("EXP")
    facts = VECTORS["inv01_shape"]["house_example_facts"]["USD_export_LUT"]
    if kind == "EXPWOP":
        buyer = payload["BuyerDtls"]
        assert {f"Buyer.{name}": buyer[name] for name in ("Gstin", "Pos", "Stcd", "Pin")} == {
            name: value for name, value in facts.items() if name.startswith("Buyer.")
        }


def test_what_does_not_fit_or_add_up_is_named() -> None:
    payload = payload_of(samples.intra_state(), "B2B")
    payload["ValDtls"]["TotInvVal"] += 1
    assert problems(payload) == ["ValDtls.TotInvVal is not the sum of its parts"]
    payload["BuyerDtls"]["LglNm"] = "X"
    payload["DocDtls"]["No"] = "/1"
    del payload["SellerDtls"]["Pin"]
    payload["Surprise"] = 1
    assert sorted(problems(payload)) == [
        "BuyerDtls.LglNm has 1 characters, not 3 to 100",
        "DocDtls.No is not written as the portal wants it",
        "SellerDtls.Pin is missing",
        "Surprise is not part of INV-01",
    ]


def test_only_the_pinned_key_signs() -> None:
    key = signing_key()
    token = key.sign({"data": json.dumps({"Irn": "a"}), "iss": "NIC"})
    assert signed_data(token, {KID: public_key(key.jwk)}) == {"Irn": "a"}
    head, body, seal = token.split(".")
    other = base64.urlsafe_b64encode(b'{"data": "{}"}').decode().rstrip("=")
    unsigned = base64.urlsafe_b64encode(b'{"alg": "none"}').decode().rstrip("=")
    for forged in [f"{head}.{other}.{seal}", f"{unsigned}.{body}.", "nothing", f"{head}.{body}"]:
        with pytest.raises(SignatureError):
            signed_data(forged, {KID: public_key(key.jwk)})
    with pytest.raises(SignatureError, match="not pinned"):
        signed_data(token, {})
