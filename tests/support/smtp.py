"""A mail server of its own on this machine, which keeps what it is given."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from billing.mail.smtp import MailSettings


@dataclass
class Letters:
    """How to reach the server, and what came."""

    settings: MailSettings
    received: list[str] = field(default_factory=list)


@contextmanager
def running_smtp() -> Iterator[Letters]:
    """Serve on a free port; nobody@… is an address that it does not know."""
    letters = Letters(MailSettings())

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            for line in self.rfile:
                command = line.strip().upper()
                if command == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    letters.received.append(self._data())
                elif command == b"QUIT":
                    self.wfile.write(b"221 bye\r\n")
                    return
                elif command.startswith(b"RCPT TO:<NOBODY@"):
                    self.wfile.write(b"550 no such address\r\n")
                    continue
                self.wfile.write(b"250 fine\r\n")

        def _data(self) -> str:
            lines = []
            while (line := self.rfile.readline()) != b".\r\n":
                lines.append(line)
            return b"".join(lines).decode()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        letters.settings = MailSettings(
            smtp_host="127.0.0.1", smtp_port=server.server_address[1], smtp_starttls=False
        )
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield letters
        server.shutdown()
