"""The usage event: what a sender may say, checked field by field.

Quantities and costs are decimals with at most 6 places, sent as a JSON integer or as text; times
are RFC 3339 with an offset, kept in microseconds of UTC. Nothing here is a float.
"""

import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, UnsetType

from billing.errors import FieldError
from billing.usage.hash import body_hash, key_digest

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
OLDEST: Final = timedelta(days=35)
"""Older events come only with the permission to backfill."""
OLDEST_BACKFILL: Final = timedelta(days=5 * 366)
NEWEST: Final = timedelta(minutes=5)
"""How far ahead of ours a sender's clock may be."""

MAX_DIMENSIONS: Final = 32
MAX_NAME: Final = 64
MAX_VALUE: Final = 256
QUANTITY_LIMIT: Final = Decimal(10) ** 12

_MOST_REMEMBERED: Final = 320
_MICROSECOND: Final = timedelta(microseconds=1)
_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_SOURCE: Final = re.compile(r"[A-Za-z0-9_.:/@~+%?=&#-]{1,128}")
"""What an id may be, and what else is in a URI: senders of CloudEvents name themselves so."""
_TYPE: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_ALIAS: Final = re.compile(r"[^\x00-\x1f\x7f]{1,128}")
_IN_WORDS: Final = {
    _ID: "must be 1 to 128 letters, digits and _ . : -",
    _SOURCE: "must be 1 to 128 letters, digits and _ . : / @ ~ + % ? = & # -",
    _TYPE: "must be 1 to 64 lower-case letters, digits and _ . -, a letter or digit first",
    _ALIAS: "must be 1 to 128 characters, none of them a control character",
}
_DECIMAL: Final = re.compile(r"[0-9]{1,14}(?:\.[0-9]{1,6})?")
_sorted_json: Final = msgspec.json.Encoder(order="sorted")

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
Number = int | str


