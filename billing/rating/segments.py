"""How many SMS a message is sent as.

Source: 3GPP TS 23.040, 9.2.3.24.1 (concatenated short messages) and TS 23.038, 6.2. The user data
of one SMS are 140 octets: 160 characters of 7 bits in the GSM default alphabet, or 70 of 16 bits in
UCS-2. A longer message is sent in parts, each with a header of 6 octets, which leaves 153 or 67.
"""

from typing import Final

_SIZES: Final = {"gsm7": (160, 153), "ucs2": (70, 67)}
"""Characters of a message that is one SMS, and of each part of a longer one."""
ENCODINGS: Final = frozenset(_SIZES)


def sms_segments(length: int, encoding: str) -> int:
    """The SMS that a message takes; an empty one is sent all the same.

    Args:
        length: in units of its encoding: septets of GSM-7, where a character of the extension
            table (such as the euro sign) is two; 16-bit units of UCS-2, where a character outside
            the basic plane (such as most emoji) is two. A sender that parts messages between the
            two halves of such a character needs one more SMS than the length says.
        encoding: one of `ENCODINGS`.

    Raises:
        ValueError: if the length is negative, or the encoding is none of these.
    """
    if length < 0 or encoding not in _SIZES:
        raise ValueError(f"no SMS has {length} characters in {encoding}")
    alone, part = _SIZES[encoding]
    return max(1, 1 if length <= alone else -(-length // part))
