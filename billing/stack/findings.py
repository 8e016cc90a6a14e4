"""What one check of `billing doctor` found."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How bad it is."""

    OK = "ok"
    NOTE = "note"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: about what, how bad, what was seen, and the command or step that mends it."""

    subject: str
    verdict: Verdict
    seen: str
    mend: str = ""


def ok(subject: str, seen: str) -> Finding:
    """As it should be."""
    return Finding(subject, Verdict.OK, seen)


def note(subject: str, seen: str, mend: str = "") -> Finding:
    """Good to know; nothing must be done."""
    return Finding(subject, Verdict.NOTE, seen, mend)


def wrong(subject: str, seen: str, mend: str) -> Finding:
    """Something will not work until it is mended."""
    return Finding(subject, Verdict.WRONG, seen, mend)
