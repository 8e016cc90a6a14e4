"""GST registration numbers: normal form, shape, State and check digit.

A number that passes is well formed, not active: only the GST portal knows whether it is in force,
belongs to a Special Economic Zone or is under the composition scheme.
Source: CGST Rules 2017 r.10 and the patterns of the GSTN developer portal.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from billing.tax.rules import OIDAR_PREFIX, states

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LENGTH: Final = 15
_PAN_HOLDERS: Final = frozenset("ABCFGHJLPT")
_SANDBOX: Final = re.compile(r"[0-9]{2}[A-Z]{5}[0-9]{4}[A-Z][0-9]{3}")


class NumberKind(StrEnum):
    """The families of registration numbers, told apart by their shape."""

    REGULAR = "regular"
    GOVERNMENT = "government"
    NON_RESIDENT = "non_resident"
    OIDAR = "oidar"
    UIN = "uin"
    TDS = "tds"
    TCS = "tcs"
    SANDBOX = "sandbox"


class NumberStatus(StrEnum):
    """Whether a number may be used."""

    VALID = "valid"
    VALID_WITH_WARNING = "valid_with_warning"
    INVALID = "invalid"


# The first shape that fits wins: a regular number may have D in place 14, which is also how a
# deductor's number looks, and the narrower reading is the right one.
_SHAPES: Final = (
    (NumberKind.TDS, re.compile(r"[0-9]{2}[A-Z]{4}[A-Z0-9][0-9]{4}[A-Z][1-9A-Z]D[0-9A-Z]")),
    (NumberKind.TCS, re.compile(r"[0-9]{2}[A-Z]{5}[0-9]{4}[A-Z][1-9A-Z]C[0-9A-Z]")),
    (NumberKind.UIN, re.compile(r"[0-9]{4}[A-Z]{3}[0-9]{5}[UO]N[A-Z0-9]")),
    (NumberKind.OIDAR, re.compile(r"99[0-9]{2}[A-Z]{3}[0-9]{5}OS[0-9A-Z]")),
    (NumberKind.NON_RESIDENT, re.compile(r"[0-9]{4}[A-Z]{3}[0-9]{5}NR[0-9A-Z]")),
    (NumberKind.GOVERNMENT, re.compile(r"[0-9]{2}[A-Z]{4}[0-9]{5}[A-Z][0-9]Z[0-9]")),
    (NumberKind.REGULAR, re.compile(r"[0-9]{2}[A-Z]{5}[0-9]{4}[A-Z][1-9A-Z][Z1-9ABD-J][0-9A-Z]")),
)
_WITH_PAN: Final = frozenset({NumberKind.REGULAR, NumberKind.TCS})


@dataclass(frozen=True, slots=True)
class NumberReason:
    """One thing wrong or doubtful about a number."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class RegistrationNumber:
    """The judgement on a registration number."""

    value: str
    """Normalised: without blanks and hyphens, in upper case."""
    status: NumberStatus
    kind: NumberKind | None
    state_code: str | None
    pan: str | None
    reasons: tuple[NumberReason, ...]

    @property
    def is_absent(self) -> bool:
        """Nothing was given: the person is unregistered, which is no mistake."""
        return not self.value

    @property
    def is_usable(self) -> bool:
        """Valid, with or without a warning."""
        return self.status is not NumberStatus.INVALID


def normalise(raw: str) -> str:
    """Without blanks and hyphens, in upper case."""
    return re.sub(r"[\s\-]", "", raw).upper()


def check_character(body: str) -> str:
    """The fifteenth character that belongs to the first fourteen.

    Args:
        body: fourteen characters of 0-9 and A-Z.
    """
    total = 0
    for position, character in enumerate(body):
        product = _ALPHABET.index(character) * (1 + position % 2)
        total += product // 36 + product % 36
    return _ALPHABET[-total % 36]


def parse(raw: str, *, allow_sandbox: bool = False) -> RegistrationNumber:
    """Judge a GSTIN, UIN or deductor's number; never raises.

    Args:
        raw: as typed or received.
        allow_sandbox: take the test numbers of e-invoice sandboxes, which break the rule.
    """
    value = normalise(raw)
    if not value:
        return _invalid(value, "empty", "No registration number was given.")
    if value == "URP":
        return _invalid(
            value, "placeholder", "URP marks an unregistered person in e-invoices only."
        )
    if len(value) != _LENGTH:
        return _invalid(value, "length", f"It has {len(value)} characters instead of {_LENGTH}.")
    kind = next((kind for kind, shape in _SHAPES if shape.fullmatch(value)), None)
    if kind is None:
        if allow_sandbox and _SANDBOX.fullmatch(value):
            warning = NumberReason("sandbox", "A test number of an e-invoice sandbox.")
            return _judged(value, NumberKind.SANDBOX, (), (warning,))
        return _invalid(value, "shape", "It does not have the shape of a registration number.")
    return _judged(value, kind, tuple(_errors(value, kind)), tuple(_warnings(value, kind)))


def _judged(
    value: str,
    kind: NumberKind,
    errors: tuple[NumberReason, ...],
    warnings: tuple[NumberReason, ...],
) -> RegistrationNumber:
    status = NumberStatus.VALID
    if warnings:
        status = NumberStatus.VALID_WITH_WARNING
    if errors:
        status = NumberStatus.INVALID
    pan = value[2:12] if kind in _WITH_PAN else None
    return RegistrationNumber(value, status, kind, value[:2], pan, errors + warnings)


def _invalid(value: str, code: str, message: str) -> RegistrationNumber:
    reason = NumberReason(code, message)
    return RegistrationNumber(value, NumberStatus.INVALID, None, None, None, (reason,))


def _errors(value: str, kind: NumberKind) -> list[NumberReason]:
    errors = []
    if value[:2] not in states() and not (kind is NumberKind.OIDAR and value[:2] == OIDAR_PREFIX):
        errors.append(NumberReason("state", f"There is no State with the code {value[:2]}."))
    if kind in _WITH_PAN and value[7:11] == "0000":
        errors.append(NumberReason("pan_serial", "The serial of a PAN is never 0000."))
    expected = check_character(value[:14])
    if value[14] != expected:
        message = f"The check character should be {expected}, not {value[14]}."
        errors.append(NumberReason("check_character", message))
    return errors


def _warnings(value: str, kind: NumberKind) -> list[NumberReason]:
    warnings = []
    if kind in _WITH_PAN and value[5] not in _PAN_HOLDERS:
        message = f"The fourth letter of the PAN, {value[5]}, is no known type of holder."
        warnings.append(NumberReason("pan_holder", message))
    if kind is NumberKind.REGULAR and value[13] != "Z":
        message = (
            f"Place 14 is {value[13]} where almost every number has Z; check it on the portal."
        )
        warnings.append(NumberReason("place_14", message))
    state = states().get(value[:2])
    if state is not None and state.successor is not None:
        message = f"State code {state.code} is retired; {state.successor} took its place."
        warnings.append(NumberReason("retired_state", message))
    return warnings
