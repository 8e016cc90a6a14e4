"""CloudEvents 1.0 in JSON: the same events in the words of a common format.

`id` and `source` are the event's, `type` its type, `time` when it occurred (now, if it is not
said), and `subject` its account: the account's id or an alias of it. `data` holds `quantity` (or
`value`), `cost` and `dimensions`; every other member of it is a dimension as well, and an object or
a list there is refused: what it says could be what is billed by. Numbers are read as they are
written, so that none of them is ever a float.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import UNSET

from billing.errors import FieldError
from billing.usage.body import (
    Item,
    field_error,
    read_items,
    repeated_key,
    require_count,
    unreadable,
)
from billing.usage.event import Check, EventIn, Moment, Rejected, UsageEvent, decimal_of
from billing.usage.hash import body_hash

SPECVERSION: Final = "1.0"
QUANTITY_MEMBERS: Final = ("quantity", "value")

_JSON_TYPE: Final = re.compile(r"[a-z]+/(?:[a-z0-9.+-]+\+)?json(?:\s*;.*)?", re.IGNORECASE)
_NO_DATA: Final = frozenset({b"", b"null"})
_AS_SENT: Final = {
    "event_id": "id",
    "event_type": "type",
    "occurred_at": "time",
    "account_id": "subject",
    "alias": "subject",
    "cost": "data.cost",
    "authorization_id": "authorizationid",
}


class CloudEventIn(msgspec.Struct, gc=False):
    """One event as it is sent; attributes that are not named here are passed over."""

    specversion: str
    id: str
    source: str
    type: str
    subject: str | None = None
    time: Moment | None = None
    datacontenttype: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"")
    data_base64: str | None = None
    authorizationid: str | None = None
    """Our extension: the authorisation that the event captures."""


_event: Final = msgspec.json.Decoder(CloudEventIn)
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text: Final = msgspec.json.Decoder(str)
_time: Final = msgspec.json.Decoder(Moment)


class _WrongDataError(Exception):
    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.problem = FieldError(field, message)


class CloudEventReader:
    """Reads CloudEvents into usage events.

    Args:
        check: what every usage event must pass.
        now: when an event occurred that says no time.
    """

    def __init__(self, check: Check, now: datetime) -> None:
        self._check = check
        self._now = now

    def structured(self, body: bytes) -> Item:
        """The event of a body of `application/cloudevents+json`.

        Raises:
            InvalidError: if it cannot be read as JSON.
        """
        return self._one(body)

    def batch(self, body: bytes) -> list[Item]:
        """The events of a body of `application/cloudevents-batch+json`; there may be none.

        Raises:
            InvalidError: if it is no list that can be read.
            TooLargeError: if it holds too many.
        """
        items = read_items(body)
        if items:
            require_count(len(items))
        return [self._one(item) for item in items]

    def binary(self, attributes: Mapping[str, str], body: bytes) -> Item:
        """The event whose attributes came beside its data.

        Args:
            attributes: by their names, such as `id`; all that is known of the sender's headers.
            body: the data as JSON, or nothing.

        Raises:
            InvalidError: if the data cannot be read as JSON.
        """
        told: dict[str, Any] = dict(attributes)
        try:
            if "time" in told:
                told["time"] = _time.decode(msgspec.json.encode(told["time"]))
            sent = msgspec.convert(told, CloudEventIn)
        except msgspec.ValidationError as error:
            wrong = field_error(error)
            field = "time" if wrong.field == "body" else wrong.field
            return Rejected(told.get("source"), told.get("id"), [FieldError(field, wrong.message)])
        if body.strip() not in _NO_DATA:
            try:
                sent.data = msgspec.Raw(msgspec.json.decode(body, type=msgspec.Raw))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise unreadable(error) from None
            twice = repeated_key(body)
            if twice is not None:
                return Rejected(sent.source, sent.id, [FieldError(f"data.{twice}", "comes twice")])
        return self._usage_event(sent)

    def _one(self, body: bytes) -> Item:
        try:
            sent = _event.decode(body)
            twice = repeated_key(body)
        except msgspec.ValidationError as error:
            return _rejected(body, field_error(error))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise unreadable(error) from None
        if twice is not None:
            return Rejected(sent.source, sent.id, [FieldError(twice, "comes twice")])
        return self._usage_event(sent)

    def _usage_event(self, sent: CloudEventIn) -> Item:
        try:
            event, quantity_name = _event_in(sent, self._now)
        except _WrongDataError as wrong:
            return Rejected(sent.source, sent.id, [wrong.problem])
        checked = self._check(event)
        if isinstance(checked, Rejected):
            renamed = [
                FieldError(_as_sent(one.field, quantity_name), one.message)
                for one in checked.fields
            ]
            return msgspec.structs.replace(checked, fields=renamed)
        changes = {} if sent.time else {"body_hash": _hash_without_time(checked)}
        return msgspec.structs.replace(checked, id_or_alias=True, **changes)


def _event_in(sent: CloudEventIn, now: datetime) -> tuple[EventIn, str]:
    """The event, and which of `QUANTITY_MEMBERS` said its quantity."""
    if sent.specversion != SPECVERSION:
        raise _WrongDataError("specversion", f"must be {SPECVERSION}")
    if not sent.subject:
        raise _WrongDataError("subject", "is required: the id or an alias of the account")
    members = _data(sent)
    quantity_name = next((name for name in QUANTITY_MEMBERS if name in members), "quantity")
    quantity = _number(quantity_name, members.pop(quantity_name, b"1"))
    cost = members.pop("cost", None)
    event = EventIn(
        source=sent.source,
        event_id=sent.id,
        event_type=sent.type,
        occurred_at=sent.time or now.astimezone(UTC),
        quantity=quantity,
        dimensions=_dimensions(members),
        cost=UNSET if cost is None else _number("cost", cost),
    )
    if sent.authorizationid is not None:
        event.authorization_id = sent.authorizationid
    if _is_id(sent.subject):
        event.account_id = sent.subject
    else:
        event.alias = sent.subject
    return event, quantity_name


def _data(sent: CloudEventIn) -> dict[str, bytes]:
    """The members of `data` as JSON, without those that are null."""
    raw = bytes(sent.data)
    if sent.datacontenttype and not _JSON_TYPE.fullmatch(sent.datacontenttype):
        raise _WrongDataError("datacontenttype", "must be application/json")
    if sent.data_base64 is not None:
        if raw not in _NO_DATA:
            raise _WrongDataError("data_base64", "send either data or data_base64, not both")
        try:
            raw = base64.b64decode(sent.data_base64, validate=True)
        except (binascii.Error, ValueError):
            raise _WrongDataError("data_base64", "is no base64") from None
    if raw.strip() in _NO_DATA:
        return {}
    try:
        members = _members.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _WrongDataError("data", "must be a JSON object") from None
    found = {name: bytes(member).strip() for name, member in members.items()}
    return {name: member for name, member in found.items() if member != b"null"}


def _dimensions(members: dict[str, bytes]) -> dict[str, str]:
    dimensions: dict[str, str] = {}
    told = members.pop("dimensions", None)
    if told is not None:
        try:
            nested = _members.decode(told)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise _WrongDataError("data.dimensions", "must be an object of text") from None
        for name, inner in nested.items():
            dimensions[name] = _scalar(f"data.dimensions.{name}", bytes(inner).strip())
    for name, member in members.items():
        if name in dimensions:
            raise _WrongDataError(f"data.{name}", "is among the dimensions as well")
        dimensions[name] = _scalar(f"data.{name}", member)
    return dimensions


def _scalar(field: str, member: bytes) -> str:
    if member[:1] == b'"':
        return _decoded_text(field, member)
    if member[:1] in b"{[" or member == b"null":
        raise _WrongDataError(field, "must be text, a number, true or false")
    return member.decode("ascii")


def _number(name: str, member: bytes) -> int | str:
    """A number as text, exactly as it was written."""
    field = f"data.{name}"
    if member[:1] == b'"':
        return _decoded_text(field, member)
    if member[:1] not in b"-0123456789":
        raise _WrongDataError(field, "must be a number, or a decimal as text")
    return member.decode("ascii")


def _decoded_text(field: str, member: bytes) -> str:
    try:
        return _text.decode(member)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _WrongDataError(field, "is no text that can be read") from None


def _hash_without_time(event: UsageEvent) -> bytes:
    """What tells the event apart but for its time: sent again, it would have another."""
    return body_hash(
        event.account,
        event.event_type,
        occurred_us=-1,
        quantity=decimal_of(format(event.quantity, "f"))[1],
        cost="" if event.cost is None else decimal_of(format(event.cost, "f"))[1],
        dimensions=event.dimensions_json,
    )


def _is_id(subject: str) -> bool:
    try:
        UUID(subject)
    except ValueError:
        return False
    return True


def _as_sent(field: str, quantity_name: str) -> str:
    if field == "quantity":
        return f"data.{quantity_name}"
    head, dot, rest = field.partition(".")
    return "data" + dot + rest if head == "dimensions" else _AS_SENT.get(field, field)


def _rejected(body: bytes, problem: FieldError) -> Rejected:
    try:
        named = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise unreadable(error) from None
    names = named if isinstance(named, dict) else {}
    source, event_id = names.get("source"), names.get("id")
    return Rejected(
        source if isinstance(source, str) else None,
        event_id if isinstance(event_id, str) else None,
        [problem],
    )
