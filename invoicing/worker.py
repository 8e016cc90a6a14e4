"""Drawing in a process of its own, which has no network, no secrets and no database.

A document holds what customers wrote. Should that ever get the better of the drawing library, it
does so in a process that can reach nothing: started with a bare environment, in a network
namespace of its own where the kernel allows that, and with Python's own calls to the network and
to other programs refused in any case. A worker is replaced after some hundred documents, so that
its memory stays flat, and when it dies or takes too long.
"""

import base64
import gc
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from queue import SimpleQueue
from typing import Any, BinaryIO, Final

from pydantic_settings import BaseSettings, SettingsConfigDict

from billing.errors import UnavailableError
from invoicing.document import InvoiceDocument
from invoicing.extras import NOTHING_ELSE, Asset, Extras, Registration
from invoicing.statement import Statement

DOCUMENTS_PER_WORKER: Final = 500
_SIZE: Final = 8


class DrawingSettings(BaseSettings):
    """How documents are drawn."""

    model_config = SettingsConfigDict(env_prefix="BILLING_PDF_", extra="ignore")

    workers: int = 1
    """Processes that draw; 0 draws in this one."""
    seconds: int = 60
    """A document that takes longer is given up, and its worker with it."""


def draw(document: InvoiceDocument, extras: Extras = NOTHING_ELSE) -> bytes:
    """The PDF of a document, drawn by a worker.

    Raises:
        UnavailableError: if it could not be drawn.
    """
    pool = _pool()
    return _render(document, extras) if pool is None else pool.draw(document, extras)


def draw_statement(statement: Statement) -> bytes:
    """The PDF of a statement of account, drawn by a worker.

    Raises:
        UnavailableError: if it could not be drawn.
    """
    pool = _pool()
    return _render_statement(statement) if pool is None else pool.draw_statement(statement)


@cache
def _pool() -> "DrawingPool | None":
    settings = DrawingSettings()
    return DrawingPool(settings.workers, settings.seconds) if settings.workers else None


class DrawingPool:
    """Workers that draw one document each at a time; started when they are first needed."""

    def __init__(self, workers: int, seconds: int = 60) -> None:
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        for _ in range(workers):
            self._idle.put(_Worker(seconds))

    def draw(self, document: InvoiceDocument, extras: Extras = NOTHING_ELSE) -> bytes:
        """The PDF of a document; waits for an idle worker.

        Raises:
            UnavailableError: if it could not be drawn.
        """
        return self._ask(_packed(document, extras))

    def draw_statement(self, statement: Statement) -> bytes:
        """The PDF of a statement; waits for an idle worker.

        Raises:
            UnavailableError: if it could not be drawn.
        """
        return self._ask(json.dumps({"statement": statement.model_dump_json()}).encode())

    def _ask(self, request: bytes) -> bytes:
        worker = self._idle.get()
        try:
            return worker.draw(request)
        finally:
            self._idle.put(worker)

    def close(self) -> None:
        """End the workers that are idle."""
        while not self._idle.empty():
            self._idle.get().stop()


class _Worker:
    def __init__(self, seconds: int) -> None:
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._drawn = 0

    def draw(self, request: bytes) -> bytes:
        if self._process is None or self._drawn >= DOCUMENTS_PER_WORKER:
            self.stop()
            self._process, self._drawn = _start(), 0
        self._drawn += 1
        try:
            answer = self._ask(self._process, request)
        except (OSError, EOFError) as error:
            self.stop()
            raise UnavailableError(
                f"The document could not be drawn: {error}", code="drawing_failed"
            ) from error
        if answer[:1] != b"+":
            raise UnavailableError(
                f"The document could not be drawn: {answer[1:].decode()}", code="drawing_failed"
            )
        return answer[1:]

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _ask(self, process: subprocess.Popen[bytes], request: bytes) -> bytes:
        if process.stdin is None or process.stdout is None:
            raise EOFError("the worker has no pipes")
        # A worker that hangs is killed; reading its pipe ends then.
        deadline = threading.Timer(self._seconds, process.kill)
        deadline.start()
        try:
            _write(process.stdin, request)
            return _read(process.stdout)
        finally:
            deadline.cancel()


