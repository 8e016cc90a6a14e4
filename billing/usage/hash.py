"""Digests of an event: who it is, and what of it decides the bill."""

import hashlib

DIGEST_BYTES = 16
BODY_HASH_BYTES = 8
_SEPARATOR = "\x1f"


def key_digest(source: str, event_id: str) -> bytes:
    """What stands for `(source, event_id)` in Redis: 16 bytes."""
    return hashlib.blake2b(
        f"{source}{_SEPARATOR}{event_id}".encode(), digest_size=DIGEST_BYTES
    ).digest()


def body_hash(
    account: str, event_type: str, *, occurred_us: int, quantity: str, cost: str, dimensions: bytes
) -> bytes:
    """The first 8 bytes of SHA-256 over the billable fields, each in its one canonical spelling.

    Args:
        account: the account as the sender named it, so that an alias that is re-pointed between
            two attempts does not turn a retry into a conflict.
        dimensions: as JSON with sorted keys; it comes last, since only it may hold separators.
    """
    head = _SEPARATOR.join((account, event_type, str(occurred_us), quantity, cost, ""))
    return hashlib.sha256(head.encode() + dimensions).digest()[:BODY_HASH_BYTES]
