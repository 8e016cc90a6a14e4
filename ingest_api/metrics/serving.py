"""`GET /metrics` on a port of its own: it says nothing secret, but it is not for customers."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from prometheus_client import REGISTRY, start_http_server
from prometheus_client.registry import Collector

logger = structlog.get_logger(__name__)


@contextmanager
def served_metrics(host: str, port: int | None, *collectors: Collector) -> Iterator[None]:
    """Serve the metrics of this process while the block runs; without a port, nothing is served.

    A port that cannot be had is told and does not stop the process: money comes before graphs.
    """
    if port is None:
        yield
        return
    for collector in collectors:
        REGISTRY.register(collector)
    try:
        server, thread = start_http_server(port, addr=host)
    except OSError as error:
        logger.warning("metrics are not served", port=port, reason=str(error))
        yield
        return
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        for collector in collectors:
            REGISTRY.unregister(collector)