def _start() -> subprocess.Popen[bytes]:
    known = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return subprocess.Popen(
        [sys.executable, "-m", "invoicing.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=known | {"PYTHONPATH": os.pathsep.join(sys.path), "LANG": "C.UTF-8"},
    )


def _packed(document: InvoiceDocument, extras: Extras) -> bytes:
    logo, found = extras.logo, extras.registration
    return json.dumps(
        {
            "document": document.to_json(),
            "logo": logo and [base64.b64encode(logo.content).decode(), logo.media_type],
            "registration": found and asdict(found),
        }
    ).encode()


# Whoever has its documents drawn by a worker need not load the drawing library itself.


def _render(document: InvoiceDocument, extras: Extras) -> bytes:
    from invoicing.render import render_pdf  # noqa: PLC0415

    return render_pdf(document, extras)


def _render_statement(statement: Statement) -> bytes:
    from invoicing.render import render_statement  # noqa: PLC0415

    return render_statement(statement)


def _drawn(request: bytes) -> bytes:
    asked: dict[str, Any] = json.loads(request)
    if "statement" in asked:
        return _render_statement(Statement.model_validate_json(asked["statement"]))
    logo, found = asked["logo"], asked["registration"]
    extras = Extras(
        logo=Asset(base64.b64decode(logo[0]), logo[1]) if logo else None,
        registration=Registration(**found) if found else None,
    )
    return _render(InvoiceDocument.from_json(asked["document"]), extras)


def _write(pipe: BinaryIO | Any, message: bytes) -> None:
    pipe.write(len(message).to_bytes(_SIZE, "big") + message)
    pipe.flush()


def _read(pipe: BinaryIO | Any) -> bytes:
    size = int.from_bytes(_exactly(pipe, _SIZE), "big")
    return _exactly(pipe, size)


def _exactly(pipe: BinaryIO | Any, size: int) -> bytes:
    content: bytes = pipe.read(size)
    if len(content) < size:
        raise EOFError("the worker ended")
    return content


def confine() -> None:
    """Take the network and other programs from this process, for good."""
    _leave_network()
    refused = ("socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo")
    programs = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork")

    def guard(event: str, _: object) -> None:
        if event.startswith(refused) or event in programs:
            raise PermissionError(f"a drawing worker may not {event}")

    sys.addaudithook(guard)


def _leave_network() -> None:
    """Into a network namespace without interfaces; kernels may refuse, the guard stays."""
    import ctypes  # noqa: PLC0415  (only workers need it)

    user, network = 0x10000000, 0x40000000
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(network) != 0:
        libc.unshare(user | network)


def serve(source: BinaryIO | Any, sink: BinaryIO | Any, make: Callable[[bytes], bytes]) -> None:
    """Draw what is asked until nobody asks any more.

    What a drawing leaves behind is cleared away once its answer is out, and while nobody waits.
    """
    while True:
        try:
            request = _read(source)
        except EOFError:
            return
        try:
            answer = b"+" + make(request)
        except Exception as error:  # noqa: BLE001  (told to whoever asked)
            answer = b"-" + f"{type(error).__name__}: {error}".encode()
        _write(sink, answer)
        gc.collect()


if __name__ == "__main__":
    import invoicing.render  # noqa: F401  (before nothing else can be loaded)

    confine()
    # A drawing makes some ten thousand boxes; looking for rings among them every few hundred took
    # a sixth of its time. What was loaded so far stays, and need not be looked through at all.
    gc.disable()
    gc.freeze()
    serve(sys.stdin.buffer, sys.stdout.buffer, _drawn)
