"""The body of a request to a hot route: whole, decompressed, and never more than it may be."""

import asyncio
import zlib
from collections.abc import Mapping
from typing import Final

from starlette.types import Receive

from billing.errors import InvalidError, TooLargeError, TooSlowError, UnsupportedError
from billing.usage.body import MAX_BYTES

BODY_SECONDS: Final = 10.0
ENCODINGS: Final = "gzip, identity"

_GZIP: Final = 16 + zlib.MAX_WBITS
_LENGTH_DIGITS: Final = 20
"""Python refuses to read numbers of thousands of digits; so many say enough."""
_MOST_MEMBERS: Final = 16
"""A gzip file may consist of several; each one begun copies what is left."""


async def read_body(
    headers: Mapping[str, str], receive: Receive, *, seconds: float = BODY_SECONDS
) -> bytes:
    """The whole body, decompressed.

    Raises:
        UnsupportedError: if it is compressed otherwise than with gzip.
        TooLargeError: if it has more than `MAX_BYTES`, before or after it is decompressed.
        TooSlowError: if it is not there after so many seconds.
        InvalidError: if it ends too early, or is no gzip.
    """
    encoding = headers.get("content-encoding")
    if encoding is None:
        return await _read(headers, receive, seconds)
    encoding = encoding.strip().lower()
    if encoding not in {"gzip", "x-gzip", "identity", ""}:
        raise UnsupportedError(
            "Send the body compressed with gzip, or not compressed.", code="unsupported_encoding"
        )
    body = await _read(headers, receive, seconds)
    return gunzip(body, MAX_BYTES) if encoding.endswith("gzip") else body


def gunzip(compressed: bytes, most: int) -> bytes:
    """What was compressed, unless it is more than `most` bytes: those beyond are never made.

    Raises:
        TooLargeError: if it is more.
        InvalidError: if it is cut off or is no gzip.
    """
    parts: list[bytes] = []
    size = 0
    rest = compressed
    while rest or not parts:
        if len(parts) == _MOST_MEMBERS:
            raise InvalidError("The gzip body has too many parts.", code="invalid_gzip")
        stream = zlib.decompressobj(_GZIP)
        try:
            part = stream.decompress(rest, most - size + 1)
        except zlib.error as error:
            raise InvalidError("The body is not gzip.", code="invalid_gzip") from error
        size += len(part)
        if size > most:
            raise _too_large()
        if not stream.eof:
            raise InvalidError("The gzip body is cut off.", code="invalid_gzip")
        parts.append(part)
        rest = stream.unused_data
    return b"".join(parts)


async def _read(headers: Mapping[str, str], receive: Receive, seconds: float) -> bytes:
    declared = headers.get("content-length", "0")
    if not declared.isdecimal() or int(declared[:_LENGTH_DIGITS]) > MAX_BYTES:
        raise _too_large()
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise InvalidError("The body ended too early.", code="incomplete_body")
                part = message.get("body", b"")
                size += len(part)
                if size > MAX_BYTES:
                    raise _too_large()
                parts.append(part)
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError:
        raise TooSlowError("The body came too slowly.", code="body_too_slow") from None


def _too_large() -> TooLargeError:
    return TooLargeError(f"A request may have {MAX_BYTES} bytes; send smaller batches.")


def expected_bytes(headers: Mapping[str, str]) -> int:
    """How much memory a body may take: what it says, or all it may have."""
    declared = headers.get("content-length", "")
    if not declared.isdecimal() or headers.get("content-encoding"):
        return MAX_BYTES
    return min(int(declared[:_LENGTH_DIGITS]), MAX_BYTES)
