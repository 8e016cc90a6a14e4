"""The power fails: what Redis answered is there, if and only if it synced before it answered.

A killed process cannot show this, since the kernel keeps what it wrote. The disk under the server
notes how long each file was when it was last synced; after the kill everything beyond is cut off.
"""

from pathlib import Path
from uuid import uuid4

import redis

from billing.stack import ports
from billing.usage.batch import START
from billing.wallets.journal import Admission, admit_call, read_answer, read_entries
from billing.wallets.keys import ShardKeys
from billing.wallets.scripts import ADMIT
from tests.chaos.disk import Disk, RedisOnDisk
from tests.chaos.stack import kill_server
from tests.support.factories.usage import NOW

KEYS = ShardKeys(0, 1)
CALLS = 400


def redis_on(folder: Path, policy: str) -> RedisOnDisk:
    """A server with a way of syncing, its file not yet written."""
    server = RedisOnDisk(folder / policy, ports.any_free(), settings={"appendfsync": policy})
    server.disk = Disk(folder / f"{policy}-disk", notes=True)
    return server


def answered_and_found(server: RedisOnDisk) -> tuple[list[str], list[str], int]:
    """Entries that were answered, those there after a power cut, and how many bytes it took."""
    server.start()
    try:
        answered = []
        with redis.Redis.from_url(server.url) as client:
            client.set(KEYS.epoch_key, KEYS.epoch)
            for number in range(CALLS):
                digest = number.to_bytes(16, "little")
                one = Admission(digest, bytes(8), None, 0, uuid4().bytes)
                admitted = read_answer(ADMIT.call(client, *admit_call(KEYS, [one], NOW)))
                assert admitted is not None
                answered.append(str(admitted.position))
        kill_server(server)
        lost = server.disk.lose_power(server.data_dir / "appendonlydir")
        server.start()
        with redis.Redis.from_url(server.url) as client:
            entries = read_entries(client, KEYS, START, count=2 * CALLS)
        return answered, [str(entry.position) for entry in entries], lost
    finally:
        server.stop()


def test_nothing_answered_is_lost_when_every_write_is_synced(folder: Path) -> None:
    answered, found, lost = answered_and_found(redis_on(folder, "always"))
    assert found == answered
    assert lost == 0


def test_this_test_sees_the_loss_when_writes_are_synced_once_a_second(folder: Path) -> None:
    answered, found, lost = answered_and_found(redis_on(folder, "everysec"))
    assert lost > 0
    assert len(found) < len(answered)
    assert found == answered[: len(found)]
