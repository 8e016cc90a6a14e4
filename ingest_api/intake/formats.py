"""In which of its formats a request brings events: plain JSON, or CloudEvents 1.0 over HTTP.

| `Content-Type` | what it is |
| --- | --- |
| `application/json`, or none | one event, a list, or `{"events": […]}`, in our words |
| `application/cloudevents+json` | one CloudEvent |
| `application/cloudevents-batch+json` | a list of CloudEvents |
| `application/json` with `ce-…` headers | one CloudEvent: attributes in headers, data in the body |

CloudEvents sent as plain `application/json` are recognised by their `specversion`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import unquote

from billing.errors import UnsupportedError
from billing.usage.body import Item, read_events
from billing.usage.cloudevents import CloudEventReader
from billing.usage.event import Check, Rejected

ACCEPTED: Final = (
    "application/json",
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
)

_PLAIN: Final = frozenset({None, "", "application/json"})
_ATTRIBUTE: Final = "ce-"
_MARK: Final = b'"specversion"'


@dataclass(frozen=True, slots=True)
class Sent:
    """The items of a request."""

    items: list[Item]
    is_batch: bool
    as_cloud_events: bool = False


def read_request(headers: Mapping[str, str], body: bytes, check: Check, now: datetime) -> Sent:
    """Read a request's events, whatever their format.

    Args:
        check: what every event must pass.
        now: when an event occurred that does not say it.

    Raises:
        UnsupportedError: if it is none of the formats; its details name those there are.
        InvalidError: if the body as a whole cannot be read.
        TooLargeError: if it holds too many events.
    """
    content_type = headers.get("content-type")
    if content_type not in _PLAIN:
        content_type = _media_type(content_type or "")
    if content_type in _PLAIN:
        if "ce-specversion" in headers or "ce-id" in headers:
            item = CloudEventReader(check, now).binary(_attributes(headers), body)
            return Sent([item], is_batch=False, as_cloud_events=True)
        return _plain(body, check, now)
    reader = CloudEventReader(check, now)
    if content_type == "application/cloudevents+json":
        return Sent([reader.structured(body)], is_batch=False, as_cloud_events=True)
    if content_type == "application/cloudevents-batch+json":
        return Sent(reader.batch(body), is_batch=True, as_cloud_events=True)
    raise UnsupportedError(
        f"Send events as one of {', '.join(ACCEPTED)}.",
        code="unsupported_content_type",
        details={"accepted": list(ACCEPTED)},
    )


def _plain(body: bytes, check: Check, now: datetime) -> Sent:
    items, is_batch = read_events(body, check)
    if _MARK in body and all(isinstance(item, Rejected) for item in items):
        reader = CloudEventReader(check, now)
        if is_batch and body.lstrip()[:1] == b"[":
            return Sent(reader.batch(body), is_batch=True, as_cloud_events=True)
        if not is_batch:
            return Sent([reader.structured(body)], is_batch=False, as_cloud_events=True)
    return Sent(items, is_batch)


def _media_type(content_type: str) -> str:
    """The type without its parameters; JSON in another charset than UTF-8 is another format."""
    kind, _, parameters = content_type.partition(";")
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip(' "').lower() != "utf-8":
            return content_type
    return kind.strip().lower()


def _attributes(headers: Mapping[str, str]) -> dict[str, str]:
    """The attributes in `ce-…` headers, percent-decoded as the HTTP binding asks for."""
    found = {}
    for name, value in headers.items():
        if name.startswith(_ATTRIBUTE):
            text = value.strip()
            if len(text) > 1 and text[0] == text[-1] == '"':
                text = text[1:-1].replace('\\"', '"').replace("\\\\", "\\")
            found[name.removeprefix(_ATTRIBUTE)] = unquote(text, errors="replace")
    return found
