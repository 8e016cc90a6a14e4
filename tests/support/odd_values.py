"""Values that break programs, as text, as JSON and as whole bodies; and texts after a pattern."""

from collections.abc import Iterator
from random import Random
from re import _parser  # type: ignore[attr-defined]
from typing import Any, Final

JSON: Final = "application/json"

STRINGS: Final = (
    "",
    " ",
    "a",
    "\x00",
    "I\x00N",
    "\ud800",
    "\u202eabc",
    "\U0001f9fe" * 40,
    "e\u0301",
    "\r\nX: y",
    "'; DROP TABLE x; --",
    "../../etc/passwd",
    "%00",
    "%s%n",
    "=1+1",
    "x" * 300,
    "x" * 5000,
    "null",
    "NaN",
    "Infinity",
    "1e400",
    "-1",
    "-0",
    "0.1234567",
    "9" * 5000,
    "٣",
    "2026-02-30",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59.999999-12:00",
    "2026-06-30T23:59:60Z",
    "00000000-0000-0000-0000-000000000000",
)

RAW_VALUES: Final = (
    b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-0", b"-0.0", b"1.5", b"1e3", b"-1", b"0",
    b"2147483648", b"9007199254740993", b"9223372036854775808", b"18446744073709551617",
    b"9" * 5000, b"0." + b"3" * 5000, b"true", b"null", b"[]", b"{}", b"[[[]]]", b'{"":{"":1}}',
    b"[" * 900 + b"]" * 900, b'{"a":' * 900 + b"1" + b"}" * 900, b'"\\ud800"', b'"\\u0000"',
    b'"\xff"', b'"\\udc00\\ud800"',
)  # fmt: skip
"""Values as they stand in JSON, or in what looks like it."""

BODIES: Final = (
    b"",
    b" ",
    b"{",
    b"[",
    b"null",
    b"[]",
    b"{}",
    b'"text"',
    b"[" * 200_000,
    b'{"a":' * 50_000,
    b"\xef\xbb\xbf{}",
    b"\xff\xfe{\x00}\x00",
    b'{"a": 1, "a": 2}',
    b'{"\\u0000": 1}',
    b"\x1f\x8b\x08\x00",
    b"a=1&b=2",
)
CONTENT_TYPES: Final = (
    JSON,
    "application/json; charset=utf-16",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
    "application/cloudevents+xml",
    "\xe9",
    "",
)


def from_pattern(random: Random, pattern: str) -> str:
    """A text that a regular expression describes; look-arounds are passed over."""
    return "".join(_drawn(random, _parser.parse(pattern)))


def _drawn(random: Random, parsed: Any) -> Iterator[str]:
    for code, value in parsed:
        match str(code):
            case "LITERAL":
                yield chr(value)
            case "NOT_LITERAL":
                yield random.choice([letter for letter in "abc" if ord(letter) != value])
            case "ANY":
                yield random.choice("aZ0")
            case "IN":
                yield _member(random, value)
            case "MAX_REPEAT" | "MIN_REPEAT":
                least, most, inner = value
                for _ in range(random.randint(least, min(int(most), least + 6))):
                    yield from _drawn(random, inner)
            case "SUBPATTERN":
                yield from _drawn(random, value[-1])
            case "BRANCH":
                yield from _drawn(random, random.choice(value[1]))


def _member(random: Random, members: Any) -> str:
    allowed = []
    negated = False
    for code, value in members:
        match str(code):
            case "NEGATE":
                negated = True
            case "LITERAL":
                allowed.append(chr(value))
            case "RANGE":
                allowed.append(chr(random.randint(value[0], value[1])))
            case "CATEGORY":
                allowed.append(random.choice("a1" if "WORD" in str(value) else "7"))
    if negated:
        return random.choice([letter for letter in "aZ0é" if letter not in allowed])
    return random.choice(allowed)
