"""A gateway that another package brings along is used like ours."""

import json
import sys
from pathlib import Path

import pytest

from billing.access.actor import SYSTEM
from billing.invoices.tables import InvoiceStatus
from billing.payments.service import RequestPayment, RequestRefund
from invoicing.collect import Collector
from invoicing.gateways.protocol import InvalidSignatureError
from invoicing.gateways.registry import ENTRY_POINTS, Gateways
from tests.invoicing.gateways.conftest import Till


@pytest.fixture
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The metadata that `pip install` leaves of such a package."""
    package = tmp_path / "billing_piggy-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: billing-piggy\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(
        f"[{ENTRY_POINTS}]\npiggy = tests.support.gateways.piggy:PiggyBank\n"
    )
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])


@pytest.mark.usefixtures("_installed")
def test_a_gateway_of_another_package_collects_refunds_and_is_verified(till: Till) -> None:
    usable = Gateways.load(till.collector.settings)
    assert usable.names == ["piggy", "razorpay", "stripe"]
    collector = Collector(till.engine, till.clock, usable, till.collector.settings)
    invoice_id = till.invoice(11800)
    payment_id = collector.request(SYSTEM, RequestPayment(gateway="piggy", invoice_id=invoice_id))
    coin = {"coin": "coin-1", "amount": 11800, "reference": str(payment_id)}
    body = json.dumps(coin).encode()
    piggy = usable.get("piggy")

    with pytest.raises(InvalidSignatureError):
        piggy.notice_of({}, body)
    for new in (True, False):
        notice = piggy.notice_of({"x-piggy": "oink"}, body)
        assert collector.receive("piggy", notice, body) is new
    assert till.invoice_now(invoice_id).status is InvoiceStatus.PAID
    back = RequestRefund(payment_id=payment_id, amount_minor=800, reason="A coin too many")
    collector.refund(SYSTEM, back)

    assert till.payment(payment_id).refunded_minor == 800
    assert till.invoice_now(invoice_id).settled_minor == 11000
