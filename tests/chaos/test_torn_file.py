"""The append-only file ends in the middle of a call: all of the call is there, or nothing of it."""

import os
import shutil
from pathlib import Path
from uuid import UUID

import redis

from billing.stack import ports
from billing.usage.batch import START
from billing.wallets.journal import Admission, admit_call, read_answer, read_entries
from billing.wallets.keys import ShardKeys
from billing.wallets.ports import WalletRow
from billing.wallets.redis_port import RedisPort
from billing.wallets.scripts import ADMIT
from tests.chaos.disk import Disk, RedisOnDisk
from tests.chaos.stack import kill_server
from tests.support.factories.usage import NOW

KEYS = ShardKeys(0, 1)
WALLETS = [UUID(int=1), UUID(int=2)]
CUTS = 40


def admit(client: "redis.Redis", *numbers: int) -> None:
    """One call, from two wallets."""
    admissions = [
        Admission(number.to_bytes(16, "little"), bytes(8), WALLETS[number % 2], 5, b"row")
        for number in numbers
    ]
    assert read_answer(ADMIT.call(client, *admit_call(KEYS, admissions, NOW))) is not None


def state(client: "redis.Redis") -> tuple[int, int, int, int]:
    """Entries, both balances, and keys that are known."""
    first, second = (int(client.hget(KEYS.wallet(one), "bal") or 0) for one in WALLETS)
    marks = sum(client.hlen(bucket) for bucket in client.scan_iter("*:d:*"))
    return len(read_entries(client, KEYS, START, count=10)), first, second, marks


def test_wherever_the_file_ends_a_call_is_there_whole_or_not_at_all(folder: Path) -> None:
    server = RedisOnDisk(folder / "redis", ports.any_free())
    server.disk = Disk(folder / "disk")
    server.start()
    with redis.Redis.from_url(server.url) as client:
        client.set(KEYS.epoch_key, KEYS.epoch)
        rows = [WalletRow(wallet, 100, 0, 0, 0) for wallet in WALLETS]
        RedisPort(client).write_wallets(KEYS, rows)
        admit(client, 1)
        before, (file,) = state(client), (server.data_dir / "appendonlydir").glob("*.incr.aof")
        start = file.stat().st_size
        admit(client, 2, 3, 4)
        after = state(client)
    kill_server(server)
    whole, end = folder / "whole", file.stat().st_size
    shutil.copy(file, whole)

    found = set()
    cuts = sorted({end, end - 1, start, *range(start, end, max(1, (end - start) // CUTS))})
    for cut in cuts:
        shutil.copy(whole, file)
        os.truncate(file, cut)
        server.start()
        with redis.Redis.from_url(server.url) as client:
            now = state(client)
        kill_server(server)
        assert now == (after if cut == end else before), cut
        found.add(now)
    assert found == {before, after}
