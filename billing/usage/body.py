"""Reading a request body into events, without believing any parser too much.

msgspec refuses NaN, floats, control characters, surrogates and bad UTF-8 by itself. It keeps the
last of two equal keys, so those are looked for here, and it fails a whole batch for one bad item,
so the items are then read one by one.
"""

import json
import re
from collections import Counter
from typing import Any, Final

import msgspec

from billing.errors import FieldError, InvalidError, TooLargeError
from billing.usage.event import Check, EventIn, Rejected, UsageEvent

MAX_EVENTS: Final = 1000
MAX_BYTES: Final = 1_000_000

_KEY_END: Final = re.compile(rb'"\s*:')
_SPACED: Final = tuple(b'"' + space for space in (b" ", b"\t", b"\n", b"\r", b"\v", b"\f"))
_ENVELOPE: Final = re.compile(rb'\s*\{\s*"events"\s*:')
_FIELD: Final = re.compile(r"(?:missing required|unknown) field `([^`]*)`")
_PATH: Final = re.compile(r" - at `(?:key in )?\$\.?([^`]*)`$")


class _Envelope(msgspec.Struct, forbid_unknown_fields=True):
    events: list[EventIn]


class _RawEnvelope(msgspec.Struct, forbid_unknown_fields=True):
    events: list[msgspec.Raw]


_events: Final = msgspec.json.Decoder(list[EventIn])
_event: Final = msgspec.json.Decoder(EventIn)
_envelope: Final = msgspec.json.Decoder(_Envelope)
_raw_events: Final = msgspec.json.Decoder(list[msgspec.Raw])
_raw_envelope: Final = msgspec.json.Decoder(_RawEnvelope)

Item = UsageEvent | Rejected


def read_events(body: bytes, check: Check) -> tuple[list[Item], bool]:
    """The events of a body in their order, and whether it was a batch.

    Raises:
        InvalidError: if the body as a whole cannot be read; code `invalid_json`.
        TooLargeError: if it is longer than `MAX_BYTES` or holds more than `MAX_EVENTS`.
    """
    if len(body) > MAX_BYTES:
        raise TooLargeError(f"A request may have {MAX_BYTES} bytes; send smaller batches.")
    start = body.lstrip()[:1]
    enveloped = _ENVELOPE.match(body) is not None
    if start == b"{" and not enveloped:
        return [_single(body, check)], False
    try:
        sent = _envelope.decode(body).events if enveloped else _events.decode(body)
    except msgspec.ValidationError:
        return _one_by_one(body, enveloped, check), True
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise unreadable(error) from None
    require_count(len(sent))
    if not _keys_are_unique(body, {"events": sent} if enveloped else sent):
        return _one_by_one(body, enveloped, check), True
    return [check(event) for event in sent], True


def read_items(body: bytes) -> list[bytes]:
    """The items of a list, each as JSON of its own.

    Raises:
        InvalidError: if the body is no list that can be read.
    """
    try:
        return [bytes(raw) for raw in _raw_events.decode(body)]
    except msgspec.ValidationError as error:
        raise InvalidError("Send a list of events.", fields=[field_error(error)]) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise unreadable(error) from None


def read_object(body: bytes, kind: type[msgspec.Struct]) -> Any:
    """One JSON object of that kind, from a body.

    Raises:
        InvalidError: naming the wrong field.
    """
    try:
        found = msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise InvalidError("A field is wrong.", fields=[field_error(error)]) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise unreadable(error) from None
    twice = repeated_key(body)
    if twice is not None:
        raise InvalidError("A key comes twice.", fields=[FieldError(twice, "comes twice")])
    return found


def field_error(error: msgspec.ValidationError) -> FieldError:
    """Which field msgspec means, and what is wrong with it."""
    message = str(error)
    path = _PATH.search(message)
    named = _FIELD.search(message)
    field = path.group(1).strip(".[]") if path else ""
    if named:
        what = "is required" if "missing" in message else "is not known"
        return FieldError(".".join(part for part in (field, named.group(1)) if part), what)
    return FieldError(field or "body", _PATH.sub("", message))


def _single(body: bytes, check: Check) -> Item:
    try:
        sent = _event.decode(body)
    except msgspec.ValidationError as error:
        return _rejected(body, field_error(error))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise unreadable(error) from None
    if not _keys_are_unique(body, sent):
        twice = repeated_key(body)
        if twice is not None:
            return Rejected(sent.source, sent.event_id, [FieldError(twice, "comes twice")])
    return check(sent)


def _one_by_one(body: bytes, enveloped: bool, check: Check) -> list[Item]:
    try:
        raws = _raw_envelope.decode(body).events if enveloped else _raw_events.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidError(
            'Send an event, a list of events, or {"events": [...]}.', fields=[field_error(error)]
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise unreadable(error) from None
    require_count(len(raws))
    if enveloped and repeated_key(body, only="events"):
        raise InvalidError("A key comes twice.", fields=[FieldError("events", "comes twice")])
    return [_single(bytes(raw), check) for raw in raws]


def require_count(count: int) -> None:
    """Refuse a batch of nothing, and one of too many.

    Raises:
        InvalidError: if there is no event; code `no_events`.
        TooLargeError: if there are more than `MAX_EVENTS`.
    """
    if count > MAX_EVENTS:
        raise TooLargeError(f"A request may hold {MAX_EVENTS} events; send smaller batches.")
    if not count:
        raise InvalidError("There is no event in this request.", code="no_events")


def _keys_are_unique(body: bytes, decoded: object) -> bool:
    """Whether surely no key comes twice; False means: look closely.

    What was decoded has each key once. Written again, it must have as many key endings as the
    body had; a text that begins with a colon counts in both. With escapes in it the body cannot
    be counted like this.
    """
    if b"\\" in body:
        return False
    again = msgspec.json.encode(decoded)
    return _key_ends(body) == _key_ends(again)


def _key_ends(text: bytes) -> int:
    """How many quotes are followed by a colon; nearly nobody writes white space between them."""
    if any(between in text for between in _SPACED):
        return len(_KEY_END.findall(text))
    return text.count(b'":')


def repeated_key(body: bytes, only: str | None = None) -> str | None:
    """A key that comes twice in one of the objects of a body that has been decoded before."""
    repeated: list[str] = []

    def note(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) < len(pairs):
            counts = Counter(name for name, _ in pairs)
            repeated.extend(
                name for name, times in counts.items() if times > 1 and only in {None, name}
            )
        return found

    try:
        json.loads(body, object_pairs_hook=note, parse_int=str)
    except RecursionError as error:
        raise unreadable(error) from None
    return repeated[0] if repeated else None


def _rejected(body: bytes, problem: FieldError) -> Rejected:
    try:
        named = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise unreadable(error) from None
    names = named if isinstance(named, dict) else {}
    source, event_id = names.get("source"), names.get("event_id")
    return Rejected(
        source if isinstance(source, str) else None,
        event_id if isinstance(event_id, str) else None,
        [problem],
    )


def unreadable(error: Exception) -> InvalidError:
    """What to say of a body that is no JSON; code `invalid_json`."""
    reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
    return InvalidError(
        f"The body is not JSON that can be read: {reason}.",
        code="invalid_json",
        fields=[FieldError("body", reason)],
    )
