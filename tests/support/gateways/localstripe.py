"""`localstripe`, a stateful Stripe by others, as a process of its own, and an ear for its events.

It knows payment intents, charges, refunds and signed webhooks, but no Checkout sessions and no
lists by time: those are in `tests.support.gateways.stripe`.
"""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Queue

import httpx

from tests.support.gateways.server import Answer, Call, Webhook, serving

WEBHOOK_SECRET = "whsec_localstripe"


@dataclass
class LocalStripe:
    """A running one, and what it told."""

    address: str
    heard: "Queue[Webhook]" = field(default_factory=Queue)


@contextmanager
def running_localstripe() -> Iterator[LocalStripe]:
    """Start it on a free port, with its webhooks coming to us."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "localstripe", "--port", str(port), "--from-scratch"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    running = LocalStripe(f"http://127.0.0.1:{port}")
    try:
        with _ear(running.heard) as ear:
            _subscribe(process, running.address, ear)
            yield running
    finally:
        process.terminate()
        process.wait()


def _subscribe(process: "subprocess.Popen[bytes]", address: str, ear: str) -> None:
    """Name the address of our webhook as soon as the server answers."""
    deadline = time.monotonic() + 30
    while True:
        try:
            response = httpx.post(
                f"{address}/_config/webhooks/ear", json={"url": ear, "secret": WEBHOOK_SECRET}
            )
        except httpx.TransportError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("localstripe does not start") from error
            time.sleep(0.1)
        else:
            response.raise_for_status()
            return


@contextmanager
def _ear(heard: "Queue[Webhook]") -> Iterator[str]:
    def hear(call: Call) -> Answer:
        heard.put(Webhook(call.headers, call.body))
        return 204, None

    with serving(hear) as address:
        yield f"{address}/"
