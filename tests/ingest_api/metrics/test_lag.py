"""How far behind somebody is, from what the stream says of its end alone."""

from typing import Any

from billing.usage.batch import START, Position
from billing.wallets.memory import RedisMemory, read_memory
from ingest_api.metrics.lag import EntryLag


def stream(last: str, added: int, length: int) -> dict[str, Any]:
    return {"last-generated-id": last.encode(), "entries-added": added, "length": length}


def test_whoever_is_at_the_end_is_not_behind() -> None:
    assert EntryLag().look(stream("5-0", 90, 40), Position(5, 0)) == 0


def test_entries_since_a_known_end_are_counted() -> None:
    lag = EntryLag()
    lag.look(stream("5-0", 90, 40), Position(5, 0))
    assert lag.look(stream("9-0", 97, 47), Position(5, 0)) == 7
    assert lag.look(stream("12-0", 99, 49), Position(9, 0)) == 2


def test_what_is_not_known_is_never_too_little() -> None:
    lag = EntryLag()
    assert lag.look(stream("9-0", 97, 47), START) == 47
    assert lag.look(stream("12-0", 99, 49), Position(10, 0)) == 2
    assert lag.look(stream("13-0", 100, 50), Position(12, 5)) == 1


def test_memory_is_measured_against_what_redis_may_have() -> None:
    assert read_memory({"used_memory": 5, "maxmemory": 10}) == RedisMemory(5, 10)
    unlimited = read_memory({"used_memory": 5, "maxmemory": 0, "total_system_memory": 40})
    assert unlimited == RedisMemory(5, 20)
    assert RedisMemory(81, 100).is_above(80)
    assert not RedisMemory(80, 100).is_above(80)
    assert not RedisMemory(1, 0).is_above(80)
