"""What a document is drawn with beside its snapshot."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that a document is drawn with."""

    content: bytes
    media_type: str = "font/ttf"


@dataclass(frozen=True, slots=True)
class Registration:
    """What the invoice registration portal gave a document."""

    irn: str
    ack_number: str
    acknowledged_on: str
    """As printed."""
    signed_qr: str


@dataclass(frozen=True, slots=True)
class Extras:
    """What a document is drawn with beside its snapshot."""

    logo: Asset | None = None
    registration: Registration | None = None


NOTHING_ELSE: Final = Extras()
