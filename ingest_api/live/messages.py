"""What is said on a live connection, in both directions."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from billing.errors import BillingError, InvalidError
from billing.money import from_units
from billing.usage.live import LiveAccount
from ingest_api.envelope import plain_decimal

MOST_ACCOUNTS: Final = 100
MOST_BYTES: Final = 16_384

_encoder: Final = msgspec.json.Encoder()


class Authenticate(
    msgspec.Struct, tag_field="type", tag="authenticate", forbid_unknown_fields=True
):
    """The first message of who cannot send headers."""

    key: str


class Subscribe(msgspec.Struct, tag_field="type", tag="subscribe", forbid_unknown_fields=True):
    """Which accounts are wanted, instead of any before; `after` is the last `id` that was seen."""

    accounts: list[UUID]
    after: str | UnsetType | None = UNSET


class Ping(msgspec.Struct, tag_field="type", tag="ping", forbid_unknown_fields=True):
    """Asks for a heartbeat now."""


Message = Authenticate | Subscribe | Ping
_decoder: Final = msgspec.json.Decoder(Message)


def read_message(text: str | bytes) -> Message:
    """What a client said.

    Raises:
        InvalidError: if it is nothing we know, or too much.
    """
    if len(text) > MOST_BYTES:
        raise InvalidError(f"A message may have {MOST_BYTES} bytes.", code="message_too_large")
    try:
        message: Message = _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidError(f"This is no message: {error}.", code="unreadable_message") from error
    if isinstance(message, Subscribe) and not 1 <= len(message.accounts) <= MOST_ACCOUNTS:
        raise InvalidError(
            f"Name 1 to {MOST_ACCOUNTS} accounts; open more connections for more.",
            code="too_many_accounts",
        )
    return message


def accounts_message(kind: str, cursor: str, accounts: list[LiveAccount], **more: Any) -> str:
    """A `snapshot`, or `changes`."""
    said = {"type": kind, "id": cursor, **more, "accounts": [_account(one) for one in accounts]}
    return _encoder.encode(said).decode()


def heartbeat_message(cursor: str, now: datetime) -> str:
    """Says that all is well and nothing changed."""
    return _encoder.encode({"type": "heartbeat", "id": cursor, "at": now}).decode()


def error_message(error: BillingError) -> str:
    """Why the connection is about to be closed."""
    said = {"code": error.code, "message": error.message, "details": error.details}
    return _encoder.encode({"type": "error", "error": said}).decode()


def _account(one: LiveAccount) -> dict[str, Any]:
    wallet = one.wallet
    return {
        "account_id": one.id,
        "status": one.status,
        "currency": one.currency,
        "accept_seq": one.accept_seq,
        "wallet": wallet
        and {
            "balance": plain_decimal(from_units(wallet.balance_units, one.currency)),
            "balance_units": wallet.balance_units,
            "credit_line": plain_decimal(from_units(wallet.credit_line_units, one.currency)),
            "low_balance": plain_decimal(from_units(wallet.low_balance_units, one.currency)),
            "entry_seq": wallet.entry_seq,
            "status": wallet.status,
        },
        "today": {
            "day": one.today.day,
            "events": one.today.events,
            "quantity": plain_decimal(one.today.quantity),
        },
    }
