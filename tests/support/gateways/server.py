"""What the local gateways share: a server of JSON on a port of its own, and webhooks."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Webhook:
    """A request as a gateway sends it."""

    headers: dict[str, str]
    body: bytes


@dataclass
class Call:
    """A request that came, its body read."""

    method: str
    path: str
    """With its query."""
    headers: dict[str, str]
    body: bytes


Answer = tuple[int, Any] | None
"""Status and JSON; None hangs up without an answer."""


@contextmanager
def serving(answer: Callable[[Call], Answer]) -> Iterator[str]:
    """A server that answers so; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _respond(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            headers = {name.lower(): text for name, text in self.headers.items()}
            found = answer(Call(self.command, self.path, headers, self.rfile.read(length)))
            if found is None:
                self.close_connection = True
                return
            status, content = found
            body = b"" if status == 204 else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _respond  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
