"""A local invoice registration portal: the documented calls, a test key, and habits of a bad day.

Answers have the shape of the portal's (Status, Data, ErrorDetails); what is signed is signed with
RS256 by a key made once per process.
"""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives.asymmetric import rsa
from jwt import PyJWS
from jwt.algorithms import RSAAlgorithm

from tests.support.gateways.server import Answer, Call, serving

KID = "test-key-1"


@dataclass(frozen=True)
class SigningKey:
    """An RSA key of the tests; its secret half protects nothing."""

    secret: rsa.RSAPrivateKey

    @property
    def jwk(self) -> dict[str, str]:
        """Its public half, as the portal publishes it."""
        found: dict[str, str] = RSAAlgorithm.to_jwk(self.secret.public_key(), as_dict=True)
        return found

    def sign(self, content: dict[str, Any]) -> str:
        return PyJWS().encode(
            json.dumps(content).encode(), self.secret, algorithm="RS256", headers={"kid": KID}
        )


@cache
def signing_key(number: int = 0) -> SigningKey:
    """A key of 2048 bits, one for each number."""
    return SigningKey(rsa.generate_private_key(public_exponent=65537, key_size=2048))


@dataclass
class FakePortal:
    """The state behind the server, and the switches of its moods."""

    now: datetime
    """Its clock, in India."""
    address: str = ""
    documents: dict[tuple[str, str, str, str], dict[str, Any]] = field(default_factory=dict)
    received: list[dict[str, Any]] = field(default_factory=list)
    hang_after_effect: int = 0
    """So many calls do what they are asked and are never answered."""
    fail_next: int = 0
    """So many calls are answered with 502 and do nothing."""
    wrong_total: bool = False
    wrong_irn: bool = False
    wrong_key: bool = False
    inactive_buyers: set[str] = field(default_factory=set)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def answer(self, call: Call) -> Answer:
        with self._lock:
            if self.fail_next:
                self.fail_next -= 1
                return 502, {"error": "bad gateway"}
            found = self._do(call)
            if self.hang_after_effect:
                self.hang_after_effect -= 1
                return None
            return found

    def _do(self, call: Call) -> Answer:
        parts = urlsplit(call.path)
        if parts.path == "/Invoice" and call.method == "POST":
            return self._register(json.loads(call.body, parse_float=Decimal))
        if parts.path == "/Invoice/Cancel":
            return self._cancel(json.loads(call.body))
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        key = (call.headers["gstin"], asked["doctype"], asked["docnum"].upper(), asked["docdate"])
        found = self.documents.get(key)
        return _said(found) if found else _refused("2154", "IRN details are not found")

    def _register(self, sent: dict[str, Any]) -> Answer:
        self.received.append(sent)
        details = sent["DocDtls"]
        gstin, kind, number = sent["SellerDtls"]["Gstin"], details["Typ"], details["No"].upper()
        key = (gstin, kind, number, details["Dt"])
        if sent["BuyerDtls"]["Gstin"] in self.inactive_buyers:
            return _refused("3028", "GSTIN of the buyer is not active")
        if key in self.documents:
            return _refused("2150", "Duplicate IRN")
        year = int(details["Dt"][6:]) - (int(details["Dt"][3:5]) < 4)
        said = f"{gstin}{year}-{(year + 1) % 100:02d}{kind}{number}"
        irn = hashlib.sha256(said.encode()).hexdigest()
        self.documents[key] = self._signed(sent, irn)
        return _said(self.documents[key])

    def _signed(self, sent: dict[str, Any], irn: str) -> dict[str, Any]:
        total = sent["ValDtls"]["TotInvVal"] + (1 if self.wrong_total else 0)
        shown = irn if not self.wrong_irn else irn[::-1]
        data = {
            "SellerGstin": sent["SellerDtls"]["Gstin"],
            "BuyerGstin": sent["BuyerDtls"]["Gstin"],
            "DocNo": sent["DocDtls"]["No"],
            "DocTyp": sent["DocDtls"]["Typ"],
            "DocDt": sent["DocDtls"]["Dt"],
            "TotInvVal": float(total),
            "ItemCnt": len(sent["ItemList"]),
            "MainHsnCode": sent["ItemList"][0]["HsnCd"],
            "Irn": shown,
            "IrnDt": f"{self.now:%Y-%m-%d %H:%M:%S}",
        }
        key = signing_key(1) if self.wrong_key else signing_key()
        return {
            "AckNo": 112010000000000 + len(self.documents),
            "AckDt": f"{self.now:%Y-%m-%d %H:%M:%S}",
            "Irn": shown,
            "SignedInvoice": key.sign({"data": json.dumps(sent, default=float), "iss": "NIC"}),
            "SignedQRCode": key.sign({"data": json.dumps(data), "iss": "NIC"}),
            "Status": "ACT",
        }

    def _cancel(self, asked: dict[str, Any]) -> Answer:
        found = next((one for one in self.documents.values() if one["Irn"] == asked["Irn"]), None)
        if found is None:
            return _refused("2154", "IRN details are not found")
        if found["Status"] == "CNL":
            return _refused("9999", "Invoice is already cancelled")
        found["Status"] = "CNL"
        when = f"{self.now:%Y-%m-%d %H:%M:%S}"
        return 200, {"Status": "1", "Data": {"Irn": asked["Irn"], "CancelDate": when}}


def _said(found: dict[str, Any]) -> Answer:
    return 200, {"Status": "1", "Data": json.dumps(found)}


def _refused(code: str, message: str) -> Answer:
    errors = [{"ErrorCode": code, "ErrorMessage": message}]
    return 200, {"Status": "0", "ErrorDetails": errors, "Data": None}


@contextmanager
def running_portal(now: datetime) -> Iterator[FakePortal]:
    """A portal on a port of its own."""
    portal = FakePortal(now)
    with serving(portal.answer) as address:
        portal.address = address
        yield portal
