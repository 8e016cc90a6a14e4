"""A local invoice registration portal: the documented calls, a test key, and habits of a bad day.

Answers have the shape of the portal's (Status, Data, ErrorDetails); what is signed is signed with
RS256 by a key made once per process.
"""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

from invoicing.einvoice.signatures import PublicKey, padded
from tests.support.gateways.server import Answer, Call, serving

KID = "test-key-1"


@dataclass(frozen=True)
class SigningKey:
    """An RSA key of the tests; its secret half protects nothing."""

    modulus: int
    exponent: int
    secret: int

    @property
    def public(self) -> PublicKey:
        return PublicKey(self.modulus, self.exponent)

    def sign(self, content: dict[str, Any]) -> str:
        head = _encoded(json.dumps({"alg": "RS256", "kid": KID, "typ": "JWT"}).encode())
        body = _encoded(json.dumps(content).encode())
        message = int.from_bytes(padded(f"{head}.{body}".encode(), self.public.size), "big")
        sealed = pow(message, self.secret, self.modulus).to_bytes(self.public.size, "big")
        return f"{head}.{body}.{_encoded(sealed)}"


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


# Made for these tests; it protects nothing.
_MODULUS = int(
    "e9ac7f543760b9491e11fad0c85bfa418ce79c4683906caad69786ba0177538e6488bbc46bdc5f2ccee7e4d63d"
    "1ba030fe48fc40c0553c58ddd3b926aae1e10dcb941c67dcbe8bc060339cf1f77980877ded9ccd6d2dbe931ee6"
    "8907d629be6ed2b6516701afbd728b8e6cd4ce9950dce16451291f70d97314233131c646fa983cfcf174c4e866"
    "823d726933e26fec3622773084f4fec6b8ea184f08d55e41a6db8c904d3c504517351a07d2fb1b1a5ee6ec7bd5"
    "1ce45ea03896cc32e3ae857c1e366a9f5bf9e37e643665337f47f2b8ae16ae27181aaa908120e94367a317d5ff"
    "cf284296008dea7a61b28bfa9e9b2372aee82b9fe366b14bc15fadf0034a19",
    16,
)
_SECRET = int(
    "e8dd4c2e82d9530c387936782592f37bab8d8c41010f461ba1aa734a9df76a3f3694c479e3fb42a586b3b56a82"
    "8f2b3e67ca1807f72379f61d69c6d36feb95b987acdbf9ed13be7541e96d77fc650adefb7175978a3bd1f50f10"
    "3272aacc02c8b2179a5b8a64b5e89686a2921828d55aa90aad8ecb944c3ed04c99d3be82316ae94813e8fd9ec8"
    "144d44a49f135c4a2c675bf459fe9867d39d8b9a39096aea613d0e31fd839d02629197965b0b5a6aa5e35b8767"
    "f2eadac0a24e15c2fcdb91dd8a57fc0c32cd91044e44d2fb9dcde6a632311a9f538b2796f7f020aa9263c9ab0a"
    "bfa2b55b76c965ec7be11431f95c52de74335488de161a6b81a1bb8a571db9",
    16,
)


def signing_key() -> SigningKey:
    """A key of 2048 bits."""
    return SigningKey(_MODULUS, 65537, _SECRET)


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
        key = signing_key()
        if self.wrong_key:
            key = replace(key, secret=key.secret - 2)
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
