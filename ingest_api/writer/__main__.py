"""`python -m ingest_api.writer`: one active writer per shard, until SIGTERM."""

import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType

import structlog

from billing.clock import SystemClock
from billing.errors import BillingError
from billing.logs import configure_logs
from billing.settings import Settings
from ingest_api.collector import calm_collector
from ingest_api.metrics.serving import served_metrics
from ingest_api.metrics.stores import StoresCollector
from ingest_api.writer.shard import ShardWriter
from ingest_api.writer.states import StateKeeper

logger = structlog.get_logger(__name__)


def main() -> int:
    """Run a writer for every shard; the exit code is 0 after SIGTERM or SIGINT."""
    configure_logs()
    settings = Settings.load()
    stop = threading.Event()

    def end(number: int, _: FrameType | None) -> None:
        logger.info("stopping", signal=signal.Signals(number).name)
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    try:
        writers = [
            ShardWriter(shard, settings, SystemClock(), stop)
            for shard in range(settings.shard_count)
        ]
    except BillingError as error:
        logger.error("cannot start", reason=error.message)  # noqa: TRY400 - the sentence says it all
        return 1
    collector = StoresCollector(settings, SystemClock())
    with (
        served_metrics(settings.metrics_host, settings.writer_metrics_port, collector),
        StateKeeper(settings, SystemClock()),
    ):
        _run(writers)
    return 0


def _run(writers: Sequence[ShardWriter]) -> None:
    threads = [threading.Thread(target=one.run, name=f"shard-{one.shard}") for one in writers]
    calm_collector()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    sys.exit(main())
