"""Metrics of an API process.

Looking a label up costs more than counting: what the hot routes count is looked up once.
"""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_SECONDS: Final = (0.001, 0.002, 0.004, 0.008, 0.015, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

_REQUESTS = Counter("billing_http_requests", "Requests answered.", ["method", "route", "status"])
_DURATIONS = Histogram(
    "billing_http_request_seconds",
    "From the first byte to the answer.",
    ["route"],
    buckets=_SECONDS,
)
EVENTS = Counter("billing_events", "Events sent to us, by what became of them.", ["outcome"])
IN_FLIGHT_EVENTS = Gauge("billing_events_in_flight", "Events that wait for their answer.")
IN_FLIGHT_BYTES = Gauge("billing_body_bytes_in_flight", "Bytes set aside for bodies being read.")
REFUSED = Counter("billing_refused", "Requests or items sent away to protect memory.", ["reason"])
LIMITED = Counter("billing_rate_limited", "Requests refused by a rate limit.", ["what"])
LIMITS_ALONE = Gauge("billing_limits_counted_alone", "1 while the Redis of limits is away, else 0.")
QUEUE_ENTRIES = Gauge("billing_queue_entries", "Entries in the journal stream.", ["shard"])
QUEUE_LAG = Gauge(
    "billing_queue_lag_seconds", "Age of the oldest entry PostgreSQL has not got.", ["shard"]
)
QUEUE_LAG_ENTRIES = Gauge(
    "billing_queue_lag_entries", "Entries PostgreSQL has not got, or a few more.", ["shard"]
)
QUEUE_FULL = Gauge("billing_queue_full", "1 while new events are refused, else 0.", ["shard"])
REDIS_UP = Gauge("billing_redis_up", "1 if the Redis of wallets answers, else 0.")
REDIS_USED = Gauge("billing_redis_used_bytes", "Memory the Redis of wallets uses.")
REDIS_MOST = Gauge("billing_redis_most_bytes", "Memory the Redis of wallets may use.")
SOCKETS = Gauge("billing_live_sockets", "Open connections of the live view.")
SOCKETS_CLOSED = Counter("billing_live_closed", "Connections of the live view we closed.", ["code"])


class RouteMeter:
    """Counts the answers of one route."""

    def __init__(self, method: str, route: str) -> None:
        self._method = method
        self._route = route
        self._seconds = _DURATIONS.labels(route)
        self._by_status: dict[int, Counter] = {}

    def count(self, status: int, seconds: float) -> None:
        """An answer left."""
        counter = self._by_status.get(status)
        if counter is None:
            counter = _REQUESTS.labels(self._method, self._route, str(status))
            self._by_status[status] = counter
        counter.inc()
        self._seconds.observe(seconds)


_meters: dict[tuple[str, str], RouteMeter] = {}
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def meter(method: str, route: str | None) -> RouteMeter:
    """The meter of a route; what is no route of ours counts together, so that nobody fills memory.

    Args:
        route: its template, such as `/api/v1/customers/{customer_id}`.
    """
    key = (method if method in _METHODS else "other", route or "other")
    found = _meters.get(key)
    if found is None:
        found = _meters[key] = RouteMeter(*key)
    return found
