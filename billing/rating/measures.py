"""What an item reads off an event, and how that of many becomes one quantity.

The wallet path, previews and the SQL of rating of record (macro `measured_value`, model
`int_rating__valued_usage`) follow the same rules; the parity tests hold them together. An event
that does not say what is to be read has no quantity, and is not billed as zero: like one without a
rate it parks the invoice.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Protocol

from billing.rating.plan import (
    COUNT,
    MAX,
    PERCENTAGE,
    SMS_SEGMENTS,
    SUM,
    UNIQUE,
    Charge,
    SingleEvent,
)
from billing.rating.segments import ENCODINGS, sms_segments

MESSAGE_LENGTH: Final = "message_length"
"""Where the length of a message stands, unless an item names another property."""
ENCODING: Final = "encoding"
ADDITIVE: Final = frozenset({COUNT, SUM})
"""What each event adds to by itself, whatever others say."""
_NUMBER: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,6})?")
_LENGTH: Final = re.compile(r"[0-9]{1,12}")


class Measurable(Protocol):
    """Anything that says what is read: a charge of a plan, or a billable item."""

    @property
    def aggregation(self) -> str:
        """How the values of events become one quantity."""
        ...

    @property
    def property_name(self) -> str | None:
        """The dimension that is read; None for the event's quantity."""
        ...

    @property
    def conversion(self) -> str | None:
        """What becomes of it, event by event."""
        ...


@dataclass(frozen=True, slots=True)
class Measure:
    """What an item reads, and nothing else of it."""

    aggregation: str
    property_name: str | None = None
    conversion: str | None = None


def reads_events(measure: Measurable) -> bool:
    """Whether counts and sums of quantities are not enough to say what is billed."""
    return (
        measure.aggregation not in ADDITIVE
        or measure.property_name is not None
        or measure.conversion is not None
    )


def read_singly(charges: Iterable[Charge]) -> frozenset[str]:
    """The event types of which rating has to know every event, not only sums."""
    return frozenset(
        charge.event_type
        for charge in charges
        if charge.event_type is not None
        and (charge.price_model == PERCENTAGE or reads_events(charge))
    )


def properties_read(measure: Measurable) -> tuple[str, ...]:
    """The dimensions that say what an event comes to."""
    if measure.conversion == SMS_SEGMENTS:
        return (measure.property_name or MESSAGE_LENGTH, ENCODING)
    return () if measure.property_name is None else (measure.property_name,)


def factor_of(measure: Measurable, properties: Mapping[str, Any]) -> Decimal | None:
    """What an event comes to, without its quantity; None if it does not say.

    Of a property the number it holds; of SMS segments those of one message.
    """
    if measure.conversion == SMS_SEGMENTS:
        length, encoding = (properties.get(name) for name in properties_read(measure))
        if encoding not in ENCODINGS or length is None or not _LENGTH.fullmatch(length):
            return None
        return Decimal(sms_segments(int(length), encoding))
    if measure.property_name is None:
        return Decimal(1)
    found = properties.get(measure.property_name)
    return Decimal(found) if found is not None and _NUMBER.fullmatch(found) else None


def value_of(
    measure: Measurable, quantity: Decimal, properties: Mapping[str, Any]
) -> Decimal | str | None:
    """What an event says: a number, or for distinct values its text; None if it says nothing.

    An event is so many messages as its quantity says; a property stands for the event as it is.
    """
    if measure.aggregation == COUNT:
        return Decimal(1)
    if measure.aggregation == UNIQUE:
        return properties.get(measure.property_name or "") or None
    factor = factor_of(measure, properties)
    if factor is None or (measure.property_name is not None and measure.conversion is None):
        return factor
    return factor * quantity


def aggregated(measure: Measurable, events: Sequence[SingleEvent]) -> Decimal:
    """What is not added up: the most, the last or the different values of events that all say one.

    Of two that occurred at the same instant, the one accepted later is the last.
    """
    values = [value_of(measure, event.quantity, event.properties) for event in events]
    if measure.aggregation == UNIQUE:
        return Decimal(len(set(values)))
    numbers = [value for value in values if isinstance(value, Decimal)]
    if measure.aggregation == MAX:
        return max(numbers)
    last = max(range(len(events)), key=lambda at: (events[at].order[0], events[at].accepted))
    return numbers[last]
