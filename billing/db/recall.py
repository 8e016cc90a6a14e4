"""What work on many rows would read again for each of them, read once for as long as it lasts."""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy.orm import Session

_KEPT = "recalled"

T = TypeVar("T")


@contextmanager
def recalling(session: Session) -> Iterator[None]:
    """Within, `recall` reads each fact once; for work that does not change what it recalls."""
    outer = session.info.get(_KEPT)
    session.info[_KEPT] = outer if outer is not None else {}
    try:
        yield
    finally:
        session.info[_KEPT] = outer


def recall(session: Session, fact: Hashable, read: Callable[[], T]) -> T:
    """A fact by its name: as it was read before, if it was."""
    kept = session.info.get(_KEPT)
    if kept is None:
        return read()
    if fact not in kept:
        kept[fact] = read()
    known: T = kept[fact]
    return known


def keep(session: Session, fact: Hashable, known: object) -> None:
    """Have `recall` answer with what was read together with other rows."""
    kept = session.info.get(_KEPT)
    if kept is not None:
        kept[fact] = known
