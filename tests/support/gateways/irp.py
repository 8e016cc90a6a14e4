"""A local invoice registration portal: the documented calls, a test key, and habits of a bad day.

Answers have the shape of the portal's (Status, Data, ErrorDetails); what is signed is signed with
RS256 by a key made once per process.
"""

import base64
import hashlib
import json
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import cache
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


def _prime(bits: int, chance: random.Random) -> int:
    while True:
        candidate = chance.getrandbits(bits) | (3 << bits - 2) | 1
        if all(candidate % small for small in (3, 5, 7, 11, 13, 17, 19, 23)) and all(
            pow(base, candidate - 1, candidate) == 1 for base in (2, 3, 5, 7)
        ):
            return candidate


@cache
def signing_key(seed: int = 1) -> SigningKey:
    """A key of 2048 bits, the same for a seed."""
    chance = random.Random(seed)
    one, other = _prime(1024, chance), _prime(1024, chance)
    exponent = 65537
    return SigningKey(one * other, exponent, pow(exponent, -1, (one - 1) * (other - 1)))


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
        key = signing_key(2 if self.wrong_key else 1)
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
