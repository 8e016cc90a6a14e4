"""How much of the journal a restored database may still need."""

import pytest

from billing.usage.batch import Position
from billing.wallets.ports import JournalPoint
from billing.wallets.retention import Archiver, Recoverable, read_archiver, segment_end

MB = 1024 * 1024


def at(ms: int) -> JournalPoint:
    return JournalPoint(3, Position(ms, 0))


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("000000010000000000000001", 32 * MB),
        ("0000000200000001000000FF", 0x2_0000_0000),
        ("00000002.history", None),
        ("000000010000000000000001.partial", None),
        (None, None),
    ],
)
def test_a_segment_says_where_it_ends(name: str | None, end: int | None) -> None:
    assert segment_end(name, 16 * MB) == end


def test_without_an_archive_everything_applied_is_recoverable() -> None:
    assert Recoverable().look(Archiver(is_on=False, archived=None, written=5), at(9)) == at(9)


def test_with_an_archive_only_what_is_in_it_is_recoverable() -> None:
    recoverable = Recoverable()
    assert recoverable.look(Archiver(is_on=True, archived=None, written=100), at(1)) is None
    assert recoverable.look(Archiver(is_on=True, archived=100, written=200), at(2)) == at(1)
    assert recoverable.look(Archiver(is_on=True, archived=150, written=300), at(3)) == at(1)
    assert recoverable.look(Archiver(is_on=True, archived=300, written=310), at(4)) == at(3)


def test_postgresql_is_asked_how_far_its_archive_is(database_url: str) -> None:
    import psycopg

    with psycopg.connect(database_url) as connection:
        archiver = read_archiver(connection)
    assert not archiver.is_on
    assert archiver.written > 0
