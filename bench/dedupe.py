"""The dedupe window in Redis: what it costs, and losing it."""

import signal
from typing import Any

from billing.stack import process
from billing.stack.redis import EmbeddedRedis
from billing.wallets.connect import open_any

_AT_ONCE = 2_000


def bytes_per_event(redis_url: str) -> tuple[float, dict[str, Any]]:
    """Memory of all dedupe buckets, divided by the events in them."""
    with open_any(redis_url) as client:
        buckets = list(client.scan_iter(match="{b:*}:*:d:*", count=5_000))
        memory = events = 0
        for start in range(0, len(buckets), _AT_ONCE):
            with client.pipeline(transaction=False) as pipe:
                for bucket in buckets[start : start + _AT_ONCE]:
                    pipe.memory_usage(bucket, samples=0)
                    pipe.hlen(bucket)
                found = pipe.execute()
            memory += sum(found[::2])
            events += sum(found[1::2])
    per_bucket = events / max(len(buckets), 1)
    detail = {"events": events, "buckets": len(buckets), "per bucket": round(per_bucket, 1)}
    return memory / max(events, 1), detail


def lose(server: EmbeddedRedis) -> None:
    """Kill the server, delete what it wrote, start it empty."""
    if server.pid is not None:
        process.kill_all([server.pid], signal.SIGKILL)
    server.stop()
    for file in (server.data_dir / "appendonlydir").iterdir():
        file.unlink()
    server.start()
