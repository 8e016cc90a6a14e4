"""Sending batches: again with the same ids until the verdict is known, and never for ever."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from billing.errors import ForbiddenError, InvalidError, UnauthenticatedError, UnavailableError
from billing.usage.imports.sender import Sender, encode

EVENTS = [encode({"event_id": name}) for name in ("a", "b", "c")]


@dataclass
class Answers:
    """A server that gives prepared answers, the last one for ever, and keeps what it was sent."""

    url: str = ""
    prepared: list[tuple[int, dict[str, str], Any]] = field(default_factory=list)
    received: list[list[str]] = field(default_factory=list)

    def add(self, status: int, body: Any, **headers: str) -> None:
        self.prepared.append((status, headers, body))


@pytest.fixture
def answers() -> Iterator[Answers]:
    kept = Answers()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            kept.received.append([one["event_id"] for one in sent])
            status, headers, body = (
                kept.prepared.pop(0) if len(kept.prepared) > 1 else kept.prepared[0]
            )
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            """Tests have their own log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    kept.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield kept
    server.shutdown()
    server.server_close()
    thread.join()


def data(*statuses: str) -> dict[str, Any]:
    return {"data": [{"attributes": {"status": status}} for status in statuses]}


@pytest.fixture
def pauses() -> list[int]:
    return []


@pytest.fixture
def troubles() -> list[str]:
    return []


@pytest.fixture
def sender(answers: Answers, pauses: list[int], troubles: list[str]) -> Iterator[Sender]:
    made = Sender(answers.url, "otpb_a_b", pauses.append, troubles.append)
    yield made
    made.close()


def test_only_events_whose_verdict_is_unknown_are_sent_again(
    sender: Sender, answers: Answers
) -> None:
    answers.add(503, {})
    answers.add(200, data("accepted", "unavailable", "conflict"))
    answers.add(200, data("duplicate"))

    verdicts = sender.send(EVENTS)

    assert [one.status for one in verdicts] == ["accepted", "duplicate", "conflict"]
    assert answers.received == [["a", "b", "c"], ["a", "b", "c"], ["b"]]


def test_it_waits_as_long_as_the_api_asks_and_longer_and_longer_otherwise(
    sender: Sender, answers: Answers, pauses: list[int], troubles: list[str]
) -> None:
    answers.add(429, {}, **{"Retry-After": "7"})
    answers.add(502, {})
    answers.add(502, {})
    answers.add(200, data("accepted", "accepted", "accepted"))

    sender.send(EVENTS)

    assert pauses == [7000, 200, 400]
    (told,) = troubles
    assert "does not take events now: 429" in told


def test_it_gives_up_after_many_attempts_or_when_it_is_stopped(
    sender: Sender, answers: Answers, pauses: list[int]
) -> None:
    answers.add(503, {})

    with pytest.raises(UnavailableError, match="same command again"):
        sender.send(EVENTS)
    assert len(answers.received) == 80
    assert max(pauses) == 5000

    sender.stop()
    with pytest.raises(UnavailableError):
        sender.send(EVENTS)
    assert len(answers.received) == 81


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, {"error": {"message": "no key"}}, UnauthenticatedError),
        (403, {"error": {"message": "may not"}}, ForbiddenError),
        (404, "something else", InvalidError),
        (200, {"hello": "world"}, InvalidError),
    ],
)
def test_what_will_not_get_better_is_not_tried_again(
    sender: Sender, answers: Answers, status: int, body: Any, error: type[Exception]
) -> None:
    answers.add(status, body)

    with pytest.raises(error):
        sender.send(EVENTS)

    assert len(answers.received) == 1
