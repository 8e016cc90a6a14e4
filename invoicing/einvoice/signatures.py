"""The portal's signatures: compact JWS, RS256, checked with keys that are pinned by their id."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK, PyJWS
from jwt.exceptions import InvalidTokenError, PyJWTError

from billing.errors import BillingError, ErrorKind

_ALGORITHM: Final = "RS256"
_LEAST_BITS: Final = 2048


class SignatureError(BillingError):
    """What the portal is said to have signed, it did not, or not this."""

    kind = ErrorKind.CONFLICT
    code = "einvoice_signature"


def public_key(key: Mapping[str, str]) -> PyJWK:
    """A key of the portal from its JSON Web Key.

    Raises:
        ValueError: if it is no RSA key, or shorter than 2048 bits.
    """
    try:
        found = PyJWK.from_dict(dict(key), algorithm=_ALGORITHM)
    except PyJWTError as error:
        raise ValueError(f"no RSA key: {error}") from error
    if not isinstance(found.key, RSAPublicKey) or found.key.key_size < _LEAST_BITS:
        raise ValueError(f"a key of the portal is a public one of at least {_LEAST_BITS} bits")
    return found


def signed_data(token: str, keys: Mapping[str, PyJWK]) -> dict[str, Any]:
    """What a token says, if one of the pinned keys signed it.

    Raises:
        SignatureError: if it is malformed, signed otherwise, or by a key that is not pinned.
    """
    jws = PyJWS()
    try:
        kid = jws.get_unverified_header(token).get("kid")
        key = keys.get(str(kid))
        if key is None:
            raise SignatureError(
                f"The portal's key {kid} is not pinned here; check its publication and add it to "
                "BILLING_EINVOICE_KEYS."
            )
        content = json.loads(jws.decode(token, key, algorithms=[_ALGORITHM]))
    except (InvalidTokenError, ValueError) as error:
        raise SignatureError(f"The portal's answer is not what it signed: {error}.") from error
    data = content.get("data") if isinstance(content, dict) else None
    try:
        said = json.loads(data, parse_float=Decimal) if isinstance(data, str) else data
    except ValueError as error:
        raise SignatureError("The token holds no data.") from error
    if not isinstance(said, dict):
        raise SignatureError("The token holds no data.")
    return said