class EventIn(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """One event as it is sent."""

    source: str
    event_id: str
    event_type: str
    occurred_at: Moment
    account_id: str | UnsetType = UNSET
    alias: str | UnsetType = UNSET
    quantity: Number = 1
    dimensions: dict[str, str] = {}
    cost: Number | UnsetType = UNSET
    authorization_id: str | UnsetType = UNSET


class UsageEvent(msgspec.Struct, gc=False, frozen=True):
    """An event whose every field is right; the account is still to be found."""

    source: str
    event_id: str
    event_type: str
    occurred_us: int
    """Microseconds since 1970, UTC."""
    account: str
    """What `account_id` or `alias` said."""
    by_alias: bool
    quantity: Decimal
    dimensions: dict[str, str]
    dimensions_json: bytes
    cost: Decimal | None
    digest: bytes
    """Of `(source, event_id)`, 16 bytes."""
    body_hash: bytes
    """Of the billable fields, 8 bytes."""
    id_or_alias: bool = False
    """Whether `account` is an alias if it turns out to be no account's id."""
    authorization_id: str = ""
    """The authorisation that it captures; no part of what is billed."""

    @property
    def occurred_at(self) -> datetime:
        """When it happened, UTC."""
        return EPOCH + timedelta(microseconds=self.occurred_us)


class Rejected(msgspec.Struct, gc=False):
    """An event that cannot be taken, with what is wrong where."""

    source: str | None
    event_id: str | None
    fields: list[FieldError]
    code: str = "invalid"


def microseconds(instant: datetime) -> int:
    """An aware instant as microseconds since 1970."""
    return (instant - EPOCH) // _MICROSECOND


@lru_cache(maxsize=4096)
def decimal_of(value: Number) -> tuple[Decimal, str]:
    """A sent number and its canonical text.

    Raises:
        ValueError: with what is wrong, for people.
    """
    if isinstance(value, int):
        if value < 0:
            raise ValueError("must not be negative")
        number = Decimal(value) if value < QUANTITY_LIMIT else QUANTITY_LIMIT
    elif _DECIMAL.fullmatch(value):
        number = Decimal(value)
    else:
        raise ValueError("must be an integer, or a decimal as text with at most 6 places")
    if number >= QUANTITY_LIMIT:
        raise ValueError("must be below 1,000,000,000,000")
    text = format(number, "f")
    return number, text.rstrip("0").rstrip(".") if "." in text else text


@lru_cache(maxsize=4096)
def _is_source(text: str) -> bool:
    return _SOURCE.fullmatch(text) is not None


@lru_cache(maxsize=4096)
def _is_type(text: str) -> bool:
    return _TYPE.fullmatch(text) is not None


@lru_cache(maxsize=65_536)
def _is_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


@lru_cache(maxsize=4096)
def _are_names(names: tuple[str, ...]) -> bool:
    """Whether these may name dimensions whose JSON is short, ASCII and free of escapes."""
    return len(names) <= MAX_DIMENSIONS and all(0 < len(name) <= MAX_NAME for name in names)


class EventCheck:
    """Checks events against one instant.

    Args:
        now: the intake's time.
        backfill: whether the sender may send events older than `OLDEST`.
    """

    def __init__(self, now: datetime, *, backfill: bool = False) -> None:
        self._oldest = OLDEST_BACKFILL if backfill else OLDEST
        self.earliest_us = microseconds(now - self._oldest)
        self.latest_us = microseconds(now + NEWEST)

    def __call__(self, sent: EventIn) -> UsageEvent | Rejected:
        """The event, or everything that is wrong with it."""
        return self._plain(sent) or self._looked_at(sent)

    def _plain(self, sent: EventIn) -> UsageEvent | None:
        """An event as nearly all are, in one go; None says nothing of what is wrong."""
        source, event_type, account = sent.source, sent.event_type, sent.account_id
        if account is UNSET or sent.alias is not UNSET or sent.authorization_id is not UNSET:
            return None
        # what is remembered must be short
        if len(source) + len(event_type) + len(account) > _MOST_REMEMBERED or not (
            _is_source(source)
            and _is_type(event_type)
            and _is_id(account)
            and _ID.fullmatch(sent.event_id)
        ):
            return None
        occurred_us = (sent.occurred_at - EPOCH) // _MICROSECOND
        encoded = _sorted_json.encode(sent.dimensions)
        if not (
            self.earliest_us <= occurred_us <= self.latest_us
            and len(encoded) <= MAX_VALUE
            and b"\\" not in encoded
            and encoded.isascii()
            and _are_names(tuple(sent.dimensions))
        ):
            return None
        try:
            quantity, quantity_text = decimal_of(sent.quantity)
            cost, cost_text = (None, "") if sent.cost is UNSET else decimal_of(sent.cost)
        except ValueError:
            return None
        return UsageEvent(
            source,
            sent.event_id,
            event_type,
            occurred_us,
            account,
            False,
            quantity,
            sent.dimensions,
            encoded,
            cost,
            key_digest(source, sent.event_id),
            body_hash(
                account,
                event_type,
                occurred_us=occurred_us,
                quantity=quantity_text,
                cost=cost_text,
                dimensions=encoded,
            ),
        )

    def _looked_at(self, sent: EventIn) -> UsageEvent | Rejected:
        wrong: list[FieldError] = []
        account, by_alias = checked_account(sent.account_id, sent.alias, wrong)
        _match(wrong, "source", _SOURCE, sent.source)
        _match(wrong, "event_id", _ID, sent.event_id)
        checked_type(sent.event_type, wrong)
        occurred_us = self.occurred_us(sent.occurred_at, wrong)
        quantity, quantity_text = checked_number(wrong, "quantity", sent.quantity)
        cost, cost_text = (
            (None, "") if sent.cost is UNSET else checked_number(wrong, "cost", sent.cost)
        )
        dimensions, encoded = checked_dimensions(sent.dimensions, wrong)
        authorization_id = ""
        if sent.authorization_id is not UNSET:
            authorization_id = sent.authorization_id
            _match(wrong, "authorization_id", _ID, authorization_id)
        if wrong:
            return Rejected(sent.source, sent.event_id, wrong)
        return UsageEvent(
            sent.source,
            sent.event_id,
            sent.event_type,
            occurred_us,
            account,
            by_alias,
            quantity,
            dimensions,
            encoded,
            cost,
            key_digest(sent.source, sent.event_id),
            body_hash(
                account,
                sent.event_type,
                occurred_us=occurred_us,
                quantity=quantity_text,
                cost=cost_text,
                dimensions=encoded,
            ),
            authorization_id=authorization_id,
        )

    def occurred_us(self, occurred_at: datetime, wrong: list[FieldError]) -> int:
        """The time of the event, if it lies in the window."""
        occurred_us = microseconds(occurred_at)
        if occurred_us < self.earliest_us:
            wrong.append(FieldError("occurred_at", self._too_old()))
        elif occurred_us > self.latest_us:
            wrong.append(
                FieldError("occurred_at", f"lies more than {NEWEST.seconds // 60} minutes ahead")
            )
        return occurred_us

    def _too_old(self) -> str:
        said = f"lies more than {self._oldest.days} days back"
        return said if self._oldest > OLDEST else f"{said}: a key that may backfill is needed"


def checked_account(
    account_id: str | UnsetType, alias: str | UnsetType, wrong: list[FieldError]
) -> tuple[str, bool]:
    """How the sender names the account, and whether by an alias."""
    if account_id is not UNSET and alias is not UNSET:
        wrong.append(FieldError("account_id", "send either account_id or alias, not both"))
    if account_id is not UNSET:
        _match(wrong, "account_id", _ID, account_id)
        return account_id, False
    if alias is not UNSET:
        _match(wrong, "alias", _ALIAS, alias)
        return alias, True
    wrong.append(FieldError("account_id", "is required, unless alias is sent"))
    return "", False


def checked_type(event_type: str, wrong: list[FieldError]) -> None:
    """Note it if an event type is none."""
    _match(wrong, "event_type", _TYPE, event_type)


def _match(wrong: list[FieldError], field: str, pattern: re.Pattern[str], value: str) -> None:
    if not pattern.fullmatch(value):
        wrong.append(FieldError(field, _IN_WORDS[pattern]))


def checked_number(wrong: list[FieldError], field: str, value: Number) -> tuple[Decimal, str]:
    """A sent number with its canonical text; zero, if it is noted as wrong."""
    try:
        return decimal_of(value)
    except ValueError as error:
        wrong.append(FieldError(field, str(error)))
        return Decimal(0), ""


def checked_dimensions(
    sent: dict[str, str], wrong: list[FieldError]
) -> tuple[dict[str, str], bytes]:
    """The dimensions, NFC-normalised, and their JSON with sorted keys."""
    encoded = _sorted_json.encode(sent)
    # short, ASCII and free of escapes: nothing in it can be too long, unnormalised or a NUL
    plain = len(encoded) <= MAX_VALUE and b"\\" not in encoded and encoded.isascii()
    if plain and _are_names(tuple(sent)):
        return sent, encoded
    if len(sent) > MAX_DIMENSIONS:
        wrong.append(FieldError("dimensions", f"must have at most {MAX_DIMENSIONS} keys"))
        return sent, encoded
    normalised: dict[str, str] = {}
    for name, value in sent.items():
        problem = _text_problem(name, MAX_NAME) or _text_problem(value, MAX_VALUE, least=0)
        if problem:
            wrong.append(FieldError(f"dimensions.{_printable(name)}", problem))
        normalised[unicodedata.normalize("NFC", name)] = unicodedata.normalize("NFC", value)
    if len(normalised) < len(sent):
        wrong.append(FieldError("dimensions", "has two names that are the same text"))
    return normalised, _sorted_json.encode(normalised)


def _text_problem(value: str, longest: int, least: int = 1) -> str | None:
    if not least <= len(value) <= longest:
        return f"must have {least} to {longest} characters"
    if "\x00" in value:
        return "must not contain NUL"
    if any("\ud800" <= character <= "\udfff" for character in value):
        return "must not contain surrogates"
    return None


def _printable(name: str) -> str:
    return name[:MAX_NAME].encode("ascii", "backslashreplace").decode()


Check = Callable[[EventIn], UsageEvent | Rejected]
