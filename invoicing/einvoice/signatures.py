"""The portal's signatures: compact JWS, RS256, checked with keys that are pinned by their id.

Checking needs no secret and no library: the signature, raised to the public exponent, must be
exactly the padded hash (RFC 8017, section 8.2.2), which is built here whole and compared.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Self

from billing.errors import BillingError, ErrorKind

_SHA256_PREFIX: Final = bytes.fromhex("3031300d060960864801650304020105000420")


class SignatureError(BillingError):
    """What the portal is said to have signed, it did not, or not this."""

    kind = ErrorKind.CONFLICT
    code = "einvoice_signature"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An RSA key that the portal publishes."""

    modulus: int
    exponent: int

    @classmethod
    def from_jwk(cls, key: Mapping[str, str]) -> Self:
        """A key as JSON Web Key (`n`, `e` in base64url).

        Raises:
            ValueError: if it is none, or shorter than 2048 bits.
        """
        found = cls(*(int.from_bytes(_decode(key[part]), "big") for part in ("n", "e")))
        if found.modulus.bit_length() < 2048:
            raise ValueError("a key of the portal has at least 2048 bits")
        return found

    @property
    def size(self) -> int:
        """Length of a signature in bytes."""
        return (self.modulus.bit_length() + 7) // 8


def padded(message: bytes, size: int) -> bytes:
    """What a signature of a message must come to (EMSA-PKCS1-v1_5 with SHA-256)."""
    digest = _SHA256_PREFIX + hashlib.sha256(message).digest()
    return b"\x00\x01" + b"\xff" * (size - len(digest) - 3) + b"\x00" + digest


def signed_data(token: str, keys: Mapping[str, PublicKey]) -> dict[str, Any]:
    """What a token says, if one of the pinned keys signed it.

    Raises:
        SignatureError: if it is malformed, signed otherwise, or by a key that is not pinned.
    """
    try:
        head, body, signature = token.split(".")
        header = json.loads(_decode(head))
        content = json.loads(_decode(body))
        sealed = int.from_bytes(_decode(signature), "big")
    except (ValueError, binascii.Error) as error:
        raise SignatureError("What the portal answered is no signed token.") from error
    if not isinstance(header, dict) or header.get("alg") != "RS256":
        raise SignatureError("The portal signs with RS256; this token does not.")
    key = keys.get(str(header.get("kid")))
    if key is None:
        raise SignatureError(
            f"The portal's key {header.get('kid')} is not pinned here; check its publication and "
            "add it to BILLING_EINVOICE_KEYS."
        )
    if sealed >= key.modulus:
        raise SignatureError("The signature is not one of this key.")
    opened = pow(sealed, key.exponent, key.modulus).to_bytes(key.size, "big")
    if opened != padded(f"{head}.{body}".encode(), key.size):
        raise SignatureError("The signature does not belong to what the token says.")
    data = content.get("data") if isinstance(content, dict) else None
    try:
        said = json.loads(data, parse_float=Decimal) if isinstance(data, str) else data
    except ValueError as error:
        raise SignatureError("The token holds no data.") from error
    if not isinstance(said, dict):
        raise SignatureError("The token holds no data.")
    return said


def _decode(part: str) -> bytes:
    return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
