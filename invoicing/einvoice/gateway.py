"""What we need of the portal, and a client of it over HTTP.

A GSP stands between us and the portal and has sign-in and encryption of its own; what it passes on
are these four calls. A class of your own, named by an entry point of the group
`billing.einvoice_gateways`, is used like `HttpEInvoiceGateway`.
"""

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib.metadata import entry_points
from typing import Any, Final, Protocol, Self
from zoneinfo import ZoneInfo

import httpx
from jwt import PyJWK
from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from billing.errors import PreconditionError
from invoicing.einvoice.signatures import public_key

ENTRY_POINTS: Final = "billing.einvoice_gateways"
DUPLICATE: Final = "2150"
NOT_FOUND: Final = "2154"
ALREADY_CANCELLED: Final = "9999"
_INDIA: Final = ZoneInfo("Asia/Kolkata")


class EInvoiceSettings(BaseSettings):
    """Where the GSP is, and which keys of the portal are believed."""

    model_config = SettingsConfigDict(env_prefix="BILLING_EINVOICE_", extra="ignore")

    address: str | None = None
    client_id: str = ""
    client_secret: SecretStr = SecretStr("")
    timeout_seconds: int = 20
    keys: str = "{}"
    """JSON: the portal's public keys as JSON Web Keys, by their `kid`."""

    @classmethod
    def load(cls) -> Self:
        """Read the environment now."""
        return cls()

    def pinned_keys(self) -> dict[str, PyJWK]:
        """The keys that are believed.

        Raises:
            ValueError: if they are not written as they should be.
        """
        return {kid: public_key(key) for kid, key in json.loads(self.keys).items()}


class RefusedError(Exception):
    """The portal understood and said no."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class UnknownOutcomeError(Exception):
    """No answer, or none that can be understood: it may have been registered."""


@dataclass(frozen=True, slots=True)
class Registered:
    """What the portal has of a document."""

    irn: str
    ack_number: str
    acknowledged_at: datetime
    signed_invoice: str
    signed_qr: str
    is_cancelled: bool = False


class EInvoiceGateway(Protocol):
    """The portal, through whichever GSP."""

    def register(self, payload: str) -> Registered:
        """Register a document; `payload` is INV-01 as JSON.

        Raises:
            RefusedError: with the portal's code; `2150` if it has that document already.
            UnknownOutcomeError: if it is not known whether it was registered.
        """

    def look_up(self, gstin: str, kind: str, number: str, day: date) -> Registered | None:
        """What the portal has under a document's details; None if nothing.

        Raises:
            RefusedError: if it does not say.
            UnknownOutcomeError: if it does not answer.
        """

    def cancel(self, irn: str, reason: int, remark: str) -> datetime:
        """Cancel a registration; when that was.

        Raises:
            RefusedError: `9999` if it is cancelled already; others if the time is over.
            UnknownOutcomeError: if it is not known whether it was cancelled.
        """


class HttpEInvoiceGateway:
    """The portal's API in plain JSON, as GSPs pass it on."""

    def __init__(self, settings: EInvoiceSettings) -> None:
        if settings.address is None:
            raise ValueError("BILLING_EINVOICE_ADDRESS is not set")
        self._client = httpx.Client(
            base_url=settings.address,
            timeout=settings.timeout_seconds,
            headers={
                "client_id": settings.client_id,
                "client_secret": settings.client_secret.get_secret_value(),
            },
        )

    def register(self, payload: str) -> Registered:
        """See `EInvoiceGateway`."""
        headers = {"Content-Type": "application/json"}
        return _registered(self._call("POST", "/Invoice", content=payload, headers=headers))

    def look_up(self, gstin: str, kind: str, number: str, day: date) -> Registered | None:
        """See `EInvoiceGateway`."""
        asked = {"doctype": kind, "docnum": number, "docdate": f"{day:%d/%m/%Y}"}
        try:
            found = self._call(
                "GET", "/Invoice/irnbydocdetails", params=asked, headers={"Gstin": gstin}
            )
        except RefusedError as refusal:
            if refusal.code == NOT_FOUND:
                return None
            raise
        return _registered(found)

    def cancel(self, irn: str, reason: int, remark: str) -> datetime:
        """See `EInvoiceGateway`."""
        asked = {"Irn": irn, "CnlRsn": str(reason), "CnlRem": remark}
        found = self._call("POST", "/Invoice/Cancel", json=asked)
        return _instant(str(found["CancelDate"]))

    def _call(self, method: str, path: str, **what: Any) -> dict[str, Any]:
        try:
            response = self._client.request(method, path, **what)
            answer = json.loads(response.text, parse_float=Decimal)
            status = str(answer["Status"])
            if status == "1":
                data = answer["Data"]
                return dict(json.loads(data) if isinstance(data, str) else data)
            first = answer["ErrorDetails"][0]
            refusal = RefusedError(str(first["ErrorCode"]), str(first["ErrorMessage"]))
        except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
            raise UnknownOutcomeError(f"the portal gave no usable answer: {error}") from error
        raise refusal


def _registered(found: dict[str, Any]) -> Registered:
    try:
        return Registered(
            irn=str(found["Irn"]),
            ack_number=str(found["AckNo"]),
            acknowledged_at=_instant(str(found["AckDt"])),
            signed_invoice=str(found["SignedInvoice"]),
            signed_qr=str(found["SignedQRCode"]),
            is_cancelled=found.get("Status") == "CNL",
        )
    except (LookupError, ValueError) as error:
        raise UnknownOutcomeError(f"the portal's answer lacks something: {error}") from error


def _instant(written: str) -> datetime:
    """The portal writes the time of India."""
    local = datetime.strptime(written, "%Y-%m-%d %H:%M:%S").replace(tzinfo=_INDIA)
    return local.astimezone(UTC)


def open_gateway(settings: EInvoiceSettings | None = None) -> EInvoiceGateway:
    """The gateway of this installation: one that is installed as a plug-in, or ours.

    Raises:
        PreconditionError: if none is set up.
    """
    settings = settings or EInvoiceSettings.load()
    for point in entry_points(group=ENTRY_POINTS):
        found: EInvoiceGateway = point.load()(settings)
        return found
    try:
        return HttpEInvoiceGateway(settings)
    except ValueError as error:
        raise PreconditionError(
            "No e-invoice gateway is set up; set BILLING_EINVOICE_ADDRESS and its keys.",
            code="no_einvoice_gateway",
        ) from error
