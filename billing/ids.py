"""Identifiers: UUIDv7 made here, so that ids sort by creation and need no round trip."""

from uuid import UUID

import uuid_utils


def new_id() -> UUID:
    """A new UUIDv7 (RFC 9562): unique, and increasing with time."""
    return UUID(bytes=uuid_utils.uuid7().bytes)
